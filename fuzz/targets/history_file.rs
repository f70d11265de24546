//! Timeline history files, from a server or a directory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wal::{Lsn, TimelineHistory, TimelineId};

fuzz_target!(|input: &[u8]| walship_fuzz::bounded(input, |input| {
    let Some((&number, content)) = input.split_first() else { return };
    let timeline = TimelineId::new(u32::from(number));
    let Ok(history) = TimelineHistory::parse(timeline, content) else { return };
    let written = history.to_bytes();
    let again = TimelineHistory::parse(timeline, &written).expect("what was written can be read");
    assert_eq!(again.to_bytes(), written);
    for entry in history.entries() {
        assert!(history.contains(entry.timeline));
        assert_eq!(again.switch_point_of(entry.timeline), history.switch_point_of(entry.timeline));
    }
    assert!(history.contains(history.timeline_at(Lsn::MAX)));
}));
