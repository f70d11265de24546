//! The rules of durability on a simulated disk: crashes after every operation, syncs that fail, full disks.

use std::path::Path;
use std::sync::Arc;

use disk::{CrashChoices, Disk, OpenMode, SimDisk};
use replication::waldir::{StreamingStart, WalDir};
use runtime::sync::Mutex;
use wal::{Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId};

use super::*;
use crate::generated::{SYSTEM, grow, log, size, start, wal};

mod disk_errors;
mod final_names;

const DIR: &str = "wal";

fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new(DIR)).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    disk
}

fn files(disk: &SimDisk) -> SegmentFiles {
    SegmentFiles {
        disk: Arc::new(disk.clone()),
        dir: DIR.into(),
        timeline: TimelineId::FIRST,
        size: size(),
        naming: Naming::Partial,
    }
}

fn archive(disk: &SimDisk, proven: Lsn) -> (ArchiveWriter, Syncer) {
    ArchiveWriter::new(files(disk), start(), proven, SyncMode::AtOnce, Arc::new(|_: &Path| {}))
}

fn prove(disk: &SimDisk) -> resume::ResumePoint {
    let dir = WalDir::new(DIR, Arc::new(disk.clone()));
    let found = dir.streaming_start(size()).unwrap().0;
    let start = found.unwrap_or(StreamingStart { timeline: TimelineId::FIRST, lsn: start() });
    resume::prove(&dir, start, &TimelineHistory::root(), SYSTEM, size(), true, Naming::Partial).unwrap()
}

/// The archive's bytes from `start()` on, over its segments, as long as there are any.
fn content(disk: &SimDisk) -> Vec<u8> {
    let mut content = Vec::new();
    for segment in size().segment_of(start()).as_u64().. {
        let name = wal::SegmentNo::new(segment).file_name(TimelineId::FIRST, size());
        let path = Path::new(DIR).join(name);
        let partial = path.with_extension("partial");
        let Some(found) = [path, partial].into_iter().find(|path| disk.exists(path).unwrap()) else { break };
        content.extend(disk::read_file(disk, &found, 2 << 20).unwrap());
        content.resize(content.len().next_multiple_of(size().bytes() as usize), 0);
    }
    content
}

fn assert_holds(disk: &SimDisk, upto: Lsn, stream: &[u8], context: &str) {
    let len = upto.bytes_since(start()) as usize;
    let content = content(disk);
    assert!(content.len() >= len, "{context}: only {} of {len} acknowledged bytes left", content.len());
    assert!(content[..len] == stream[..len], "{context}: acknowledged bytes changed");
}

