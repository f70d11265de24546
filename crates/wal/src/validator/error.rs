//! What can be wrong with a log, and where.

use crate::page::PageError;
use crate::record::RecordError;
use crate::{Lsn, SystemId, TimelineId, WalVersion};

/// Bytes that are not valid WAL. Nothing at or past `lsn` counts as valid.
///
/// `lsn` is the start of the record at fault (also when a later page does not continue it), the address of the page
/// whose header is at fault, or the first byte that should be zero and is not. What may be kept or acknowledged is told by
/// [`Validator::record_end`](crate::Validator::record_end): a page at fault may stand in the middle of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid WAL at {lsn}: {reason}")]
pub struct WalError {
    /// Where the log stops being valid.
    pub lsn: Lsn,
    /// Why.
    pub reason: WalErrorKind,
}

/// Why a log stops being valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalErrorKind {
    /// What stands at a page boundary is not a page header.
    #[error(transparent)]
    Page(#[from] PageError),
    /// Another PostgreSQL version's page in the middle of the log.
    #[error("page was written by {found}, expected {expected}")]
    Version {
        /// The version whose magic the page carries.
        found: WalVersion,
        /// The version of the log so far, or the one asked for.
        expected: WalVersion,
    },
    /// The first page of a segment lacks the long header.
    #[error("first page of the segment has no long header")]
    MissingLongHeader,
    /// The segment belongs to another cluster.
    #[error("segment is from system {found}, expected {expected}")]
    SystemId {
        /// The system identifier in the long header.
        found: SystemId,
        /// The log's own.
        expected: SystemId,
    },
    /// The page was written with another segment size.
    #[error("segment size in the page header is {found}, expected {expected}")]
    SegmentSize {
        /// The size in the long header, in bytes.
        found: u32,
        /// The log's own, in bytes.
        expected: u32,
    },
    /// The page was written with another page size.
    #[error("page size in the page header is {0}, expected 8192")]
    BlockSize(u32),
    /// The page belongs elsewhere: a stale or misplaced page.
    #[error("unexpected page address {0}")]
    PageAddress(Lsn),
    /// The page belongs to a timeline that this log does not descend from.
    #[error("page is on timeline {0}, which is not in this timeline's history")]
    ForeignTimeline(TimelineId),
    /// The page belongs to an ancestor or descendant that did not write this part of the log.
    #[error("page is on timeline {found}, expected timeline {expected} here")]
    Timeline {
        /// The timeline in the page header.
        found: TimelineId,
        /// The timeline that wrote this position.
        expected: TimelineId,
    },
    /// A record goes on past its page, but the next page does not continue it.
    #[error("there is no continuation flag on the page at {0}")]
    MissingContinuation(Lsn),
    /// The next page continues a record of another length.
    #[error("invalid continuation length {found} (expected {expected}) on the page at {page}")]
    ContinuationLength {
        /// The page's address.
        page: Lsn,
        /// `xlp_rem_len` of the page.
        found: u32,
        /// What is left of the record.
        expected: u32,
    },
    /// A page claims to continue a record although the one before it is complete.
    #[error("page continues a record, but none is unfinished")]
    UnexpectedContinuation,
    /// A page claims that an unfinished record was given up before it although there is none.
    #[error("page overwrites an unfinished record, but none is unfinished")]
    UnexpectedOverwrite,
    /// A record cannot be shorter than its header; 0 is what stands after the last record of a log.
    #[error("invalid record length {0}: expected at least 24")]
    RecordTooShort(u32),
    /// A record longer than PostgreSQL can hold in memory.
    #[error("invalid record length {0}: too long")]
    RecordTooLong(u32),
    /// Not the number of a resource manager.
    #[error("invalid resource manager ID {0}")]
    ResourceManager(u8),
    /// The record does not follow the one before it.
    #[error("incorrect prev-link {found}, expected {expected}")]
    PrevLink {
        /// `xl_prev` of the record.
        found: Lsn,
        /// Where the previous record starts.
        expected: Lsn,
    },
    /// The first record looked at claims to follow one that lies after it.
    #[error("incorrect prev-link {0}, not before the record itself")]
    PrevLinkAhead(Lsn),
    /// The record's checksum does not match its content.
    #[error("incorrect checksum {found:08X}, computed {computed:08X}")]
    Checksum {
        /// `xl_crc` of the record.
        found: u32,
        /// CRC-32C of the record's bytes.
        computed: u32,
    },
    /// The checksum is right, but the record's parts do not fit together.
    #[error(transparent)]
    Structure(#[from] RecordError),
    /// The page says that an unfinished record was given up before it, but its first record does not name which.
    #[error("no OVERWRITE_CONTRECORD record on a page that overwrites an unfinished record")]
    MissingOverwrite,
    /// An OVERWRITE_CONTRECORD record that names another record than the one given up.
    #[error("OVERWRITE_CONTRECORD names {named} as aborted, expected {aborted}")]
    WrongOverwrite {
        /// The record it names.
        named: Lsn,
        /// The record that was given up; 0/0 if none was.
        aborted: Lsn,
    },
    /// A record that claims to go on is a whole one but for its length.
    #[error("incorrect length of a record that is complete")]
    HiddenEnd,
    /// The bytes that fill up a record to a multiple of 8 are always zero.
    #[error("padding after the record is not zero")]
    Padding,
    /// The rest of a segment after a SWITCH record is always zero.
    #[error("data after the SWITCH record at {0}")]
    DataAfterSwitch(Lsn),
    /// More bytes than there are positions.
    #[error("past the end of the WAL address space")]
    AddressSpace,
}
