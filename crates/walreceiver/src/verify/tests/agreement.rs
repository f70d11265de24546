//! Where a server gets to that is handed one segment after the other by `fetch` is where `verify` says it gets to.
//!
//! `WALSHIP_TEST_EFFORT=50` tries fifty times as many damages.

use wal::{Expectations, TimelineHistory, Validator};

use super::*;
use crate::fetch::{Fetched, fetch};

/// Timelines 1 to 3, each of which goes on within the segment in which the one before was left; and their history.
fn three_timelines() -> (Archive, TimelineHistory) {
    let archive = Archive { root: tempfile::tempdir().unwrap() };
    let mut log = log();
    let mut stream = grow(&mut log, 1_300_000, |at| vec![at as u8; 3000]);
    archive.put(1, &stream);
    let mut history = TimelineHistory::root();
    for (timeline, len) in [(2, 1_500_000), (3, 1_600_000)] {
        let switch = log.position();
        history = history.child(TimelineId::new(timeline), switch, "no recovery target specified").unwrap();
        stream.extend(promote(&mut log, timeline - 1, timeline));
        stream.extend(grow(&mut log, len, |at| vec![at as u8; 2000]));
        archive.put(timeline, &stream);
        for offset in 0..size().segment_of(switch).as_u64() - size().segment_of(start()).as_u64() {
            fs::remove_file(archive.path(&name(timeline, offset))).unwrap();
        }
        let file = TimelineId::new(timeline).history_file_name();
        fs::write(archive.path(&file), history.to_bytes()).unwrap();
    }
    (archive, history)
}

/// Where a server gets to from `from` on, and whether it is stopped there.
fn restored(archive: &Archive, history: &TimelineHistory, from: Lsn) -> (Lsn, bool) {
    let dir = WalDir::on_os(archive.root.path());
    let own = tempfile::tempdir().unwrap();
    let target = own.path().join("RECOVERYXLOG");
    let mut validator = Validator::new(from, Expectations::new(size(), history.clone()));
    let mut segment = size().segment_of(from);
    loop {
        let last_byte = Lsn::new(size().end_of(segment).as_u64() - 1);
        let file = segment.file_name(history.timeline_at(last_byte), size());
        match fetch(&dir, &file, &target) {
            Ok(Fetched::Absent) => return (validator.record_end(), false),
            Err(_) => return (validator.record_end(), true),
            Ok(Fetched::Copied) if validator.feed(&fs::read(&target).unwrap()).is_err() => {
                return (validator.record_end(), false);
            }
            Ok(Fetched::Copied) => segment = segment.next(),
        }
    }
}

/// Numbers that differ from case to case and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Damages one segment; says how.
fn damage(archive: &Archive, numbers: &mut Numbers) -> String {
    let mut files: Vec<_> = fs::read_dir(archive.root.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.len() >= 24 && !name.starts_with("walship"))
        .collect();
    files.sort();
    let file = files[numbers.below(files.len())].clone();
    let path = archive.path(&file);
    let mut content = fs::read(&path).unwrap();
    let written = content.iter().rposition(|&byte| byte != 0).map_or(1, |at| at + 1);
    let kind = numbers.below(8);
    match kind {
        0 => {
            fs::remove_file(&path).unwrap();
            return format!("{file} removed");
        }
        1 => {
            let renamed = match file.strip_suffix(".partial") {
                Some(finished) => finished.to_owned(),
                None => format!("{file}.partial"),
            };
            fs::rename(&path, archive.path(&renamed)).unwrap();
            return format!("{file} renamed to {renamed}");
        }
        2 => content.truncate(numbers.below(written)),
        3 => content[numbers.below(written)..].fill(0),
        4 => {
            let page = numbers.below(written.div_ceil(8192)) * 8192;
            let end = content.len().min(page + 8192);
            content[page..end].fill(0);
        }
        5 => content[written - 1 - numbers.below(written.min(100))] ^= 1 << numbers.below(8),
        6 => content[numbers.below(written)] ^= 1 << numbers.below(8),
        _ => {
            let other = archive.path(&files[numbers.below(files.len())]);
            fs::write(&path, fs::read(&other).unwrap()).unwrap();
            fs::write(&other, &content).unwrap();
            return format!("{file} and {} swapped", other.display());
        }
    }
    fs::write(&path, content).unwrap();
    format!("{file} damaged, kind {kind}")
}

#[test]
fn whatever_is_damaged_verify_says_where_fetch_leads() {
    let effort = std::env::var("WALSHIP_TEST_EFFORT").ok().and_then(|effort| effort.parse().ok());
    let (sound, history) = three_timelines();
    let mut stopped = 0;
    for case in 0..effort.unwrap_or(1) * 20 {
        let archive = Archive { root: tempfile::tempdir().unwrap() };
        for file in fs::read_dir(sound.root.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), archive.root.path().join(file.file_name())).unwrap();
        }
        let mut numbers = Numbers(case);
        let damages = if case == 0 { 0 } else { 1 + numbers.below(3) / 2 };
        let what: Vec<_> = (0..damages).map(|_| damage(&archive, &mut numbers)).collect();
        let found = archive.verify_with(true);
        assert!(case > 0 || found.proved, "{found:?}");
        for (from, to, is_stopped) in stretches(&found, 3) {
            let (came, was_stopped) = restored(&archive, &history, from.parse().unwrap());
            assert_eq!(
                (came.to_string(), was_stopped),
                (to, is_stopped),
                "case {case}: {what:?}, from {from}: {found:#?}"
            );
            stopped += u64::from(is_stopped);
        }
    }
    assert!(stopped > effort.unwrap_or(1), "{stopped} were stopped: not much was damaged");
}
