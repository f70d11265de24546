//! The end of WAL in the states in which directories are found.

use super::archive::{Archive, Log, SYSTEM, T1, T2, size, start_of};
use crate::waldir::control::sample as control_file;
use crate::waldir::{Compression, EndOfWal, find_end_of_wal};
use wal::{Lsn, TimelineId, WalErrorKind, WalVersion};

fn end_of(archive: &Archive) -> EndOfWal {
    find_end_of_wal(&archive.dir, None).unwrap().unwrap()
}

fn position(end: &EndOfWal) -> (Option<Lsn>, Lsn) {
    (end.last_record, end.lsn)
}

#[test]
fn is_after_the_last_record_of_a_preallocated_segment() {
    let mut log = Log::new();
    log.fill_up_to(3);
    let last = log.append(9000);
    let archive = Archive::new();
    archive.put_log(&log);
    let end = end_of(&archive);
    assert_eq!(position(&end), (Some(last.start), last.end));
    assert_eq!((end.timeline, end.version, end.system_id), (T1, Some(WalVersion::V15), Some(SYSTEM)));
    assert_eq!(end.segment_size, size());
    assert_eq!(end.stopped_by.unwrap().reason, WalErrorKind::RecordTooShort(0));
}

#[test]
fn a_file_that_simply_ends_is_an_end_too() {
    let mut log = Log::new();
    let last = log.append(100);
    let archive = Archive::new();
    let used = last.end.bytes_since(start_of(1)) as usize;
    archive.put_partial(T1, 1, &log.segment(1)[..used]);
    let end = end_of(&archive);
    assert_eq!((position(&end), end.stopped_by), ((Some(last.start), last.end), None));
}

#[test]
fn a_torn_last_record_is_not_counted() {
    let mut log = Log::new();
    let good = log.fill_up_to(2);
    let torn = log.append(9000);
    let archive = Archive::new();
    archive.put_segment(T1, 1, &log.segment(1));
    let mut content = log.segment(2);
    let from = torn.end.bytes_since(start_of(2)) as usize - 512;
    content[from..].fill(0);
    archive.put_partial(T1, 2, &content);
    assert_eq!(position(&end_of(&archive)), (Some(good.start), good.end));
}

#[test]
fn stale_content_of_recycled_files_is_passed_over() {
    let mut log = Log::new();
    log.fill_up_to(3);
    let last = log.append(500);
    let archive = Archive::new();
    archive.put_segment(T1, 1, &log.segment(1));
    archive.put_segment(T1, 2, &log.segment(2));
    // The segment in use was segment 1 before, and so were those after it.
    let mut in_use = log.segment(1);
    let used = log.end().bytes_since(start_of(3)) as usize;
    in_use[..used].copy_from_slice(&log.segment(3)[..used]);
    archive.put_segment(T1, 3, &in_use);
    archive.put_segment(T1, 4, &log.segment(1));
    archive.put_segment(T1, 5, &vec![0; size().bytes() as usize]);
    assert_eq!(position(&end_of(&archive)), (Some(last.start), last.end));
}

#[test]
fn a_segment_that_only_continues_a_record_sends_the_search_back() {
    let mut log = Log::new();
    log.fill_up_to(2);
    // Begins in segment 1, fills 2 and 3, ends in 4 with nothing after it.
    let giant = log.append((2 << 20) + 5000);
    assert_eq!(size().segment_of(giant.start).as_u64(), 1);
    assert_eq!(size().segment_of(giant.end).as_u64(), 4);
    let archive = Archive::new();
    archive.put_log(&log);
    assert_eq!(position(&end_of(&archive)), (Some(giant.start), giant.end));
}

#[test]
fn a_record_that_never_ends_is_not_counted() {
    let mut log = Log::new();
    let good = log.fill_up_to(2);
    log.append((2 << 20) + 5000);
    let archive = Archive::new();
    for number in 1..=3 {
        archive.put_segment(T1, number, &log.segment(number));
    }
    assert_eq!(position(&end_of(&archive)), (Some(good.start), good.end));
}

#[test]
fn a_switched_segment_ends_at_its_boundary() {
    let mut log = Log::new();
    log.append(100);
    let archive = Archive::new();
    archive.put_log(&log);
    let before = end_of(&archive).lsn;
    log.fill_up_to(2);
    archive.remove("000000010000000000000001.partial");
    archive.put_segment(T1, 1, &log.segment(1));
    assert!(end_of(&archive).lsn > before);
}

#[test]
fn compressed_segments_are_read_like_plain_ones() {
    let mut log = Log::new();
    log.fill_up_to(3);
    let last = log.append(700);
    let archive = Archive::new();
    archive.put_stored(T1, 1, &log.segment(1), Compression::Gzip, false);
    archive.put_stored(T1, 2, &log.segment(2), Compression::Lz4, false);
    archive.put_stored(T1, 3, &log.segment(3), Compression::Lz4, true);
    assert_eq!(position(&end_of(&archive)), (Some(last.start), last.end));
}

