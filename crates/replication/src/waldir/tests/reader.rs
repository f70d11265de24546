//! Reading by position, whichever file has it.

use super::archive::{Archive, Log, T1, T2, size, start_of};
use crate::waldir::{Compression, SegmentReader, WalDir, WalDirError};
use wal::{Lsn, TimelineHistory, TimelineId};

fn reader(archive: &Archive, history: TimelineHistory) -> SegmentReader {
    SegmentReader::new(archive.dir.clone(), size(), history)
}

fn three_segments() -> Log {
    let mut log = Log::new();
    log.fill_up_to(4);
    log
}

#[test]
fn reads_plain_compressed_and_partial_files_over_segment_ends() {
    let log = three_segments();
    let archive = Archive::new();
    archive.put_stored(T1, 1, &log.segment(1), Compression::Gzip, false);
    archive.put_segment(T1, 2, &log.segment(2));
    archive.put_stored(T1, 3, &log.segment(3), Compression::Lz4, true);
    let mut reader = reader(&archive, TimelineHistory::root());
    let mut read = vec![0; 3 << 20];
    reader.read_exact_at(T1, start_of(1), &mut read).unwrap();
    assert!(read == [log.segment(1), log.segment(2), log.segment(3)].concat());
    let mut buf = vec![0; 100];
    assert_eq!(
        reader.read_at(T1, Lsn::new(start_of(2).as_u64() - 10), &mut buf).unwrap(),
        10,
        "up to the segment's end"
    );
}

#[test]
fn a_complete_file_is_preferred_to_a_partial_one() {
    let log = three_segments();
    let archive = Archive::new();
    archive.put_partial(T1, 1, &vec![0; size().bytes() as usize]);
    archive.put_stored(T1, 1, &log.segment(1), Compression::Gzip, false);
    let mut head = [0; 40];
    reader(&archive, TimelineHistory::root()).read_exact_at(T1, start_of(1), &mut head).unwrap();
    assert_eq!(head, log.segment(1)[..40]);
}

#[test]
fn a_growing_partial_file_is_read_as_far_as_it_goes() {
    let log = three_segments();
    let archive = Archive::new();
    let mut buf = [0; 5000];
    for compression in Compression::ALL {
        archive.put_stored(T1, 1, &log.segment(1)[..4000], compression, true);
        let mut reader = reader(&archive, TimelineHistory::root());
        assert_eq!(reader.read_at(T1, start_of(1), &mut buf).unwrap(), 4000);
        let at = Lsn::new(start_of(1).as_u64() + 4000);
        assert_eq!(reader.read_at(T1, at, &mut buf).unwrap(), 0);
        archive.put_stored(T1, 1, &log.segment(1)[..6000], compression, true);
        assert_eq!(reader.read_at(T1, at, &mut buf).unwrap(), 2000);
        let name = format!("000000010000000000000001{}.partial", compression.suffix());
        archive
            .dir
            .disk()
            .rename(
                &archive.dir.path().join(&name),
                &archive.dir.path().join("000000010000000000000001.partial.old"),
            )
            .unwrap();
    }
}

#[test]
fn what_is_missing_is_named_as_postgresql_names_it() {
    let archive = Archive::new();
    archive.put_segment(T1, 1, &[0; 100]);
    let mut reader = reader(&archive, TimelineHistory::root());
    let mut buf = [0; 10];
    let missing = reader.read_at(T1, start_of(2), &mut buf).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "requested WAL segment 000000010000000000000002 has already been removed"
    );
    let short = reader.read_at(T1, Lsn::new(start_of(1).as_u64() + 100), &mut buf).unwrap_err();
    assert!(matches!(short, WalDirError::ShortSegment { .. }), "{short}");
}

