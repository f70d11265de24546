//! What a validator has proved, as plain data: where it may go on without reading again what came before.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `walval01` |
//! | 8 | 8 | record end |
//! | 16 | 8 | last record; all ones if none |
//! | 24 | 8 | records |
//! | 32 | 8 | system identifier |
//! | 40 | 4 | segment size |
//! | 44 | 2 | page magic; 0 if not known |
//! | 46 | 1 | 1: the system identifier is known; 2: the record is a SWITCH whose segment has not ended |
//! | 47 | 1 | zero |
//! | 48 | 4 | CRC-32C of the bytes before |
//!
//! Little-endian.

use super::{Expectations, Phase, Validator};
use crate::bytes::Fields;
use crate::crc::Crc;
use crate::{Lsn, SegmentSize, SystemId, WalVersion};

const MAGIC: [u8; 8] = *b"walval01";
const SYSTEM_KNOWN: u8 = 1;
const SWITCHED: u8 = 2;

/// What a validator has proved. Everything before `record_end` was valid, from where the validator that said so began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValidatorState {
    /// The end of the last valid record: what has to be fed next after resuming.
    pub record_end: Lsn,
    /// The start of that record; `None` if there was none.
    pub last_record: Option<Lsn>,
    /// How many records were valid.
    pub records: u64,
    /// The cluster that wrote them.
    pub system_id: Option<SystemId>,
    /// The version that wrote them.
    pub version: Option<WalVersion>,
    /// The size of their segments.
    pub segment_size: SegmentSize,
    /// Whether the last record is a SWITCH whose segment's end has not come yet.
    pub switched: bool,
}

/// Bytes that are no remembered state, or one that contradicts what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a remembered state of WAL validation")]
pub struct InvalidState;

impl ValidatorState {
    /// Bytes in the encoded state.
    pub const SIZE: usize = 52;

    /// The state as bytes, for a file.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut flags = 0;
        if self.system_id.is_some() {
            flags |= SYSTEM_KNOWN;
        }
        if self.switched {
            flags |= SWITCHED;
        }
        let mut out = Vec::with_capacity(Self::SIZE);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.record_end.as_u64().to_le_bytes());
        out.extend_from_slice(&self.last_record.map_or(u64::MAX, Lsn::as_u64).to_le_bytes());
        out.extend_from_slice(&self.records.to_le_bytes());
        out.extend_from_slice(&self.system_id.map_or(0, SystemId::as_u64).to_le_bytes());
        out.extend_from_slice(&self.segment_size.bytes().to_le_bytes());
        out.extend_from_slice(&self.version.map_or(0, WalVersion::magic).to_le_bytes());
        out.extend_from_slice(&[flags, 0]);
        let crc = Crc::default().append(&out).value();
        out.extend_from_slice(&crc.to_le_bytes());
        let mut bytes = [0; Self::SIZE];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Reads what [`ValidatorState::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidState> {
        let intact = bytes.len() == Self::SIZE
            && bytes.split_last_chunk::<4>().is_some_and(|(covered, crc)| {
                Crc::default().append(covered).value() == u32::from_le_bytes(*crc)
            });
        if !intact {
            return Err(InvalidState);
        }
        Self::read(Fields::new(bytes)).ok_or(InvalidState)
    }

    fn read(mut fields: Fields<'_>) -> Option<Self> {
        if fields.array()? != MAGIC {
            return None;
        }
        let record_end = Lsn::new(fields.u64()?);
        let last_record = Some(fields.u64()?).filter(|&lsn| lsn != u64::MAX).map(Lsn::new);
        let records = fields.u64()?;
        let system_id = SystemId::new(fields.u64()?);
        let segment_size = SegmentSize::new(u64::from(fields.u32()?)).ok()?;
        let version = match fields.u16()? {
            0 => None,
            magic => Some(WalVersion::from_magic(magic)?),
        };
        let flags = fields.u8()?;
        Some(Self {
            record_end,
            last_record,
            records,
            system_id: Some(system_id).filter(|_| flags & SYSTEM_KNOWN != 0),
            version,
            segment_size,
            switched: flags & SWITCHED != 0,
        })
    }
}

impl Validator {
    /// What has been proved so far. A record that is not complete counts as not seen.
    pub fn checkpoint(&self) -> ValidatorState {
        ValidatorState {
            record_end: self.record_end(),
            last_record: self.last_record(),
            records: self.records,
            system_id: self.system_id,
            version: self.version,
            segment_size: self.expect.segment_size,
            switched: self.phase == Phase::Switched,
        }
    }

    /// Goes on from what was proved: the byte to feed next is the one at `state.record_end`. Fails if the state is of
    /// another log than the one expected. That the timelines have not changed before there is the caller's to know.
    pub fn resume(state: ValidatorState, expect: Expectations) -> Result<Self, InvalidState> {
        let same_segments = state.segment_size == expect.segment_size;
        let same_system = expect.system_id.is_none() || expect.system_id == state.system_id;
        let same_version = expect.version.is_none() || expect.version == state.version;
        let in_order = state.last_record.is_none_or(|last| last < state.record_end);
        if !(same_segments && same_system && same_version && in_order) {
            return Err(InvalidState);
        }
        let mut validator = Self::new(state.record_end, expect);
        validator.version = state.version;
        validator.system_id = state.system_id;
        validator.records = state.records;
        if let Some(last) = state.last_record {
            validator.last_record = Some(last.as_u64());
            validator.fresh = false;
            if state.switched {
                validator.phase = Phase::Switched;
                validator.in_page = true;
            }
        }
        Ok(validator)
    }
}
