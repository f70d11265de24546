//! Decides, as bytes come, whether they are WAL and up to where.
//!
//! What is fed is never copied: checksums are taken from the slice, and a record that lies whole in one page of it is
//! checked in place. Of a record that spans pages or feeds, a fixed number of bytes at its head is kept, however long
//! it claims to be. How the bytes are cut into feeds changes nothing about the outcome.
//!
//! The rules are those of PostgreSQL's reader (`XLogReaderValidatePageHeader`, `ValidXLogRecordHeader`,
//! `DecodeXLogRecord`: a record whose checksum is right and whose parts do not fit together was written so, and nobody
//! can replay it) and of its replay where the reader alone would accept anything: an OVERWRITE_CONTRECORD record must
//! name the record that was given up. Stricter than both, a page must be on the timeline that wrote its position, and the bytes that
//! PostgreSQL always leaves zero (padding after a record and in page headers, the rest of a segment after a SWITCH) must
//! be zero: a damaged byte is damage even where no checksum covers it. So of all bits of a log the only one that may change
//! unnoticed is a page's BKP_REMOVABLE flag, of which both values are right.
//!
//! Files: `page_check` reads page headers, `record_check` records, `state` remembers what was proved.

mod error;
mod page_check;
mod record_check;
mod state;

pub use error::{WalError, WalErrorKind};
pub use state::{InvalidState, ValidatorState};

use crate::page::{LONG_HEADER, PAGE_SIZE};
use crate::{Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId, WalVersion};
use record_check::Fragments;

/// What a log must be like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectations {
    /// The size of its segments.
    pub segment_size: SegmentSize,
    /// The cluster it is from; `None` takes whatever the first segment says.
    pub system_id: Option<SystemId>,
    /// The version that wrote it; `None` takes whatever the first page says.
    pub version: Option<WalVersion>,
    /// The timeline being read, with its ancestors.
    pub timelines: TimelineHistory,
}

impl Expectations {
    /// Expects segments of `segment_size` on these timelines, from any system and version.
    pub fn new(segment_size: SegmentSize, timelines: TimelineHistory) -> Self {
        Self { segment_size, system_id: None, version: None, timelines }
    }
}

/// What the next byte belongs to, once the page header before it has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The start of a record.
    Record,
    /// A record of which some bytes have come; [`Fragments`] has them.
    Fragment,
    /// A record that began before the validator did; this many bytes of it are to come.
    Skip(u32),
    /// The zeros that fill a record up to a multiple of 8.
    Padding(Padded),
    /// The zeros between a SWITCH record and the end of its segment.
    Switched,
}

/// What stands before padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Padded {
    /// The record in [`Fragments`].
    Record,
    /// The end of a record that was skipped.
    Skipped,
}

/// What the next record has to say about a record that was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overwrite {
    /// Nothing was given up.
    None,
    /// A record was, but it began before the validator did.
    Unknown,
    /// The record that starts here was.
    Aborted(Lsn),
}

/// A streaming validator of WAL. See the [module's documentation](crate::validator).
///
/// `start <= record_end <= position`. A fresh validator does not know the first record's predecessor, and accepts any
/// `xl_prev` that lies before the record. If its first page begins inside a record, that record is skipped.
#[derive(Clone, Debug)]
pub struct Validator {
    expect: Expectations,
    /// The next byte wanted. Moved by every feed; never behind `record_end`.
    position: u64,
    /// The end of the last valid record. Moved when a record with its padding is complete; the end of the segment once
    /// a SWITCH record's zeros are complete.
    record_end: u64,
    /// The start of the last valid record: what the next one's prev-link must say.
    last_record: Option<u64>,
    records: u64,
    /// How many records with compressed images were found; one whose padding is to come is among them.
    compressed: u64,
    phase: Phase,
    /// Whether the header of the page that holds `position` has been read. False only while it has not.
    in_page: bool,
    /// Whether nothing has been read yet, so that a continued record is no surprise.
    fresh: bool,
    overwrite: Overwrite,
    version: Option<WalVersion>,
    system_id: Option<SystemId>,
    page_timeline: Option<TimelineId>,
    /// The first bytes of the page header that is being received; `position` is past them.
    page_header: [u8; LONG_HEADER],
    page_header_len: usize,
    fragments: Fragments,
    failed: Option<WalError>,
}

impl Validator {
    /// Validates what lies from `start` on: a page boundary, usually a segment's, or else the start of a record.
    pub fn new(start: Lsn, expect: Expectations) -> Self {
        let on_boundary = start.as_u64().is_multiple_of(PAGE_SIZE as u64);
        Self {
            fragments: Fragments::default(),
            version: expect.version,
            system_id: expect.system_id,
            expect,
            position: start.as_u64(),
            record_end: start.as_u64(),
            last_record: None,
            records: 0,
            compressed: 0,
            phase: Phase::Record,
            in_page: !on_boundary,
            fresh: on_boundary,
            overwrite: Overwrite::None,
            page_timeline: None,
            page_header: [0; LONG_HEADER],
            page_header_len: 0,
            failed: None,
        }
    }

