//! The 24 bytes every record begins with, and who its content belongs to.
//!
//! | offset | size | field | |
//! |---|---|---|---|
//! | 0 | 4 | total length | this header included; page headers and padding not |
//! | 4 | 4 | transaction | 0 if none |
//! | 8 | 8 | prev | start of the record before |
//! | 16 | 1 | info | high nibble: the resource manager's own |
//! | 17 | 1 | resource manager | |
//! | 18 | 2 | padding | zero |
//! | 20 | 4 | CRC-32C | of everything after the header, then of the header up to here |
//!
//! Source: `XLogRecord` in `access/xlogrecord.h`, the list of resource managers in `access/rmgrlist.h`.

use std::fmt;

use crate::Lsn;
use crate::bytes::Fields;
use crate::crc::{Crc, Portable, ShortCrc};

/// Bytes in a record's header (`SizeOfXLogRecord`).
pub const RECORD_HEADER: usize = 24;
/// The bytes of the header that the checksum covers: all before the checksum itself.
pub(crate) const CHECKSUMMED_HEADER: usize = 20;
/// The longest record that a reader can hold (`MaxAllocSize`); writers since 16 stop at 1020 MiB.
pub const MAX_RECORD: u32 = 0x3FFF_FFFF;

/// A transaction's number (`TransactionId`), without its epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Xid(u32);

impl Xid {
    /// No transaction.
    pub const INVALID: Self = Self(0);

    /// Transaction `number`.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// This transaction's number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The part of PostgreSQL that wrote a record and replays it (`RmgrId`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceManager(u8);

impl ResourceManager {
    /// The log itself: checkpoints, segment switches, full-page images.
    pub const XLOG: Self = Self(0);
    /// Commits and aborts.
    pub const TRANSACTION: Self = Self(1);
    /// What a hot standby needs to know: locks and running transactions.
    pub const STANDBY: Self = Self(8);
    /// Byte ranges of pages.
    pub const GENERIC: Self = Self(20);
    /// Messages for logical decoding.
    pub const LOGICAL_MESSAGE: Self = Self(21);

    const NAMES: [&'static str; 22] = [
        "XLOG",
        "Transaction",
        "Storage",
        "CLOG",
        "Database",
        "Tablespace",
        "MultiXact",
        "RelMap",
        "Standby",
        "Heap2",
        "Heap",
        "Btree",
        "Hash",
        "Gin",
        "Gist",
        "Sequence",
        "SPGist",
        "BRIN",
        "CommitTs",
        "ReplicationOrigin",
        "Generic",
        "LogicalMessage",
    ];

    /// Resource manager `number`, valid or not.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// This resource manager's number.
    pub const fn as_u8(self) -> u8 {
        self.0
    }

    /// Whether records of it can exist: built in (0 to 21), or an extension's (128 to 255).
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.0 <= 21 || self.0 >= 128
    }
}

impl fmt::Display for ResourceManager {
    /// As pg_waldump prints it: `Heap2`, `custom128`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "custom{:03}", self.0),
        }
    }
}

/// A record's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    /// Bytes of the whole record, this header included.
    pub total_length: u32,
    /// The transaction that wrote it.
    pub xid: Xid,
    /// Where the previous record starts; 0/0 for the very first.
    pub prev: Lsn,
    /// What kind of record; the low nibble is common to all resource managers.
    pub info: u8,
    /// Who wrote it and replays it.
    pub resource_manager: ResourceManager,
    /// CRC-32C, see the module's documentation.
    pub crc: u32,
}

impl RecordHeader {
    /// Takes the header at the start of `bytes` apart; `None` if they are fewer than 24. Nothing is checked.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let total_length = fields.u32()?;
        let xid = Xid(fields.u32()?);
        let prev = Lsn::new(fields.u64()?);
        let info = fields.u8()?;
        let resource_manager = ResourceManager(fields.u8()?);
        fields.u16()?;
        let crc = fields.u32()?;
        Some(Self { total_length, xid, prev, info, resource_manager, crc })
    }

    /// The header as it stands in the log.
    pub fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[0..4].copy_from_slice(&self.total_length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.xid.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.prev.as_u64().to_le_bytes());
        bytes[16] = self.info;
        bytes[17] = self.resource_manager.0;
        bytes[20..24].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// What the resource manager means by the record: the high nibble of `info`.
    pub const fn opcode(&self) -> u8 {
        self.info & 0xF0
    }

    /// Whether the record ends its segment.
    pub const fn is_switch(&self) -> bool {
        self.resource_manager.0 == ResourceManager::XLOG.0
            && self.opcode() == crate::payload::XlogRecord::SWITCH
    }
}

/// The checksum of a contiguous record, whose header's own checksum field is not looked at.
/// A record shorter than its header has none that means anything.
pub fn record_crc(record: &[u8]) -> u32 {
    record_crc_by(Portable, record)
}

/// [`record_crc`], computed in a way of the caller's choice.
#[inline(always)]
pub(crate) fn record_crc_by(way: impl ShortCrc, record: &[u8]) -> u32 {
    match record.split_first_chunk::<RECORD_HEADER>() {
        Some((header, body)) => {
            way.append(way.append(Crc::default(), body), &header[..CHECKSUMMED_HEADER]).value()
        }
        None => 0,
    }
}
