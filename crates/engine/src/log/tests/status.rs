//! What other processes are told, on a real disk.

use std::path::Path;
use std::sync::Arc;

use disk::{Disk, OsDisk};
use replication::waldir::{Published, StatusReader, WalDir};
use wal::{Lsn, TimelineId};

use super::support::*;
use crate::log::{Log, LogOptions, LogStart, NewTimeline};

fn publishing() -> LogOptions {
    LogOptions { publish_status: true, ..options() }
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(OsDisk::new())
}

/// Timeline, its start, write and flush position, if a live process publishes.
fn published(dir: &Path) -> Option<(TimelineId, Lsn, Lsn, Lsn)> {
    match StatusReader::open(&WalDir::on_os(dir)).unwrap()?.read() {
        Published::Live(status) => {
            assert_eq!((status.system_id, status.segment_size), (Some(SYSTEM), Some(size())));
            Some((status.timeline, status.timeline_start, status.write, status.flush))
        }
        _ => None,
    }
}

#[test]
fn the_status_file_has_what_is_durable_when_a_flush_returns() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(disk(), dir.path(), publishing(), fresh()).unwrap();
    let start = fresh().position;
    assert_eq!(published(dir.path()), Some((TimelineId::FIRST, Lsn::INVALID, start, start)));
    for length in [100, 9000, 30] {
        let placed = append(&mut log.appender(), &vec![1; length]);
        log.flush(placed.end).unwrap();
        let expected = Some((TimelineId::FIRST, Lsn::INVALID, placed.end, placed.end));
        assert_eq!(published(dir.path()), expected);
    }
    drop(log);
    assert_eq!(published(dir.path()), None);
}

#[test]
fn a_promoted_log_publishes_its_own_timeline() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Log::open(disk(), dir.path(), publishing(), fresh()).unwrap();
    let placed = append(&mut leader.appender(), &[1; 100]);
    leader.flush(placed.end).unwrap();
    drop(leader);
    let end = LogStart { position: placed.end, prev: placed.start, ..fresh() };
    let log = Log::follow(disk(), dir.path(), publishing(), end).unwrap();
    assert_eq!(published(dir.path()), None);
    let new = NewTimeline {
        timeline: TimelineId::new(2),
        position: placed.end,
        prev: placed.start,
        parent: root(),
        reason: "no recovery target specified".to_owned(),
    };
    log.begin_timeline(&new).unwrap();
    assert_eq!(published(dir.path()), Some((TimelineId::new(2), placed.end, placed.end, placed.end)));
}

#[test]
fn a_directory_in_use_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(disk(), dir.path(), publishing(), fresh()).unwrap();
    let placed = append(&mut log.appender(), &[1; 100]);
    log.flush(placed.end).unwrap();
    let segment = dir.path().join("000000010000000000000001");
    let before = std::fs::read(&segment).unwrap();
    // As after a crash: everything behind the start would be wiped.
    let other = LogOptions { publish_status: false, ..options() };
    let refusal = Log::open(disk(), dir.path(), other, LogStart { clean: false, ..fresh() }).unwrap_err();
    assert!(refusal.to_string().contains("is in use by process"), "{refusal}");
    assert!(std::fs::read(&segment).unwrap() == before);
}
