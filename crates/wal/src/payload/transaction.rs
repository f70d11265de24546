//! Ends of transactions: resource manager Transaction. Source: `access/xact.h`, `ParseCommitRecord` and
//! `ParseAbortRecord` in `access/rmgrdesc/xactdesc.c`.

use super::{PayloadError, RecordTime};
use crate::WalVersion;
use crate::bytes::Fields;
use crate::record::{Record, ResourceManager, Xid};

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionOutcome {
    /// Its changes stand.
    Committed,
    /// Its changes are void.
    Aborted,
}

/// The end of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionEnd {
    /// How it ended.
    pub outcome: TransactionOutcome,
    /// The transaction. For one that was prepared before, the one prepared.
    pub xid: Xid,
    /// When it ended.
    pub time: RecordTime,
    /// Whether it was prepared before (two-phase commit).
    pub prepared: bool,
}

const OPCODE: u8 = 0x70;
const HAS_INFO: u8 = 0x80;
const COMMIT: u8 = 0x00;
const ABORT: u8 = 0x20;
const COMMIT_PREPARED: u8 = 0x30;
const ABORT_PREPARED: u8 = 0x40;

const DBINFO: u32 = 0x001;
const SUBXACTS: u32 = 0x002;
const RELFILES: u32 = 0x004;
const INVALS: u32 = 0x008;
const TWOPHASE: u32 = 0x010;
const DROPPED_STATS: u32 = 0x100;

impl TransactionEnd {
    /// The end that `record` records; `None` if it is another kind of record.
    pub fn decode(record: &Record<'_>, version: WalVersion) -> Option<Result<Self, PayloadError>> {
        let header = &record.header;
        if header.resource_manager != ResourceManager::TRANSACTION {
            return None;
        }
        let (outcome, prepared) = match header.info & OPCODE {
            COMMIT => (TransactionOutcome::Committed, false),
            ABORT => (TransactionOutcome::Aborted, false),
            COMMIT_PREPARED => (TransactionOutcome::Committed, true),
            ABORT_PREPARED => (TransactionOutcome::Aborted, true),
            _ => return None,
        };
        let has_info = header.info & HAS_INFO != 0;
        let parsed = parse(record.main_data, has_info, version).and_then(|(time, two_phase)| {
            let xid = if prepared { two_phase? } else { header.xid };
            Some(Self { outcome, xid, time, prepared })
        });
        Some(parsed.ok_or(PayloadError("transaction end")))
    }
}

/// The time, and the transaction named as prepared. All that stands between is skipped, in its order in the file.
fn parse(data: &[u8], has_info: bool, version: WalVersion) -> Option<(RecordTime, Option<Xid>)> {
    let mut fields = Fields::new(data);
    let time = RecordTime::new(fields.i64()?);
    let info = if has_info { fields.u32()? } else { 0 };
    if info & DBINFO != 0 {
        fields.u64()?;
    }
    let dropped_stat = if version >= WalVersion::V18 { 16 } else { 12 };
    for (flag, item) in [(SUBXACTS, 4), (RELFILES, 12), (DROPPED_STATS, dropped_stat), (INVALS, 16)] {
        if info & flag != 0 {
            let count = usize::try_from(fields.i32()?).ok()?;
            fields.take(count.checked_mul(item)?)?;
        }
    }
    let two_phase = if info & TWOPHASE != 0 { Some(Xid::new(fields.u32()?)) } else { None };
    Some((time, two_phase))
}
