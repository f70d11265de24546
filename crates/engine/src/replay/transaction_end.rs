//! What the end of a transaction says beside that it is one.

use wal::payload::RecordTime;
use wal::record::Record;

use crate::TreeId;

const HAS_INFO: u8 = 0x80;
const HAS_RELFILENODES: u32 = 0x004;

/// What a COMMIT or ABORT says.
pub(super) struct TransactionFields {
    /// When it ended.
    pub(super) time: RecordTime,
    /// The trees whose files go with it.
    pub(super) dropped: Vec<TreeId>,
}

impl TransactionFields {
    /// Source: `ParseCommitRecord` in `access/rmgrdesc/xactdesc.c`; what this engine never writes is not looked for.
    pub(super) fn parse(record: &Record<'_>) -> Option<Self> {
        let (time, rest) = record.main_data.split_first_chunk()?;
        let time = RecordTime::new(i64::from_le_bytes(*time));
        let mut dropped = Vec::new();
        if record.header.info & HAS_INFO != 0 {
            let (info, rest) = rest.split_first_chunk()?;
            if u32::from_le_bytes(*info) == HAS_RELFILENODES {
                let (count, rest) = rest.split_first_chunk()?;
                let (locators, after) = rest.as_chunks::<12>();
                if u32::from_le_bytes(*count) as usize != locators.len() || !after.is_empty() {
                    return None;
                }
                let relation = |locator: &[u8; 12]| locator.last_chunk().copied().map(u32::from_le_bytes);
                dropped.extend(locators.iter().filter_map(relation).map(TreeId::new));
            }
        }
        Some(Self { time, dropped })
    }
}
