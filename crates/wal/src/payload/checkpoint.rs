//! The payload of checkpoint records, which pg_control carries too.
//!
//! 88 bytes: redo u64 @0, timeline u32 @8, previous timeline u32 @12, full_page_writes u8 @16, wal_level i32 @20 (since
//! 17, padding before), next full xid u64 @24, next OID u32 @32, next multixact u32 @36, next multixact offset u32 @40,
//! oldest xid u32 @44 and its database @48, oldest multixact u32 @52 and its database @56, time i64 @64 (Unix
//! seconds), oldest commit-timestamp xid u32 @72, newest @76, oldest active xid u32 @80. Source: `CheckPoint` in
//! `catalog/pg_control.h`.

use super::PayloadError;
use crate::bytes::Fields;
use crate::record::Xid;
use crate::{Lsn, TimelineId, WalVersion};

/// Bytes in the payload.
pub(super) const SIZE: usize = 88;

/// What a checkpoint records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckPoint {
    /// Where replay has to begin.
    pub redo: Lsn,
    /// The timeline it was made on.
    pub timeline: TimelineId,
    /// The timeline before, if this checkpoint begins a new one; otherwise the same.
    pub previous_timeline: TimelineId,
    /// Whether full-page writes were on.
    pub full_page_writes: bool,
    /// `wal_level` as a number (0 minimal, 1 replica, 2 logical); since PostgreSQL 17, 0 before.
    pub wal_level: i32,
    /// The next transaction, with its epoch in the high half.
    pub next_xid: u64,
    /// The next object identifier.
    pub next_oid: u32,
    /// The next multixact.
    pub next_multi: u32,
    /// The next multixact member's offset.
    pub next_multi_offset: u32,
    /// The oldest transaction that may still be in a table.
    pub oldest_xid: Xid,
    /// The database that holds it.
    pub oldest_xid_database: u32,
    /// The oldest multixact that may still be in a table.
    pub oldest_multi: u32,
    /// The database that holds it.
    pub oldest_multi_database: u32,
    /// When it was made, in seconds since 1970.
    pub time: i64,
    /// The oldest transaction with a commit timestamp.
    pub oldest_commit_timestamp_xid: Xid,
    /// The newest transaction with a commit timestamp.
    pub newest_commit_timestamp_xid: Xid,
    /// The oldest transaction still running; 0 in a shutdown checkpoint.
    pub oldest_active_xid: Xid,
}

impl CheckPoint {
    /// Takes the payload of a checkpoint record apart.
    pub fn decode(main_data: &[u8], version: WalVersion) -> Result<Self, PayloadError> {
        if main_data.len() != SIZE {
            return Err(PayloadError("CHECKPOINT"));
        }
        Self::read(Fields::new(main_data), version).ok_or(PayloadError("CHECKPOINT"))
    }

    fn read(mut fields: Fields<'_>, version: WalVersion) -> Option<Self> {
        let redo = Lsn::new(fields.u64()?);
        let timeline = TimelineId::new(fields.u32()?);
        let previous_timeline = TimelineId::new(fields.u32()?);
        let full_page_writes = fields.u8()? != 0;
        fields.take(3)?;
        let wal_level = fields.i32()?;
        let wal_level = if version >= WalVersion::V17 { wal_level } else { 0 };
        let next_xid = fields.u64()?;
        let [next_oid, next_multi, next_multi_offset] = [fields.u32()?, fields.u32()?, fields.u32()?];
        let [oldest_xid, oldest_xid_database] = [fields.u32()?, fields.u32()?];
        let [oldest_multi, oldest_multi_database] = [fields.u32()?, fields.u32()?];
        fields.u32()?;
        Some(Self {
            redo,
            timeline,
            previous_timeline,
            full_page_writes,
            wal_level,
            next_xid,
            next_oid,
            next_multi,
            next_multi_offset,
            oldest_xid: Xid::new(oldest_xid),
            oldest_xid_database,
            oldest_multi,
            oldest_multi_database,
            time: fields.i64()?,
            oldest_commit_timestamp_xid: Xid::new(fields.u32()?),
            newest_commit_timestamp_xid: Xid::new(fields.u32()?),
            oldest_active_xid: Xid::new(fields.u32()?),
        })
    }

    /// The payload as it stands in a record.
    pub fn encode(&self, version: WalVersion) -> Vec<u8> {
        let wal_level = if version >= WalVersion::V17 { self.wal_level } else { 0 };
        let mut out = Vec::with_capacity(SIZE);
        out.extend_from_slice(&self.redo.as_u64().to_le_bytes());
        out.extend_from_slice(&self.timeline.as_u32().to_le_bytes());
        out.extend_from_slice(&self.previous_timeline.as_u32().to_le_bytes());
        out.extend_from_slice(&[u8::from(self.full_page_writes), 0, 0, 0]);
        out.extend_from_slice(&wal_level.to_le_bytes());
        out.extend_from_slice(&self.next_xid.to_le_bytes());
        for number in [
            self.next_oid,
            self.next_multi,
            self.next_multi_offset,
            self.oldest_xid.as_u32(),
            self.oldest_xid_database,
            self.oldest_multi,
            self.oldest_multi_database,
            0,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.time.to_le_bytes());
        for xid in
            [self.oldest_commit_timestamp_xid, self.newest_commit_timestamp_xid, self.oldest_active_xid]
        {
            out.extend_from_slice(&xid.as_u32().to_le_bytes());
        }
        out.extend_from_slice(&[0; 4]);
        out
    }
}