/// Timeline 1 was left for 2 in segment 2, and both have or lack files of their own for it.
#[test]
fn the_last_segment_of_an_ancestor_is_found_under_its_childs_name() {
    let mut log = Log::new();
    log.fill_up_to(2);
    log.append(9000);
    let fork = log.append(300);
    let archive = Archive::new();
    archive.put_segment(T1, 1, &log.segment(1));
    log.switch_to(T2);
    log.append(20_000);
    archive.put_segment(T2, 2, &log.segment(2));
    let history = archive.put_history(fork.end);
    let mut reader = reader(&archive, history);
    let mut buf = vec![0; 1 << 20];
    let own = fork.end.bytes_since(start_of(2)) as usize;
    assert_eq!(reader.read_at(T1, start_of(2), &mut buf).unwrap(), own, "nothing past the switch point");
    assert!(buf[..own] == log.segment(2)[..own]);
    assert_eq!(reader.read_at(T1, fork.end, &mut buf).unwrap(), 0);
    assert!(reader.read_at(T2, fork.end, &mut buf).unwrap() > 20_000);
    // Its own partial file, as a promotion leaves it, comes first.
    let mut marked = log.segment(2);
    marked[100] ^= 0xFF;
    archive.put_partial(T1, 2, &marked);
    let mut reader = self::reader(&archive, archive.put_history(fork.end));
    reader.read_at(T1, start_of(2), &mut buf).unwrap();
    assert_eq!(buf[100], marked[100]);
}

#[test]
fn a_grandchilds_file_serves_only_if_the_child_was_left_in_the_segment_too() {
    let log = three_segments();
    let t3 = TimelineId::new(3);
    let within = |segment: u64, offset: u64| Lsn::new(start_of(segment).as_u64() + offset);
    for (child_left_at, found) in [(within(2, 16384), true), (within(3, 16384), false)] {
        let archive = Archive::new();
        archive.put_segment(t3, 2, &log.segment(2));
        let history = TimelineHistory::root().child(T2, within(2, 8192), "").unwrap();
        let history = history.child(t3, child_left_at, "").unwrap();
        let mut reader = reader(&archive, history);
        assert_eq!(reader.read_at(T1, start_of(2), &mut [0; 10]).is_ok(), found);
    }
}

#[test]
fn a_history_learnt_later_ends_what_was_the_newest_timeline() {
    let mut log = Log::new();
    let fork = log.append(300);
    log.append(20_000);
    let archive = Archive::new();
    archive.put_log(&log);
    let mut reader = reader(&archive, TimelineHistory::root());
    let mut buf = [0; 8192];
    assert!(reader.read_at(T1, fork.end, &mut buf).unwrap() > 0);
    reader.set_history(archive.put_history(fork.end));
    assert_eq!(reader.read_at(T1, fork.end, &mut buf).unwrap(), 0);
}

#[test]
fn a_plain_file_is_handed_out_for_sendfile() {
    let log = three_segments();
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("000000010000000000000001"), log.segment(1)).unwrap();
    let gzip = crate::waldir::compression::compress(Compression::Gzip, &log.segment(2));
    std::fs::write(temp.path().join("000000010000000000000002.gz"), gzip).unwrap();
    let mut reader = SegmentReader::new(WalDir::on_os(temp.path()), size(), TimelineHistory::root());
    let at = Lsn::new(start_of(1).as_u64() + 8192);
    let run = reader.plain_run(T1, at).unwrap().unwrap();
    assert_eq!((run.offset, run.len), (8192, (1 << 20) - 8192));
    let mut head = [0; 24];
    run.file.read_exact_at(&mut head, run.offset).unwrap();
    assert_eq!(head, log.segment(1)[8192..8216]);
    assert!(run.file.as_fd().is_some());
    assert!(reader.plain_run(T1, start_of(2)).unwrap().is_none(), "compressed");
}

#[test]
fn a_file_that_a_server_recycles_under_the_reader_is_not_believed() {
    let log = three_segments();
    let archive = Archive::new();
    archive.put_control_file(&crate::waldir::control::sample(1300, start_of(1), size().bytes()));
    archive.put_segment(T1, 1, &log.segment(1));
    let mut reader = reader(&archive, TimelineHistory::root());
    let mut buf = [0; 100];
    assert_eq!(reader.read_at(T1, start_of(1), &mut buf).unwrap(), 100);
    let path = |name| archive.dir.path().join(name);
    let disk = archive.dir.disk();
    disk.rename(&path("000000010000000000000001"), &path("000000010000000000000009")).unwrap();
    archive.put_segment(T1, 9, &log.segment(2));
    let gone = reader.read_at(T1, start_of(1), &mut buf).unwrap_err();
    assert!(matches!(gone, WalDirError::MissingSegment { .. }), "{gone}");
}
