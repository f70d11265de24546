//! Whole records out of log bytes that are in memory.
//!
//! Validation comes first and decides how far the log reaches; going through it afterwards only strips page headers.
//! A record that lies in one page is borrowed, one that spans pages is put together from what is there.
//!
//! [`Records::new`] validates a log that is in memory as a whole; [`Walk::records`](crate::Walk::records) gives those of a
//! walk, which has validated them already.

use std::borrow::Cow;

use crate::page::{PAGE_SIZE, PageFlags, PageHeader};
use crate::record::RecordHeader;
use crate::validator::{Expectations, Validator, WalError};
use crate::{Lsn, SegmentSize};

/// A record, where it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord<'a> {
    /// The record's LSN.
    pub start: Lsn,
    /// Its end, rounded up to a multiple of 8; at a page's end before the next page's header.
    pub end: Lsn,
    /// The record without page headers, for [`Record::decode_unchecked`](crate::record::Record::decode_unchecked).
    pub bytes: Cow<'a, [u8]>,
}

/// The valid records of a run of log bytes, in order. A record that began before the run is not among them.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    log: &'a [u8],
    start: Lsn,
    segment_size: SegmentSize,
    /// Where the next record is to be looked for. Moved by every record; never past `end`.
    position: Lsn,
    /// The end of the last valid record.
    end: Lsn,
    stopped_by: Option<WalError>,
}

impl<'a> Records<'a> {
    /// Validates `log`, whose first byte lies at `start`, a page boundary. What stopped validation, if it did not reach
    /// the end, is told by [`Records::stopped_by`].
    pub fn new(log: &'a [u8], start: Lsn, expect: Expectations) -> Self {
        let segment_size = expect.segment_size;
        let mut validator = Validator::new(start, expect);
        let stopped_by = validator.feed(log).err();
        Self { stopped_by, ..Self::validated(log, start, segment_size, validator.record_end()) }
    }

    /// The records of `log`, whose first byte lies at `start` (a page boundary or the end of a record), up to `end`, where
    /// one that a validator has found valid ends.
    pub(crate) fn validated(log: &'a [u8], start: Lsn, segment_size: SegmentSize, end: Lsn) -> Self {
        Self { log, start, segment_size, position: start, end, stopped_by: None }
    }

    /// Where the next record is looked for: the end of the last one given, or of its segment if that was a SWITCH.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Why the log is not valid to its end.
    pub fn stopped_by(&self) -> Option<&WalError> {
        self.stopped_by.as_ref()
    }

    /// The end of the last valid record.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// The bytes from `from` to the end of its page.
    fn page_rest(&self, from: Lsn) -> Option<&'a [u8]> {
        let room = PAGE_SIZE - (from.as_u64() % PAGE_SIZE as u64) as usize;
        let rest = self.log.get(usize::try_from(from.bytes_since(self.start)).ok()?..)?;
        Some(rest.get(..room).unwrap_or(rest))
    }

    /// The header of the page that begins at `at`, if one does.
    fn page_header(&self, at: Lsn) -> Option<PageHeader> {
        if !at.as_u64().is_multiple_of(PAGE_SIZE as u64) {
            return None;
        }
        PageHeader::decode(self.page_rest(at)?).ok()
    }

    /// Moves past a page header, and past what is left of a record that began before the run.
    fn skip_to_record(&mut self) -> Option<()> {
        while let Some(header) = self.page_header(self.position) {
            let page = self.position;
            self.position = page.saturating_add(header.size() as u64);
            if page == self.start && header.flags.contains(PageFlags::FIRST_IS_CONTRECORD) {
                self.position = match self.assemble(header.rem_len as usize) {
                    Some((_, end)) => end,
                    None => self.overwriting_page(self.position)?,
                };
            }
        }
        Some(())
    }

    /// Collects `length` bytes from the current position on. `None` if a page does not continue them.
    fn assemble(&self, length: usize) -> Option<(Cow<'a, [u8]>, Lsn)> {
        let mut at = self.position;
        let first = self.page_rest(at)?;
        if let Some(whole) = first.get(..length) {
            return Some((Cow::Borrowed(whole), at.saturating_add(length as u64).align8()));
        }
        let mut bytes = first.to_vec();
        at = at.saturating_add(first.len() as u64);
        while bytes.len() < length {
            let header = self.page_header(at)?;
            if !header.flags.contains(PageFlags::FIRST_IS_CONTRECORD) {
                return None;
            }
            at = at.saturating_add(header.size() as u64);
            let rest = self.page_rest(at)?;
            let now = rest.get(..length - bytes.len()).unwrap_or(rest);
            bytes.extend_from_slice(now);
            at = at.saturating_add(now.len() as u64);
        }
        Some((Cow::Owned(bytes), at.align8()))
    }

    /// The start of the first page from `at` on that says that the record before it was given up.
    fn overwriting_page(&self, at: Lsn) -> Option<Lsn> {
        let mut page = Lsn::new(at.as_u64().next_multiple_of(PAGE_SIZE as u64));
        while let Some(header) = self.page_header(page) {
            if header.flags.contains(PageFlags::FIRST_IS_OVERWRITE_CONTRECORD) {
                return Some(page);
            }
            page = page.saturating_add(PAGE_SIZE as u64);
        }
        None
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = LogRecord<'a>;

    fn next(&mut self) -> Option<LogRecord<'a>> {
        while self.position < self.end {
            self.skip_to_record()?;
            if self.position >= self.end {
                break;
            }
            let start = self.position;
            let length = self.page_rest(start)?.first_chunk().map(|length| u32::from_le_bytes(*length))?;
            let Some((bytes, end)) = self.assemble(length as usize) else {
                self.position = self.overwriting_page(start)?;
                continue;
            };
            let switch = RecordHeader::decode(&bytes)?.is_switch();
            let segment = self.segment_size.segment_ending_at(end);
            self.position = if switch { self.segment_size.end_of(segment) } else { end };
            return Some(LogRecord { start, end, bytes });
        }
        None
    }
}