#[test]
fn of_an_ancestor_nothing_past_the_switch_point_is_counted() {
    let mut log = Log::new();
    log.fill_up_to(2);
    log.append(9000);
    let fork = log.append(300);
    // Timeline 1 goes on in the same page, and for another segment.
    let mut left_behind = log.clone();
    left_behind.fill_up_to(4);
    let archive = Archive::new();
    archive.put_segment(T1, 1, &log.segment(1));
    archive.put_segment(T1, 2, &left_behind.segment(2));
    archive.put_segment(T1, 3, &left_behind.segment(3));
    archive.put_history(fork.end);
    let end = end_of(&archive);
    assert_eq!(position(&end), (Some(fork.start), fork.end));
    assert_eq!(end.timeline, T2, "the switch point is where the new timeline goes on");
    assert!(end.only_history);

    log.switch_to(T2);
    let last = log.append(10_000);
    archive.put_partial(T2, 2, &log.segment(2));
    let end = end_of(&archive);
    assert_eq!((end.timeline, position(&end)), (T2, (Some(last.start), last.end)));
    assert!(!end.only_history);
}

#[test]
fn a_timeline_known_by_its_history_alone_is_the_newest_once_its_parent_reaches_it() {
    let mut log = Log::new();
    log.fill_up_to(2);
    let before = log.append(300);
    let archive = Archive::new();
    archive.put_log(&log);
    let fork = log.append(900);
    archive.put_history(fork.end);
    let end = end_of(&archive);
    assert_eq!(
        (end.timeline, position(&end)),
        (T1, (Some(before.start), before.end)),
        "its parent goes on here"
    );
    assert!(end.only_history && end.history.timeline() == T2);
    archive.put_log(&log);
    let end = end_of(&archive);
    assert_eq!((end.timeline, position(&end)), (T2, (Some(fork.start), fork.end)));
    // A server that restores from here stops there as well.
    log.append(5000);
    archive.put_log(&log);
    let end = end_of(&archive);
    assert_eq!((end.timeline, position(&end)), (T2, (Some(fork.start), fork.end)));
    assert!(end.only_history);
}

#[test]
fn beside_a_control_file_the_first_invalid_record_after_its_checkpoint_is_the_end() {
    let mut log = Log::new();
    let checkpoint = log.append(100);
    log.fill_up_to(2);
    let last = log.fill_up_to(4);
    let archive = Archive::new();
    archive.put_log(&log);
    let mut damaged = log.segment(2);
    damaged[size().bytes() as usize / 2] ^= 1;
    archive.put_segment(T1, 2, &damaged);
    assert_eq!(end_of(&archive).lsn, last.end, "nothing says where to begin but the highest segment");
    archive.put_control_file(&control_file(1300, checkpoint.start, size().bytes()));
    let end = end_of(&archive);
    assert_eq!(size().segment_of(end.lsn).as_u64(), 2);
    assert!(end.stopped_by.is_some());
    // A hint whose segment is gone is no use.
    let end = find_end_of_wal(&archive.dir, Some(start_of(9))).unwrap().unwrap();
    assert_eq!(end.lsn, last.end);
}

#[test]
fn a_gap_is_not_crossed_backwards() {
    let mut log = Log::new();
    log.fill_up_to(2);
    log.append((2 << 20) + 5000);
    let archive = Archive::new();
    archive.put_segment(T1, 1, &log.segment(1));
    archive.put_segment(T1, 3, &log.segment(3));
    archive.put_partial(T1, 4, &log.segment(4));
    let end = end_of(&archive);
    assert_eq!(size().segment_of(end.lsn).as_u64(), 1, "the giant record is not whole");
}

#[test]
fn without_any_record_it_is_where_wal_could_begin() {
    let archive = Archive::new();
    assert_eq!(find_end_of_wal(&archive.dir, None).unwrap(), None);
    archive.put_partial(T1, 5, &vec![0; size().bytes() as usize]);
    assert_eq!(find_end_of_wal(&archive.dir, None).unwrap(), None, "not even the segment size is known");
    archive.put_control_file(&control_file(1300, start_of(5), size().bytes()));
    assert_eq!(position(&end_of(&archive)), (None, start_of(5)));
}

#[test]
fn a_timeline_without_its_history_is_an_error() {
    let mut log = Log::new();
    log.append(100);
    let archive = Archive::new();
    archive.put_segment(TimelineId::new(3), 1, &log.segment(1));
    let error = find_end_of_wal(&archive.dir, None).unwrap_err().to_string();
    assert!(error.contains("00000003.history"), "{error}");
}
