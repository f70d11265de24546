//! What a segment's file is worth, as its form has it.

use wal::{Lsn, SegmentNo, TimelineHistory, WalErrorKind};

use super::archive::{Log, size, start_of};
use crate::waldir::{Form, LineWalk, Worth};

/// Segments from 1 on, by position; those that are `None` are not there.
fn read(segments: &[Option<Vec<u8>>]) -> impl FnMut(Lsn, &mut [u8]) -> Result<usize, ()> {
    |lsn, buf| {
        let number = size().segment_of(lsn).as_u64() as usize;
        let segment = number.checked_sub(1).and_then(|index| segments.get(index)?.as_ref());
        let rest = segment.and_then(|segment| segment.get(size().offset_of(lsn) as usize..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

fn worth(segments: &[Option<Vec<u8>>], number: u64, form: Form) -> Worth<()> {
    let (segment, history) = (SegmentNo::new(number), TimelineHistory::root());
    let mut source = read(segments);
    let mut walk = LineWalk::led_in(&mut source, segment, size(), &history);
    walk.segment(&mut source, segment, size().end_of(segment), form)
}

#[test]
fn how_a_file_may_end_is_up_to_its_form() {
    let mut log = Log::new();
    for _ in 0..50 {
        log.append(3000);
    }
    let end = log.end().bytes_since(start_of(1)) as usize;
    let zeros = log.segment(1);
    let mut stale = zeros.clone();
    stale[end + 9000] = 1;
    let mut torn = zeros.clone();
    torn[end - 500..].fill(0);
    let cut = zeros[..end + 100].to_vec();
    let all = |content: &Vec<u8>| {
        [Form::Finished, Form::Unfinished, Form::Recycled]
            .map(|form| worth(&[Some(content.clone())], 1, form))
    };
    use Worth::{Beginning, Damaged, Short};
    assert!(matches!(all(&zeros), [Damaged(_), Beginning(Some(_)), Beginning(Some(_))]));
    assert!(matches!(all(&stale), [Damaged(_), Damaged(_), Beginning(Some(_))]));
    assert!(matches!(all(&torn), [Damaged(_), Beginning(Some(_)), Beginning(Some(_))]));
    let cut = all(&cut);
    assert!(matches!(cut, [Damaged(_), Beginning(_), Beginning(_)]), "{cut:?}");
    let [finished, unfinished, recycled] = all(&zeros[..end].to_vec());
    assert!(matches!((finished, unfinished, recycled), (Short, Beginning(None), Beginning(None))));
}

#[test]
fn a_record_over_many_segments_is_checked_where_it_ends_as_far_as_they_are_there() {
    let mut log = Log::new();
    log.append(3000);
    log.append(3 << 20);
    for _ in 0..10 {
        log.append(3000);
    }
    let mut segments: Vec<_> = (1..=4).map(|number| Some(log.segment(number))).collect();
    assert!(matches!(worth(&segments, 4, Form::Unfinished), Worth::Beginning(_)));
    segments[3].as_mut().unwrap()[5000] ^= 1;
    match worth(&segments, 4, Form::Unfinished) {
        Worth::Damaged(error) => {
            assert!(
                error.lsn < start_of(2) && matches!(error.reason, WalErrorKind::Checksum { .. }),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
    // Without what came before, nothing tells.
    segments[1] = None;
    assert!(matches!(worth(&segments, 4, Form::Unfinished), Worth::Beginning(_)));
}

#[test]
fn where_a_timeline_is_said_to_have_begun_a_record_has_to_end() {
    let mut log = Log::new();
    let placed: Vec<_> = (0..20).map(|_| log.append(3000)).collect();
    let segments = [Some(log.segment(1))];
    let root = TimelineHistory::root();
    for (begin, is_good) in [(placed[9].end, true), (Lsn::new(placed[9].end.as_u64() - 8), false)] {
        let history = root.child(super::archive::T2, begin, "").unwrap();
        let mut walk = LineWalk::new(start_of(1), size(), &history);
        // As far as its parent has the line.
        match walk.segment(&mut read(&segments), SegmentNo::new(1), begin, Form::Unfinished) {
            Worth::Whole => assert!(is_good),
            Worth::Begin(at) => assert!(!is_good && at == begin),
            other => panic!("{begin}: {other:?}"),
        }
    }
}

#[test]
fn a_length_that_hides_the_end_of_a_full_file_is_damage() {
    let mut log = Log::new();
    let placed: Vec<_> = (0..360).map(|_| log.append(3000)).collect();
    let last = placed.iter().rfind(|placed| placed.end < start_of(2)).unwrap();
    let mut segment = log.segment(1);
    let full = |segment: &Vec<u8>| worth(&[Some(segment.clone())], 1, Form::Unfinished);
    assert!(matches!(full(&segment), Worth::Whole));
    // 1 MiB more than there is.
    segment[size().offset_of(last.start) as usize + 2] ^= 0x10;
    let hidden = full(&segment);
    assert!(
        matches!(&hidden, Worth::Damaged(error) if error.reason == WalErrorKind::HiddenEnd),
        "{hidden:?}"
    );
}

#[test]
fn a_record_that_nobody_can_replay_is_damage_in_a_servers_own_file_too() {
    let mut log = Log::new();
    log.append(3000);
    let placed = log.append(100);
    let mut segment = log.segment(1);
    let at = size().offset_of(placed.start) as usize;
    // No part of a record has this number.
    segment[at + 24] = 200;
    let length = u32::from_le_bytes(segment[at..at + 4].try_into().unwrap()) as usize;
    let crc = wal::record::record_crc(&segment[at..at + length]);
    segment[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
    let found = worth(&[Some(segment)], 1, Form::Recycled);
    assert!(matches!(&found, Worth::Damaged(error) if error.lsn == placed.start), "{found:?}");
}
