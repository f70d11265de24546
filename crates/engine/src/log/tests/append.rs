//! What is appended is WAL, and reads back as it was.

use proptest::prelude::*;
use wal::record::{Record, ResourceManager, Xid};
use wal::{Lsn, WalVersion};

use super::support::*;
use crate::TreeId;
use crate::effort::cases;
use crate::log::record;

/// A step of a log's life.
#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Flush,
    Switch,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0usize..400).prop_map(Step::Append),
        4 => (8000usize..8300).prop_map(Step::Append),
        2 => (0usize..300_000).prop_map(Step::Append),
        3 => Just(Step::Flush),
        1 => Just(Step::Switch),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64)))]
    #[test]
    fn records_of_any_size_are_valid_wal_and_read_back(steps in proptest::collection::vec(step(), 1..60)) {
        let disk = empty_disk();
        let mut log = open(&disk, fresh());
        let mut expected = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(length) => {
                    let data = vec![number as u8; length];
                    expected.push((append(&mut log.appender(), &data), data));
                }
                Step::Flush => log.flush(log.inserted()).unwrap(),
                Step::Switch => { log.switch_segment().unwrap(); }
                Step::Reopen => {
                    log.flush(log.inserted()).unwrap();
                    drop(log);
                    let (end, _) = read(&disk, &root());
                    log = open(&disk, end);
                }
            }
            prop_assert!(log.flushed() <= log.written() && log.written() <= log.inserted());
        }
        log.flush(log.inserted()).unwrap();
        prop_assert_eq!(log.flushed(), log.inserted());
        let (end, found) = read(&disk, &root());
        prop_assert_eq!(end.position, log.inserted());
        let messages = found.iter().filter(|found| !found.body.is_empty() || expected_empty(&expected, found.placed));
        let messages: Vec<_> = messages.map(|found| (found.placed, data_of(&found.body))).collect();
        prop_assert_eq!(messages, expected);
    }
}

fn expected_empty(expected: &[(wal::writer::Placed, Vec<u8>)], placed: wal::writer::Placed) -> bool {
    expected.iter().any(|(other, data)| *other == placed && data.is_empty())
}

/// The main data behind its sub-header.
fn data_of(body: &[u8]) -> Vec<u8> {
    let skip = match body.first() {
        Some(255) => 2,
        Some(254) => 5,
        _ => 0,
    };
    body.get(skip..).unwrap_or_default().to_vec()
}

#[test]
fn the_next_record_starts_behind_a_page_header_but_the_log_ends_before_it() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    let start = fresh().position;
    assert_eq!((log.inserted(), log.next_record()), (start, start.saturating_add(40)));
    // Exactly to the page's end: header, five bytes of sub-header, data.
    let placed = append(&mut log.appender(), &vec![1; 8192 - 40 - 24 - 5]);
    assert_eq!((placed.start, placed.end), (start.saturating_add(40), start.saturating_add(8192)));
    assert_eq!((log.inserted(), log.next_record()), (placed.end, placed.end.saturating_add(24)));
    assert_eq!(log.appender().set_redo(), placed.end.saturating_add(24));
    log.flush(placed.end).unwrap();
    assert_eq!(log.flushed(), placed.end);
}

#[test]
fn a_flush_past_the_end_is_refused() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    let refusal = log.flush(Lsn::new(0xFFFF_FFFF)).unwrap_err().to_string();
    assert_eq!(refusal, "cannot flush the WAL to 0/FFFFFFFF: it ends at 0/100000");
}

#[test]
fn a_commit_is_encoded_as_postgresql_encodes_it() {
    let mut out = Vec::new();
    record::encode_commit(&mut out, Xid::new(736), wal::payload::RecordTime::new(5), &[]);
    assert_eq!(out.len(), 34);
    assert_eq!(out.get(24..26), Some(&[0xff, 8][..]));
    record::encode_commit(&mut out, Xid::new(736), wal::payload::RecordTime::new(5), &[TreeId::new(16406)]);
    let tail = "8004000000010000007f0600000500000016400000";
    let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(hex.starts_with("00000000e0020000") && out.get(16) == Some(&0x80), "{hex}");
    assert!(hex.ends_with(&tail[2..]), "{hex}");
}

#[test]
fn a_logical_message_is_encoded_as_postgresql_encodes_it() {
    // pg_logical_emit_message(false, 'pfx', 'hello') of PostgreSQL 15, at 0/1642130.
    let expected = "3b00000000000000c82064010000000000150000c6602e62ff2105000000005500000400000000000000\
                    05000000000000007066780068656c6c6f";
    let mut out = Vec::new();
    record::encode_logical_message(&mut out, Xid::INVALID, "pfx", b"hello");
    let hex: String = out.iter().skip(24).map(|byte| format!("{byte:02x}")).collect();
    // PostgreSQL leaves the padding behind the flag as it finds it: 55 here.
    let expected = expected.replace("0500000000550000", "0500000000000000");
    assert_eq!(Some(hex.as_str()), expected.get(48..));
}

#[test]
fn a_restore_point_has_a_name_of_64_bytes() {
    let mut out = Vec::new();
    record::encode_restore_point(&mut out, wal::payload::RecordTime::new(1), &"x".repeat(80));
    assert_eq!(out.len(), 98);
    let disk = empty_disk();
    let log = open(&disk, fresh());
    log.appender().append(&mut out);
    let record = Record::decode(&out, WalVersion::V15).unwrap();
    assert_eq!((record.header.opcode(), record.header.resource_manager), (0x70, ResourceManager::XLOG));
    assert_eq!(record.main_data.iter().filter(|&&byte| byte == b'x').count(), 63);
}
