//! Following, and promotion.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use disk::{CrashChoices, Disk, SimDisk};
use wal::{Lsn, TimelineHistory, TimelineId};

use super::support::*;
use crate::log::{Log, LogStart, NewTimeline};

/// A directory with a leader's log in it, its records' ends, and where it ends.
fn received(lengths: &[usize]) -> (SimDisk, LogStart) {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    for &length in lengths {
        append(&mut log.appender(), &vec![1; length]);
    }
    log.flush(log.inserted()).unwrap();
    drop(log);
    let (end, _) = read(&disk, &root());
    (disk, end)
}

fn promoted(disk: &SimDisk, end: LogStart) -> (Log, TimelineHistory) {
    let log = Log::follow(Arc::new(disk.clone()), Path::new(DIR), options(), end).unwrap();
    let new = NewTimeline {
        timeline: TimelineId::new(2),
        position: end.position,
        prev: end.prev,
        parent: root(),
        reason: "no recovery target specified".to_owned(),
    };
    let history = log.begin_timeline(&new).unwrap();
    (log, history)
}

#[test]
fn a_new_timeline_goes_on_in_a_copy_of_the_segment() {
    let (disk, end) = received(&[100, 9000, 50]);
    let (log, history) = promoted(&disk, end);
    assert_eq!(log.timeline(), TimelineId::new(2));
    let placed = append(&mut log.appender(), &vec![2; 10_000]);
    log.flush(placed.end).unwrap();
    let (new_end, found) = read(&disk, &history);
    assert_eq!((new_end.position, found.len()), (placed.end, 4));
    assert_eq!(placed.start, end.position);
    let file = disk::read_file(&disk, &Path::new(DIR).join("00000002.history"), 1000).unwrap();
    assert_eq!(TimelineHistory::parse(TimelineId::new(2), &file).unwrap(), history);
    assert_eq!(history.switch_point_of(TimelineId::FIRST), Some(end.position));
    // The old timeline's own file stays as it was; what was made ahead for it is gone.
    assert!(disk.exists(&Path::new(DIR).join("000000010000000000000001")).unwrap());
    assert!(!disk.exists(&Path::new(DIR).join("000000010000000000000002")).unwrap());
}

#[test]
fn segments_of_a_new_timeline_are_made_ahead_once_that_is_asked_for() {
    let (disk, end) = received(&[100]);
    let (log, _) = promoted(&disk, end);
    let placed = append(&mut log.appender(), &[2; 100]);
    log.flush(placed.end).unwrap();
    let next = Path::new(DIR).join("000000020000000000000002");
    assert!(!disk.exists(&next).unwrap());
    log.make_segments_ahead();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !disk.exists(&next).unwrap() {
        assert!(std::time::Instant::now() < deadline, "no segment is made ahead");
        std::thread::yield_now();
    }
}

#[test]
fn a_new_timeline_can_begin_with_a_segment() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    append(&mut log.appender(), &[1; 100]);
    log.switch_segment().unwrap();
    log.flush(log.inserted()).unwrap();
    drop(log);
    let (end, _) = read(&disk, &root());
    assert_eq!(size().offset_of(end.position), 0);
    let (log, history) = promoted(&disk, end);
    let placed = append(&mut log.appender(), &[2; 100]);
    log.flush(placed.end).unwrap();
    let (new_end, found) = read(&disk, &history);
    assert_eq!((new_end.position, found.len()), (placed.end, 3));
    assert!(!disk.exists(&Path::new(DIR).join("000000020000000000000001")).unwrap());
}

#[test]
fn a_crash_during_promotion_leaves_the_old_timeline_or_the_new_one() {
    let (disk, end) = received(&[100, 9000, 50]);
    // Everything so far is durable; only the promotion is uncertain.
    let settled =
        disk.crash_states(disk.operations(), CrashChoices { exhaustive_up_to: 1, samples: 0, seed: 1 });
    let disk = settled.last().unwrap();
    drop(promoted(&disk, end));
    let choices = CrashChoices { exhaustive_up_to: 64, samples: 4, seed: 5 };
    for after in 0..=disk.operations() {
        if disk.log_text().lines().nth(after).is_some_and(|line| line.contains("write")) && after % 16 != 0 {
            continue;
        }
        for crashed in disk.crash_states(after, choices) {
            let file = disk::read_file(&crashed, &Path::new(DIR).join("00000002.history"), 1000);
            let history = match file {
                Ok(content) => TimelineHistory::parse(TimelineId::new(2), &content).unwrap(),
                Err(_) => root(),
            };
            let (found, records) = read(&crashed, &history);
            assert_eq!((found.position, records.len()), (end.position, 3), "after {after}, {history:?}");
        }
    }
}

#[test]
fn a_followers_position_moves_as_it_is_told_and_wakes_who_waits() {
    let (disk, end) = received(&[100]);
    let log = Log::follow(Arc::new(disk), Path::new(DIR), options(), end).unwrap();
    assert_eq!(log.flushed(), end.position);
    let further = Lsn::new(end.position.as_u64() + 8000);
    log.advance(further, TimelineId::FIRST);
    log.flush(further).unwrap();
    assert_eq!((log.flushed(), log.inserted()), (further, further));
    log.advance(end.position, TimelineId::FIRST);
    assert_eq!(log.flushed(), further);
}

