//! Records as PostgreSQL 15 wrote them: taken apart, understood, and put together again byte for byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its vector has failed")]

use wal::payload::{CheckPoint, EndOfRecovery, RecordTime, TransactionEnd, TransactionOutcome, XlogRecord};
use wal::record::{BlockNumber, Fork, Record, RecordError, RelFileLocator, ResourceManager, Xid};
use wal::{Lsn, TimelineId, WalVersion};

const V15: WalVersion = WalVersion::V15;

const SWITCH: &str = "18000000 00000000 e0ad650100000000 40 00 0000 53598043";
const ABORT: &str = "22000000 e2020000 c81b640100000000 20 01 0000 aafedeed ff08 df76aad8cf030300";
const COMMIT: &str = "36000000 e0020000 181c640100000000 80 01 0000 9410cbf8 ff1c e776aad8cf030300 03000000
    05000000 7f060000 01000000 e1020000";
const MESSAGE: &str = "3b000000 00000000 c820640100000000 00 15 0000 c6602e62 ff21 05000000 00550000
    0400000000000000 0500000000000000 7066780068656c6c6f";
const GENERIC: &str = "4a000000 e0020000 581a640100000000 00 14 0000 4799bb41 00 20 1e00 7f060000 05000000
    15400000 01000000 0c000100 38 28001000 00000000020000000120880000000000 f81f0100 02";
const CHECKPOINT: &str =
    "72000000 00000000 b0f8630100000000 10 00 0000 d99cac0c ff58 b0f8630100000000 01000000
    01000000 01000000 00000000 df02000000000000 00600000 01000000 00000000 cc020000 01000000 01000000 01000000
    00000000 5e1e026b00000000 00000000 00000000 df020000 00000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Checks that the record comes back the same, then hands it to `check`.
fn with_record(hex: &str, check: impl FnOnce(&Record<'_>)) {
    let bytes = bytes(hex);
    let record = Record::decode(&bytes, V15).unwrap();
    assert_eq!(record.encode().unwrap(), bytes);
    check(&record);
}

#[test]
fn a_switch() {
    with_record(SWITCH, |record| {
        assert!(record.header.is_switch());
        assert_eq!(record.header.prev, Lsn::new(0x165_ade0));
        assert!(record.main_data.is_empty());
        assert_eq!(XlogRecord::decode(record, V15), Some(Ok(XlogRecord::Switch)));
        assert_eq!(TransactionEnd::decode(record, V15), None);
    });
}

#[test]
fn an_abort() {
    with_record(ABORT, |record| {
        let end = TransactionEnd::decode(record, V15).unwrap().unwrap();
        assert_eq!(end.outcome, TransactionOutcome::Aborted);
        assert_eq!((end.xid, end.prepared), (Xid::new(738), false));
        assert_eq!(end.time, RecordTime::new(0x0003_03cf_d8aa_76df));
    });
}

#[test]
fn a_commit_with_subtransactions() {
    with_record(COMMIT, |record| {
        let end = TransactionEnd::decode(record, V15).unwrap().unwrap();
        assert_eq!((end.outcome, end.xid), (TransactionOutcome::Committed, Xid::new(736)));
        assert_eq!(XlogRecord::decode(record, V15), None);
    });
}

#[test]
fn a_logical_message() {
    with_record(MESSAGE, |record| {
        assert_eq!(record.header.resource_manager, ResourceManager::LOGICAL_MESSAGE);
        assert_eq!(record.header.resource_manager.to_string(), "LogicalMessage");
        assert!(record.main_data.ends_with(b"pfx\0hello"));
    });
}

#[test]
fn a_page_delta() {
    with_record(GENERIC, |record| {
        let [block] = record.blocks.as_slice() else { panic!("one block: {record:?}") };
        assert_eq!(block.relation, RelFileLocator { tablespace: 1663, database: 5, relation: 16405 });
        assert_eq!((block.fork, block.block), (Fork::MAIN, BlockNumber::new(1)));
        assert!(block.image.is_none() && block.data.len() == 30);
    });
}

#[test]
fn a_checkpoint() {
    with_record(CHECKPOINT, |record| {
        let Some(Ok(XlogRecord::CheckpointOnline(checkpoint))) = XlogRecord::decode(record, V15) else {
            panic!("a checkpoint: {record:?}");
        };
        assert_eq!(checkpoint.redo, Lsn::new(0x163_f8b0));
        assert_eq!(checkpoint.timeline, TimelineId::FIRST);
        assert_eq!((checkpoint.next_xid, checkpoint.next_oid), (735, 24576));
        assert_eq!((checkpoint.oldest_xid, checkpoint.oldest_active_xid), (Xid::new(716), Xid::new(735)));
        assert_eq!(checkpoint.encode(V15), record.main_data);
    });
}

#[test]
fn payloads_come_back_in_every_version() {
    let checkpoint = CheckPoint::decode(&bytes(CHECKPOINT)[26..], V15).unwrap();
    let end = EndOfRecovery {
        time: RecordTime::from_unix_micros(1_700_000_000_000_000),
        timeline: TimelineId::new(2),
        previous_timeline: TimelineId::FIRST,
        wal_level: 0,
    };
    for version in WalVersion::ALL {
        for said in [
            XlogRecord::CheckpointShutdown(checkpoint),
            XlogRecord::CheckpointOnline(checkpoint),
            XlogRecord::Switch,
            XlogRecord::BackupEnd(Lsn::new(0x10_0028)),
            XlogRecord::EndOfRecovery(end),
            XlogRecord::OverwriteContrecord { aborted: Lsn::new(0x10_00a8), time: end.time },
        ] {
            let (info, data) = said.encode(version);
            let bytes = Record::new(ResourceManager::XLOG, info, Xid::INVALID, &data).encode().unwrap();
            let record = Record::decode(&bytes, version).unwrap();
            assert_eq!(XlogRecord::decode(&record, version), Some(Ok(said)));
            let short = Record { main_data: &data[..data.len().saturating_sub(1)], ..record };
            let refused = XlogRecord::decode(&short, version).unwrap();
            assert_eq!(refused.is_err(), said != XlogRecord::Switch, "{said:?} cut short");
        }
    }
}

#[test]
fn a_prepared_transaction_is_named_behind_whatever_else_the_record_lists() {
    for (version, stat) in [(WalVersion::V17, 12), (WalVersion::V18, 16)] {
        let mut data = 5_i64.to_le_bytes().to_vec();
        data.extend(0x11F_u32.to_le_bytes());
        data.extend([0; 8]);
        for item in [4, 12, stat, 16] {
            data.extend(2_i32.to_le_bytes());
            data.resize(data.len() + 2 * item, 0xEE);
        }
        data.extend(741_u32.to_le_bytes());
        let commit_prepared = 0x30 | 0x80;
        let record = Record::new(ResourceManager::TRANSACTION, commit_prepared, Xid::INVALID, &data);
        let end = TransactionEnd::decode(&record, version).unwrap().unwrap();
        assert_eq!((end.xid, end.prepared, end.time), (Xid::new(741), true, RecordTime::new(5)));
        let short = Record { main_data: &data[..data.len() - 1], ..record };
        assert!(TransactionEnd::decode(&short, version).unwrap().is_err());
    }
}

#[test]
fn every_cut_and_every_flipped_bit_of_a_record_is_refused() {
    for hex in [SWITCH, ABORT, COMMIT, MESSAGE, GENERIC, CHECKPOINT] {
        let mut bytes = bytes(hex);
        for cut in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..cut], V15), Err(RecordError::Length));
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&bytes, V15).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
