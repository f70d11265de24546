//! What a directory says about itself.

use super::archive::{Archive, Log, T1, T2, size, start_of};
use crate::waldir::control::sample as control_file;
use crate::waldir::{Compression, StreamingStart, WalDir};
use wal::{Lsn, SegmentSize};

#[test]
fn the_segment_size_comes_from_control_file_page_header_or_length() {
    let mut log = Log::new();
    log.append(100);
    let archive = Archive::new();
    assert_eq!(archive.dir.segment_size().unwrap(), None);
    archive.put("000000010000000000000009", &vec![0; 4 << 20]);
    assert_eq!(archive.dir.segment_size().unwrap(), SegmentSize::new(4 << 20).ok(), "by its length");
    archive.put_stored(T1, 1, &log.segment(1), Compression::Gzip, true);
    assert_eq!(archive.dir.segment_size().unwrap(), Some(size()), "by its first page");
    archive.put_control_file(&control_file(1700, start_of(1), 2 << 20));
    assert_eq!(archive.dir.segment_size().unwrap(), SegmentSize::new(2 << 20).ok(), "by the server's word");
}

#[test]
fn the_control_file_is_found_beside_a_linked_pg_wal() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    std::fs::create_dir_all(data.join("global")).unwrap();
    std::fs::create_dir(temp.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(temp.path().join("elsewhere"), data.join("pg_wal")).unwrap();
    let dir = WalDir::on_os(data.join("pg_wal"));
    assert_eq!(dir.control_file().unwrap(), None);
    std::fs::write(data.join("global/pg_control"), control_file(1800, Lsn::new(0x28), 1 << 24)).unwrap();
    assert_eq!(dir.control_file().unwrap().unwrap().version, 1800);
    std::fs::write(data.join("global/pg_control"), [0; 8192]).unwrap();
    let error = dir.control_file().unwrap_err().to_string();
    assert!(error.contains("pg_control"), "{error}");
}

#[test]
fn histories_are_read_and_the_newest_timeline_is_the_highest() {
    let archive = Archive::new();
    assert_eq!(archive.dir.newest_timeline().unwrap(), None);
    let history = archive.put_history(start_of(3));
    assert_eq!(archive.dir.history(T2).unwrap(), history);
    assert_eq!(archive.dir.newest_timeline().unwrap(), Some(T2));
    assert_eq!(archive.dir.history_bytes(T2).unwrap().unwrap(), history.to_bytes());
    assert!(archive.dir.history(T1).unwrap().entries().is_empty());
    archive.put("00000002.history", b"garbage\n");
    let error = archive.dir.history(T2).unwrap_err().to_string();
    assert!(error.contains("00000002.history") && error.contains("line 1"), "{error}");
}

#[test]
fn a_receiver_goes_on_after_complete_segments_of_the_right_content() {
    let log = Log::new();
    let archive = Archive::new();
    let next = |segment: u64| Some(StreamingStart { timeline: T1, lsn: start_of(segment) });
    archive.put_stored(T1, 1, &log.segment(1), Compression::Gzip, false);
    archive.put_stored(T1, 2, &log.segment(2), Compression::Lz4, false);
    assert_eq!(archive.dir.streaming_start(size()).unwrap().0, next(3));
    archive.put_stored(T1, 3, &log.segment(3)[1..], Compression::Lz4, false);
    archive.put_stored(T1, 4, &log.segment(3)[1..], Compression::Gzip, false);
    archive.put("000000010000000000000005.lz4", b"garbage");
    let (start, skipped) = archive.dir.streaming_start(size()).unwrap();
    assert_eq!((start, skipped.len()), (next(3), 3));
    assert!(skipped.iter().any(|file| file.to_string().contains("incorrect size 1048575")));
}

#[test]
fn a_missing_directory_is_an_error_that_names_it() {
    let error = WalDir::on_os("/nonexistent/wal").list(size()).unwrap_err().to_string();
    assert_eq!(error, "could not read \"/nonexistent/wal\": No such file or directory (os error 2)");
}
