//! Segment files: made ahead, recycled, removed.

use std::path::Path;
use std::thread;

use disk::Disk;
use wal::{Lsn, SegmentNo, TimelineId};

use super::support::*;
use crate::log::{Log, Retention};

/// The files but the lock's.
fn names(disk: &disk::SimDisk) -> Vec<String> {
    let names = disk.read_dir(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name);
    names.filter(|name| name != disk::LOCK_FILE).collect()
}

fn name(segment: u64) -> String {
    SegmentNo::new(segment).file_name(TimelineId::FIRST, size())
}

fn wait_until_ahead(log: &Log, segment: u64) {
    while log.shared.segments.ready().as_u64() < segment {
        thread::yield_now();
    }
}

fn fill_segments(log: &Log, count: u32) {
    for _ in 0..count {
        append(&mut log.appender(), &[1; 100]);
        log.switch_segment().unwrap();
    }
    log.flush(log.inserted()).unwrap();
}

#[test]
fn two_segments_are_made_ahead_of_the_one_being_written() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    wait_until_ahead(&log, 3);
    drop(log);
    assert_eq!(names(&disk), [name(1), name(2), name(3)]);
}

#[test]
fn old_segments_become_new_ones_within_the_estimate_and_the_others_go() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    fill_segments(&log, 6);
    append(&mut log.appender(), &[2; 100]);
    log.flush(log.inserted()).unwrap();
    wait_until_ahead(&log, 9);
    let retention =
        Retention { keep_from: size().start_of(SegmentNo::new(6)), recycle_through: SegmentNo::new(11) };
    let outcome = log.recycle(retention).unwrap();
    assert_eq!((outcome.added, outcome.recycled, outcome.removed), (9, 2, 3));
    assert_eq!(names(&disk), (6..=11).map(name).collect::<Vec<_>>());
    // What was recycled serves, and its stale records are not taken for new ones.
    fill_segments(&log, 5);
    append(&mut log.appender(), &[3; 100]);
    log.flush(log.inserted()).unwrap();
    let all = bytes(&disk, &root(), SegmentNo::new(6));
    let start = size().start_of(SegmentNo::new(6));
    let records = wal::reader::Records::new(&all, start, expectations(&root()));
    assert_eq!(records.end(), log.inserted());
}

#[test]
fn the_estimate_follows_the_distance_between_checkpoints_within_its_bounds() {
    let redo = size().start_of(SegmentNo::new(100));
    let through =
        |distance: f64| Retention::recycle_through(size(), redo, distance, 0.9, 5 << 20, 50 << 20).as_u64();
    assert_eq!(through(0.0), 104);
    assert_eq!(through(10.0 * 1024.0 * 1024.0), 121);
    assert_eq!(through(1e12), 149);
}

#[test]
fn a_clean_start_keeps_what_was_made_ahead_and_a_crash_does_not() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    let placed = append(&mut log.appender(), &[1; 100]);
    log.flush(placed.end).unwrap();
    wait_until_ahead(&log, 3);
    drop(log);
    let (end, _) = read(&disk, &root());
    let log = open(&disk, crate::log::LogStart { clean: true, ..end });
    assert_eq!(log.shared.segments.ready(), SegmentNo::new(3));
    drop(log);
    let operations = disk.operations();
    drop(open(&disk, end));
    assert!(
        disk.log_text().lines().skip(operations).any(|line| line.contains(&name(2))),
        "{}",
        disk.log_text()
    );
}

#[test]
fn switching_at_a_segments_beginning_does_nothing() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    append(&mut log.appender(), &[1; 100]);
    log.switch_segment().unwrap();
    let position = log.inserted();
    assert_eq!(position, size().start_of(SegmentNo::new(2)));
    assert_eq!(log.switch_segment().unwrap(), position);
    assert_eq!(log.inserted(), position);
    let after = append(&mut log.appender(), &[2; 100]);
    assert_eq!(after.start, Lsn::new(position.as_u64() + 40));
    log.flush(after.end).unwrap();
    assert_eq!(read(&disk, &root()).0.position, after.end);
}