#[test]
fn a_flush_that_began_while_a_followers_log_moved_takes_it_back_nowhere() {
    let (disk, end) = received(&[100]);
    let log = Log::follow(Arc::new(disk), Path::new(DIR), options(), end).unwrap();
    // What the writer thread sees if it looks while the log is being moved: something to flush.
    let seen = Arc::new(AtomicBool::new(false));
    let (looks, shared) = (Arc::clone(&seen), Arc::downgrade(&log.shared));
    log.subscribe(move |_| looks.store(shared.upgrade().unwrap().has_unflushed(), Ordering::SeqCst));
    let further = Lsn::new(end.position.as_u64() + 8000);
    log.advance(further, TimelineId::FIRST);
    assert!(seen.load(Ordering::SeqCst) && !log.shared.has_unflushed());
    // And what it does when it gets its turn, which is after that.
    log.shared.flush_in_turn();
    log.shared.write_out();
    assert_eq!((log.inserted(), log.written(), log.flushed()), (further, further, further));
    // From where it is, it goes on.
    let furthest = Lsn::new(further.as_u64() + 8000);
    log.advance(furthest, TimelineId::FIRST);
    assert_eq!((log.inserted(), log.written(), log.flushed()), (furthest, furthest, furthest));
}

#[test]
fn a_segment_still_being_received_is_found_under_its_partial_name() {
    let (disk, end) = received(&[100, 9000, 50]);
    let finished = Path::new(DIR).join("000000010000000000000001");
    disk.rename(&finished, &Path::new(DIR).join("000000010000000000000001.partial")).unwrap();
    let (log, _) = promoted(&disk, end);
    let placed = append(&mut log.appender(), &[2; 100]);
    log.flush(placed.end).unwrap();
    // What the receiver says late, of the timeline that was left, moves nothing.
    log.advance(Lsn::new(placed.end.as_u64() + 8000), TimelineId::FIRST);
    assert_eq!((log.flushed(), log.inserted(), log.timeline()), (placed.end, placed.end, TimelineId::new(2)));
    let copy = disk::read_file(&disk, &Path::new(DIR).join("000000020000000000000001"), 1 << 20).unwrap();
    let original =
        disk::read_file(&disk, &Path::new(DIR).join("000000010000000000000001.partial"), 1 << 20).unwrap();
    let shared = size().offset_of(end.position) as usize;
    assert!(copy.get(..shared) == original.get(..shared));
}

#[test]
fn a_log_whose_segment_is_gone_cannot_go_on() {
    let (disk, end) = received(&[100]);
    disk.remove_file(&Path::new(DIR).join("000000010000000000000001")).unwrap();
    let refusal = Log::open(Arc::new(disk), Path::new(DIR), options(), end).unwrap_err().to_string();
    let expected = "WAL segment file \"/pg_wal/000000010000000000000001\" is missing or cut short";
    assert!(refusal.starts_with(expected), "{refusal}");
}

/// Follows, and begins timeline 2 at the end.
fn begin(log: &Log, end: LogStart) -> Result<TimelineHistory, crate::EngineError> {
    let (position, prev) = (end.position, end.prev);
    let reason = "no recovery target specified".to_owned();
    log.begin_timeline(&NewTimeline { timeline: TimelineId::new(2), position, prev, parent: root(), reason })
}

#[test]
fn on_a_full_disk_no_timeline_begins_and_one_does_once_there_is_space() {
    // Inside a segment, just before its end, and with it.
    let inside = vec![100, 9000, 50];
    let before_the_end = [vec![60_000; 17], vec![15_000]].concat();
    for (lengths, switched) in [(inside.clone(), false), (before_the_end, false), (inside, true)] {
        let (disk, mut end) = received(&lengths);
        if switched {
            let log = open(&disk, end);
            log.switch_segment().unwrap();
            log.flush(log.inserted()).unwrap();
            drop(log);
            end = read(&disk, &root()).0;
        }
        let left = size().bytes() - size().offset_of(end.position);
        assert_eq!(left < 12_000, lengths.len() > 3, "{left}");
        let log = Log::follow(Arc::new(disk.clone()), Path::new(DIR), options(), end).unwrap();
        let names = |disk: &SimDisk| -> Vec<String> {
            let entries = disk.read_dir(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name);
            entries.filter(|name| name.starts_with("00000002.") || name.starts_with("xlogtemp")).collect()
        };
        for space in [0, 1 << 19, (1 << 20) + 10, 2 << 20] {
            disk.limit_space(Some(space));
            let outcome = begin(&log, end);
            if let Err(error) = outcome {
                assert!(error.is_disk_full(), "{}", error.chain());
                assert_eq!(names(&disk), [] as [String; 0], "with {space} bytes");
            } else {
                break;
            }
        }
        disk.limit_space(None);
        if log.timeline() == TimelineId::FIRST {
            begin(&log, end).unwrap();
        }
        let reason = "no recovery target specified";
        let history = root().child(TimelineId::new(2), end.position.align8(), reason).unwrap();
        // With no more space than it has by now, its first records go in.
        disk.limit_space(Some(0));
        append(&mut log.appender(), &[2; 200]);
        let placed = append(&mut log.appender(), &[2; 13_000]);
        log.flush(placed.end).unwrap();
        let (found, _) = read(&disk, &history);
        assert_eq!(found.position, placed.end, "{switched}, {}", lengths.len());
    }
}
