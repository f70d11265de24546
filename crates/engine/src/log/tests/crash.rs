//! A power cut at any moment: what a flush returned for is there, and the log goes on behind it.

use disk::CrashChoices;
use wal::Lsn;

use super::support::*;

/// What was done up to some operation of the disk.
#[derive(Clone, Copy)]
struct Mark {
    operations: usize,
    flushed: Lsn,
}

#[test]
fn what_was_flushed_survives_and_the_end_is_a_records_end() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    let mut marks = vec![Mark { operations: disk.operations(), flushed: log.flushed() }];
    let mut appended = Vec::new();
    for (number, length) in [30, 9000, 1, 400, 20_000, 60, 700_000, 100, 350_000, 40].into_iter().enumerate()
    {
        let placed = append(&mut log.appender(), &vec![number as u8 + 1; length]);
        appended.push(placed);
        if number % 3 != 1 {
            log.flush(placed.end).unwrap();
            assert!(log.flushed() >= placed.end);
            marks.push(Mark { operations: disk.operations(), flushed: log.flushed() });
        }
    }
    drop(log);
    let last = disk.operations();
    let choices = CrashChoices { exhaustive_up_to: 24, samples: 2, seed: 3 };
    let points = marks.iter().flat_map(|mark| [mark.operations, mark.operations + 1]).chain([last]);
    for after in points.filter(|&after| after <= last) {
        let flushed = marks.iter().rev().find(|mark| mark.operations <= after).map(|mark| mark.flushed);
        for crashed in disk.crash_states(after, choices) {
            let (end, found) = read(&crashed, &root());
            assert!(
                Some(end.position) >= flushed,
                "ends at {} after {after}, flushed {flushed:?}",
                end.position
            );
            let is_end =
                end.position == fresh().position || appended.iter().any(|placed| placed.end == end.position);
            assert!(is_end, "{}", end.position);
            goes_on(&crashed, found.len());
        }
    }
}

/// The log can be opened behind what is left, and what is appended then is found together with it.
fn goes_on(disk: &disk::SimDisk, records: usize) {
    let (end, _) = read(disk, &root());
    let log = open(disk, end);
    let placed = append(&mut log.appender(), b"after the crash");
    log.flush(placed.end).unwrap();
    let (new_end, found) = read(disk, &root());
    assert_eq!((new_end.position, found.len()), (placed.end, records + 1));
}

#[test]
fn a_whole_record_left_behind_a_lost_one_never_comes_back() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    let first = append(&mut log.appender(), &[1; 600]);
    log.flush(first.end).unwrap();
    let durable = disk.operations();
    // Two records, of which a crash keeps the second alone.
    let lost = append(&mut log.appender(), &[2; 600]);
    let kept = append(&mut log.appender(), &[3; 600]);
    log.flush(kept.end).unwrap();
    drop(log);
    let mut met = false;
    for crashed in disk.crash_states(durable + 1, CrashChoices { exhaustive_up_to: 512, samples: 0, seed: 1 })
    {
        let (end, _) = read(&crashed, &root());
        if end.position != first.end {
            continue;
        }
        met = true;
        // A record as long as the lost one, so that the next would start where the kept one does.
        let log = open(&crashed, end);
        let again = append(&mut log.appender(), &[4; 600]);
        assert_eq!(again, lost);
        log.flush(again.end).unwrap();
        assert_eq!(read(&crashed, &root()).0.position, again.end);
    }
    assert!(met);
}

#[test]
fn a_record_that_was_begun_in_vain_is_named() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    let first = append(&mut log.appender(), &[1; 100]);
    let aborted = append(&mut log.appender(), &vec![2; 20_000]);
    log.flush(aborted.end).unwrap();
    drop(log);
    let missing = Lsn::new(aborted.start.as_u64() / 8192 * 8192 + 8192);
    let start = crate::log::LogStart {
        position: missing,
        prev: first.start,
        clean: false,
        aborted: Some(aborted.start),
        ..fresh()
    };
    let log = open(&disk, start);
    let after = append(&mut log.appender(), &[3; 100]);
    log.flush(after.end).unwrap();
    let (end, found) = read(&disk, &root());
    assert_eq!(end.position, after.end);
    // The first, the one that names the aborted one, and the last.
    assert_eq!(found.len(), 3);
    assert_eq!(found.get(1).map(|found| found.placed.start), Some(missing.saturating_add(24)));
}