    /// Takes the bytes that follow those fed before. On an error nothing at or past its LSN is valid,
    /// [`record_end`](Self::record_end) says what is, and every later feed fails the same way.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), WalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = self.consume(bytes);
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
        }
        self.check();
        outcome
    }

    /// The order of the positions, whatever was fed.
    fn check(&self) {
        let Self { position, record_end, .. } = *self;
        assert!(record_end <= position, "the last valid record ends at {record_end:X}, before {position:X}");
        assert!(self.last_record.is_none_or(|start| start < record_end), "a record starts before its end");
        assert!(self.records == 0 || self.last_record.is_some(), "records that were found have starts");
        let header = self.page_header_len;
        assert!(header < LONG_HEADER || self.failed.is_some(), "a whole page header is taken at once");
        assert!(!self.in_page || self.page_header_len == 0, "a page is entered with its header read");
    }

    fn consume(&mut self, mut bytes: &[u8]) -> Result<(), WalError> {
        if self.position.checked_add(bytes.len() as u64).is_none() {
            return Err(self.error_at(self.position, WalErrorKind::AddressSpace));
        }
        while !bytes.is_empty() {
            let taken = match self.phase {
                Phase::Switched => self.take_zeros_to_segment_end(bytes)?,
                _ if !self.in_page => self.take_page_header(bytes)?,
                Phase::Record => self.take_records(within_page(self.position, bytes))?,
                Phase::Fragment => self.take_fragment(within_page(self.position, bytes))?,
                Phase::Skip(left) => self.take_skipped(within_page(self.position, bytes), left)?,
                Phase::Padding(after) => self.take_padding(bytes, after)?,
            };
            assert!(taken <= bytes.len(), "{taken} of {} bytes are taken", bytes.len());
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Moves on by `count` bytes, which end at the page's end at the latest.
    fn advance(&mut self, count: usize) {
        let room = PAGE_SIZE - (self.position % PAGE_SIZE as u64) as usize;
        assert!(count <= room, "{count} bytes end at the page's end at the latest, {room} bytes on");
        self.position += count as u64;
        if self.position.is_multiple_of(PAGE_SIZE as u64) {
            self.in_page = false;
        }
    }

    fn error_at(&self, lsn: u64, reason: impl Into<WalErrorKind>) -> WalError {
        WalError { lsn: Lsn::new(lsn), reason: reason.into() }
    }

    /// The next byte wanted: after everything fed so far, unless a feed failed.
    pub fn position(&self) -> Lsn {
        Lsn::new(self.position)
    }

    /// The end of the last complete valid record, where the next one may start: rounded up to a multiple of 8, and at
    /// a page's end before the next page's header, as PostgreSQL reports positions. After a SWITCH record, the end of its
    /// segment once all of that has come. Where the validator started if no record is complete.
    pub fn record_end(&self) -> Lsn {
        Lsn::new(self.record_end)
    }

    /// The start of the last complete valid record.
    pub fn last_record(&self) -> Option<Lsn> {
        self.last_record.map(Lsn::new)
    }

    /// The start of the record of which only a part has come, or that turned out to be none; `None` between records, and
    /// while the rest of one that began before the validator did is passed over.
    pub fn record_under_way(&self) -> Option<Lsn> {
        (self.phase == Phase::Fragment).then(|| Lsn::new(self.fragments.start()))
    }

    /// The version that wrote the log, once a page has told or if it was expected.
    pub fn version(&self) -> Option<WalVersion> {
        self.version
    }

    /// The cluster that wrote the log, once a segment's start has told or if it was expected.
    pub fn system_id(&self) -> Option<SystemId> {
        self.system_id
    }

    /// The size of the log's segments.
    pub fn segment_size(&self) -> SegmentSize {
        self.expect.segment_size
    }

    /// The timeline that the last page header read is on.
    pub fn page_timeline(&self) -> Option<TimelineId> {
        self.page_timeline
    }

    /// How many records with compressed images this validator has met. Whether those can be decompressed is not looked at here:
    /// of a long record nothing is kept ([`Walk::unpacking`](crate::Walk::unpacking)).
    pub fn compressed(&self) -> u64 {
        self.compressed
    }

    /// How many records were found valid, resumed-from ones included.
    pub fn records(&self) -> u64 {
        self.records
    }
}

/// As much of `bytes` as lies on the page that holds `position`.
fn within_page(position: u64, bytes: &[u8]) -> &[u8] {
    let room = PAGE_SIZE - (position % PAGE_SIZE as u64) as usize;
    bytes.get(..room).unwrap_or(bytes)
}

/// Where the first byte that is not zero stands.
fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    // Blocks without early exit, which the compiler turns into wide loads: a switched segment is megabytes of zeros.
    const BLOCK: usize = 256;
    let clear =
        bytes.chunks_exact(BLOCK).take_while(|block| block.iter().fold(0, |any, byte| any | byte) == 0);
    let skip = clear.count() * BLOCK;
    bytes.iter().skip(skip).position(|&byte| byte != 0).map(|at| skip + at)
}
