//! In a server's `pg_wal` a segment has its final name from the beginning: and its length and space too, always.

use std::path::PathBuf;

use disk::CrashChoices;
use wal::SegmentNo;

use super::*;

fn files_of_a_server(disk: &SimDisk) -> SegmentFiles {
    SegmentFiles { naming: Naming::Final, ..files(disk) }
}

fn writer(disk: &SimDisk, proven: Lsn) -> (ArchiveWriter, Syncer) {
    let mode = SyncMode::AtOnce;
    ArchiveWriter::new(files_of_a_server(disk), start(), proven, mode, Arc::new(|_: &Path| {}))
}

fn path(number: u64) -> PathBuf {
    let first = size().segment_of(start()).as_u64();
    Path::new(DIR).join(SegmentNo::new(first + number).file_name(TimelineId::FIRST, size()))
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.read_dir(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn prove(disk: &SimDisk, lsn: Lsn) -> Result<resume::ResumePoint, resume::ResumeError> {
    let dir = WalDir::new(DIR, Arc::new(disk.clone()));
    let start = StreamingStart { timeline: TimelineId::FIRST, lsn };
    resume::prove(&dir, start, &TimelineHistory::root(), SYSTEM, size(), true, Naming::Final)
}

#[test]
fn a_segment_that_does_not_fit_leaves_no_file_and_is_received_once_there_is_space() {
    let disk = disk();
    let stream = wal(1_300_000);
    for left in [0, 1, 8 << 10, (1 << 20) - 1] {
        disk.limit_space(Some(left));
        let (mut refused, _) = writer(&disk, start());
        let error = refused.write(&stream, false).unwrap_err().to_string();
        assert!(error.contains("could not allocate file") && error.contains("No space left"), "{error}");
        assert!(error.contains(&format!("WAL is durable up to {}", start())), "{error}");
        assert_eq!(names(&disk), [] as [String; 0], "with {left} bytes left");
    }
    disk.limit_space(None);
    let (mut again, syncer) = writer(&disk, start());
    again.write(&stream, false).unwrap();
    syncer.sync(&|_| {}).unwrap();
    assert_holds(&disk, start().saturating_add(stream.len() as u64), &stream, "with space");
}

#[test]
fn a_crash_never_leaves_a_segments_name_on_less_than_a_segment() {
    let disk = disk();
    let settled = disk.operations();
    let stream = wal(1_300_000);
    let (mut writer, syncer) = writer(&disk, start());
    for chunk in stream.chunks(200_000) {
        writer.write(chunk, true).unwrap();
        syncer.sync(&|_| {}).unwrap();
    }
    let choices = CrashChoices { exhaustive_up_to: 6, samples: 4, seed: 3 };
    for after in settled..=disk.operations() {
        for state in disk.crash_states(after, choices) {
            for entry in state.read_dir(Path::new(DIR)).unwrap() {
                let whole = entry.len == u64::from(size().bytes()) || entry.name.starts_with("xlogtemp.");
                assert!(whole, "{} has {} bytes, crash after {after}", entry.name, entry.len);
            }
        }
    }
}

#[test]
fn a_file_that_is_shorter_than_its_segment_or_empty_is_gone_on_with() {
    let stream = wal(1_300_000);
    let (whole, second) = (1 << 20, start().saturating_add(1 << 20));
    for length in [0, 1, 8192, 100_000, whole - 1] {
        for number in [0, 1] {
            let disk = disk();
            let (mut first, syncer) = writer(&disk, start());
            first.write(&stream, false).unwrap();
            syncer.sync(&|_| {}).unwrap();
            disk.open(&path(number), OpenMode::ReadWrite).unwrap().set_len(length).unwrap();
            disk.open(&Path::new(DIR).join("xlogtemp.4711"), OpenMode::Create).unwrap();
            // What comes before a short segment is proven; where streaming goes on is for whoever replays to say.
            let from = if number == 0 { start() } else { second };
            let point = prove(&disk, from).unwrap();
            let (floor, limit) = (from, from.saturating_add(length));
            assert!(
                point.proven >= floor && point.proven <= limit.max(floor),
                "{length} of segment {number}"
            );
            let (mut again, syncer) = ArchiveWriter::new(
                files_of_a_server(&disk),
                from,
                point.proven,
                SyncMode::AtOnce,
                Arc::new(|_: &Path| {}),
            );
            again.write(&stream[from.bytes_since(start()) as usize..], true).unwrap();
            syncer.sync(&|_| {}).unwrap();
            assert_holds(&disk, start().saturating_add(stream.len() as u64), &stream, "gone on with");
            assert!(names(&disk).iter().all(|name| !name.starts_with("xlogtemp.")), "{:?}", names(&disk));
        }
    }
}