/// Writes `stream` in steps, syncing now and then; after which operation which position was durable.
fn run(disk: &SimDisk, proven: Lsn, stream: &[u8], steps: &[usize]) -> Vec<(usize, Lsn)> {
    let (mut writer, syncer) = archive(disk, proven);
    let reported = Mutex::new(Vec::new());
    let mut rest = stream;
    for (number, &step) in steps.iter().cycle().enumerate() {
        let (chunk, after) = rest.split_at(step.min(rest.len()));
        writer.write(chunk, number % 2 == 0).unwrap();
        if number % 2 == 1 || after.is_empty() {
            syncer.sync(&|durable| reported.lock().push((disk.operations(), durable))).unwrap();
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    reported.into_inner()
}

#[test]
fn whatever_a_crash_leaves_holds_every_acknowledged_byte() {
    let stream = wal(2_300_000);
    let disk = disk();
    let reported = run(&disk, start(), &stream, &[100_000, 90_000, 250_000]);
    assert_eq!(reported.last().unwrap().1, start().saturating_add(stream.len() as u64));
    let choices = CrashChoices { exhaustive_up_to: 8, samples: 4, seed: 5 };
    for after in 0..=disk.operations() {
        let acknowledged = reported.iter().filter(|(at, _)| *at <= after).map(|&(_, lsn)| lsn).max();
        for state in disk.crash_states(after, choices) {
            assert_holds(&state, acknowledged.unwrap_or(start()), &stream, &format!("crash after {after}"));
        }
    }
}

#[test]
fn going_on_after_a_crash_ends_with_the_same_bytes_and_loses_nothing_on_the_way() {
    let stream = wal(1_500_000);
    let first = disk();
    let (half, _) = stream.split_at(700_000);
    let reported = run(&first, start(), half, &[100_000, 90_000]);
    let acknowledged = reported.last().unwrap().1;
    let choices = CrashChoices { exhaustive_up_to: 2, samples: 2, seed: 9 };
    for crashed in first.crash_states(first.operations() - 1, choices) {
        let point = prove(&crashed);
        assert!(point.proven <= acknowledged.max(point.start.lsn));
        let from = point.start.lsn.bytes_since(start()) as usize;
        assert_eq!(from, 0, "the first segment was not finished");
        run(&crashed, point.proven, &stream, &[65_536, 8_192]);
        assert_holds(&crashed, start().saturating_add(stream.len() as u64), &stream, "after going on");
        // And a second crash, at any moment of going on, takes nothing that the first life had acknowledged.
        for after in (0..=crashed.operations()).step_by(3) {
            for again in crashed.crash_states(after, choices) {
                assert_holds(&again, point.proven, &stream, &format!("second crash after {after}"));
            }
        }
    }
}

#[test]
fn a_failed_sync_ends_it_and_nothing_more_is_acknowledged() {
    let stream = wal(1_200_000);
    for nth in 1..6 {
        let disk = disk();
        let (mut writer, syncer) = archive(&disk, start());
        let reported = Mutex::new(start());
        let report = |durable: Lsn| *reported.lock() = durable;
        disk.fail_sync(nth);
        let mut failed = false;
        for chunk in stream.chunks(300_000) {
            let outcome = writer.write(chunk, false).map(drop).and_then(|()| syncer.sync(&report));
            assert!(!failed || outcome.is_err(), "went on after a failed sync");
            failed |= outcome.is_err();
        }
        assert!(failed);
        assert!(syncer.check().unwrap_err().to_string().starts_with("could not fsync file \"wal"));
        let acknowledged = *reported.lock();
        for state in disk.crash_states(disk.operations(), CrashChoices::default()) {
            assert_holds(&state, acknowledged, &stream, &format!("failed sync {nth}"));
        }
    }
}

#[test]
fn a_full_disk_is_one_clear_error() {
    let disk = disk();
    let stream = wal(1_200_000);
    disk.limit_space(Some(1 << 20));
    let (mut writer, syncer) = archive(&disk, start());
    let error = writer.write(&stream, false).unwrap_err();
    let line = |durable| {
        format!(
            "could not allocate file \"wal/000000010000000000000004.partial\": No space left on device; \
             WAL is durable up to {durable} and no further"
        )
    };
    assert_eq!(error.to_string(), line("0/300000"));
    assert!(writer.write(&stream, false).is_err(), "and it stays one");
    // What was written becomes durable, and nothing else; the segment that does not fit has no file.
    let (reported, second) = (Mutex::new(Vec::new()), start().saturating_add(1 << 20));
    syncer.sync(&|durable| reported.lock().push(durable)).unwrap();
    assert_eq!(reported.into_inner(), [second]);
    assert_eq!(syncer.check().unwrap_err().to_string(), line("0/400000"));
    let names: Vec<_> = disk.read_dir(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["000000010000000000000003"]);
    for state in disk.crash_states(disk.operations(), CrashChoices::default()) {
        assert_holds(&state, second, &stream, "reported");
    }
}

#[test]
fn different_wal_where_durable_wal_is_proven_is_a_fork_and_changes_nothing() {
    let disk = disk();
    let stream = wal(300_000);
    run(&disk, start(), &stream, &[300_000]);
    let point = prove(&disk);
    assert!(point.proven > start().saturating_add(290_000));
    let other = grow(&mut log(), 300_000, |_| vec![9; 2000]);
    let (mut writer, _) = archive(&disk, point.proven);
    let before = content(&disk);
    let error = writer.write(&other, true).unwrap_err();
    assert!(
        matches!(error, ArchiveError::Fork { lsn, .. } if lsn > start() && lsn < point.proven),
        "{error}"
    );
    assert_eq!(content(&disk), before);
}

#[test]
fn an_unproven_tail_may_be_replaced() {
    let disk = disk();
    let stream = wal(300_000);
    run(&disk, start(), &stream[..150_000], &[150_000]);
    let point = prove(&disk);
    let proven = point.proven.bytes_since(start()) as usize;
    assert!(proven < 150_000, "the tail ends inside a record");
    let mut other = stream[..proven].to_vec();
    other.extend(vec![7; 100]);
    run(&disk, point.proven, &other, &[9_000]);
    assert_holds(&disk, start().saturating_add(other.len() as u64), &other, "replaced tail");
    assert!(other.len() < 150_000, "the old tail was longer");
    assert!(content(&disk)[other.len()..].iter().all(|&byte| byte == 0), "nothing stale behind it");
}

#[test]
fn damaged_bytes_are_not_kept() {
    let disk = disk();
    let stream = wal(100_000);
    let (mut writer, _) = archive(&disk, start());
    writer.write(&stream, true).unwrap();
    let good = start().saturating_add(50_000);
    writer.discard_from(good).unwrap();
    let content = content(&disk);
    assert_eq!(content[..50_000], stream[..50_000]);
    assert!(content[50_000..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_directory_proves_its_records_and_no_more() {
    let disk = disk();
    let stream = wal(1_300_000);
    run(&disk, start(), &stream, &[200_000]);
    let point = prove(&disk);
    let second = start().saturating_add(1 << 20);
    assert_eq!(point.start, StreamingStart { timeline: TimelineId::FIRST, lsn: second });
    assert_eq!(point.validator.position(), second);
    assert!(point.validator.record_end() < second, "a record goes on over the boundary, and is known");
    let end = start().saturating_add(stream.len() as u64);
    assert!(point.proven <= end && end.bytes_since(point.proven) < 16, "{} of {end}", point.proven);
    let path = Path::new(DIR).join("000000010000000000000004.partial");
    disk.open(&path, OpenMode::ReadWrite).unwrap().write_all_at(&[0xFF], 9_000).unwrap();
    let damaged = prove(&disk).proven;
    assert!(damaged < second.saturating_add(9_001), "{damaged}");
}

#[test]
fn a_directory_of_another_system_or_segment_size_is_refused() {
    let disk = disk();
    run(&disk, start(), &wal(1_300_000), &[200_000]);
    let dir = WalDir::new(DIR, Arc::new(disk.clone()));
    let at = StreamingStart { timeline: TimelineId::FIRST, lsn: start().saturating_add(1 << 20) };
    let other = SystemId::new(78);
    let refused =
        resume::prove(&dir, at, &TimelineHistory::root(), other, size(), true, Naming::Partial).unwrap_err();
    assert!(
        refused.to_string().contains("holds WAL of the system 77, but the server is system 78"),
        "{refused}"
    );
    let refused = resume::check_segment_size(&dir, SegmentSize::DEFAULT).unwrap_err();
    assert!(refused.to_string().contains("segments of 1MB"), "{refused}");
}

/// An observer that keeps what it hears.
#[derive(Debug, Default)]
struct Heard {
    durable: Mutex<Lsn>,
}

impl Observer for Heard {
    fn written(&self, _: Lsn) {}
    fn durable(&self, position: Lsn) {
        let mut durable = self.durable.lock();
        assert!(*durable <= position, "went back");
        *durable = position;
    }
    fn failed(&self) {}
}

#[tokio::test(flavor = "current_thread")]
async fn the_pipeline_keeps_order_whatever_the_sizes_and_modes() {
    for mode in [SyncMode::AtOnce, SyncMode::Soon, SyncMode::Never] {
        let disk = disk();
        let stream = wal(5_000_000);
        let (writer, syncer) =
            ArchiveWriter::new(files(&disk), start(), start(), mode, Arc::new(|_: &Path| {}));
        let heard = Arc::new(Heard::default());
        let pipeline =
            Pipeline::start(writer, syncer, mode, Arc::clone(&heard) as Arc<dyn Observer>).unwrap();
        let mut rest = bytes::Bytes::from(stream.clone());
        for step in [100, 131_072, 40_000, 7, 300_000].into_iter().cycle() {
            let mut chunk =
                Some(Chunk { bytes: rest.split_to(step.min(rest.len())), lagging: step > 50_000 });
            while let Some(offered) = chunk.take() {
                chunk = pipeline.offer(offered).unwrap();
                if chunk.is_some() {
                    pipeline.room().await;
                }
            }
            if step == 7 {
                pipeline.batch_ended().unwrap();
            }
            if rest.is_empty() {
                break;
            }
        }
        pipeline.close().unwrap();
        let end = start().saturating_add(stream.len() as u64);
        assert_eq!(*heard.durable.lock(), end);
        assert_holds(&disk, end, &stream, "pipeline");
    }
}
