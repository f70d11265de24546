//! Records of the log itself: resource manager XLOG. Source: `catalog/pg_control.h`, `access/xlog_internal.h`.

use super::{CheckPoint, PayloadError, RecordTime};
use crate::bytes::Fields;
use crate::record::{Record, ResourceManager};
use crate::{Lsn, TimelineId, WalVersion};

/// The end of a recovery: what begins a new timeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndOfRecovery {
    /// When recovery ended.
    pub time: RecordTime,
    /// The timeline that begins.
    pub timeline: TimelineId,
    /// The timeline that was left.
    pub previous_timeline: TimelineId,
    /// `wal_level` as a number; since PostgreSQL 17, 0 before.
    pub wal_level: i32,
}

/// A record of the log itself, as far as shipping it has to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XlogRecord {
    /// A checkpoint at shutdown; its redo point is the record itself.
    CheckpointShutdown(CheckPoint),
    /// A checkpoint while running.
    CheckpointOnline(CheckPoint),
    /// The end of the segment; the rest of it is zero.
    Switch,
    /// A base backup that began at this redo point is complete.
    BackupEnd(Lsn),
    /// A promotion.
    EndOfRecovery(EndOfRecovery),
    /// The record that starts at `aborted` was never completed.
    OverwriteContrecord {
        /// Where the record starts that was given up.
        aborted: Lsn,
        /// When it was found to be incomplete.
        time: RecordTime,
    },
    /// Any other, by its opcode.
    Other(u8),
}

impl XlogRecord {
    /// Opcode of a shutdown checkpoint.
    pub const CHECKPOINT_SHUTDOWN: u8 = 0x00;
    /// Opcode of an online checkpoint.
    pub const CHECKPOINT_ONLINE: u8 = 0x10;
    /// Opcode of a record that does nothing.
    pub const NOOP: u8 = 0x20;
    /// Opcode of a segment switch.
    pub const SWITCH: u8 = 0x40;
    /// Opcode of a backup's end.
    pub const BACKUP_END: u8 = 0x50;
    /// Opcode of a promotion.
    pub const END_OF_RECOVERY: u8 = 0x90;
    /// Opcode of a record made of full-page images.
    pub const FPI: u8 = 0xB0;
    /// Opcode of the record that names an aborted one.
    pub const OVERWRITE_CONTRECORD: u8 = 0xD0;

    /// What `record` says; `None` if it is another resource manager's.
    pub fn decode(record: &Record<'_>, version: WalVersion) -> Option<Result<Self, PayloadError>> {
        if record.header.resource_manager != ResourceManager::XLOG {
            return None;
        }
        Some(Self::decode_opcode(record.header.opcode(), record.main_data, version))
    }

    fn decode_opcode(opcode: u8, data: &[u8], version: WalVersion) -> Result<Self, PayloadError> {
        let fields = Fields::new(data);
        match opcode {
            Self::CHECKPOINT_SHUTDOWN => CheckPoint::decode(data, version).map(Self::CheckpointShutdown),
            Self::CHECKPOINT_ONLINE => CheckPoint::decode(data, version).map(Self::CheckpointOnline),
            Self::SWITCH => Ok(Self::Switch),
            Self::BACKUP_END => backup_end(fields).ok_or(PayloadError("BACKUP_END")),
            Self::END_OF_RECOVERY => end_of_recovery(fields, version).ok_or(PayloadError("END_OF_RECOVERY")),
            Self::OVERWRITE_CONTRECORD => overwrite(fields).ok_or(PayloadError("OVERWRITE_CONTRECORD")),
            other => Ok(Self::Other(other)),
        }
    }

    /// The opcode and main data of the record that says this.
    pub fn encode(&self, version: WalVersion) -> (u8, Vec<u8>) {
        match self {
            Self::CheckpointShutdown(checkpoint) => (Self::CHECKPOINT_SHUTDOWN, checkpoint.encode(version)),
            Self::CheckpointOnline(checkpoint) => (Self::CHECKPOINT_ONLINE, checkpoint.encode(version)),
            Self::Switch => (Self::SWITCH, Vec::new()),
            Self::BackupEnd(redo) => (Self::BACKUP_END, redo.as_u64().to_le_bytes().to_vec()),
            Self::EndOfRecovery(end) => (Self::END_OF_RECOVERY, end.encode(version)),
            Self::OverwriteContrecord { aborted, time } => {
                let parts = [aborted.as_u64().to_le_bytes(), time.as_micros().to_le_bytes()];
                (Self::OVERWRITE_CONTRECORD, parts.concat())
            }
            Self::Other(opcode) => (*opcode, Vec::new()),
        }
    }
}

impl EndOfRecovery {
    fn encode(&self, version: WalVersion) -> Vec<u8> {
        let mut out = self.time.as_micros().to_le_bytes().to_vec();
        out.extend_from_slice(&self.timeline.as_u32().to_le_bytes());
        out.extend_from_slice(&self.previous_timeline.as_u32().to_le_bytes());
        if version >= WalVersion::V17 {
            out.extend_from_slice(&self.wal_level.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
        out
    }
}

fn backup_end(mut fields: Fields<'_>) -> Option<XlogRecord> {
    Some(XlogRecord::BackupEnd(Lsn::new(fields.u64()?))).filter(|_| fields.len() == 0)
}

fn end_of_recovery(mut fields: Fields<'_>, version: WalVersion) -> Option<XlogRecord> {
    let mut end = EndOfRecovery {
        time: RecordTime::new(fields.i64()?),
        timeline: TimelineId::new(fields.u32()?),
        previous_timeline: TimelineId::new(fields.u32()?),
        wal_level: 0,
    };
    if version >= WalVersion::V17 {
        end.wal_level = fields.i32()?;
        fields.u32()?;
    }
    Some(XlogRecord::EndOfRecovery(end)).filter(|_| fields.len() == 0)
}

fn overwrite(mut fields: Fields<'_>) -> Option<XlogRecord> {
    let aborted = Lsn::new(fields.u64()?);
    let time = RecordTime::new(fields.i64()?);
    Some(XlogRecord::OverwriteContrecord { aborted, time }).filter(|_| fields.len() == 0)
}
