//! Whether the log that recovery found ends before the log that was durable.
//!
//! Recovery takes the first record that is not valid for the end of the log: that is what a power cut leaves of records
//! that were never durable. Damage leaves the same: a rotten sector, a segment that is gone, an older copy that was put
//! back. To go on from there would overwrite what was acknowledged. So whatever proves that the log was durable further is
//! looked at first, and a start is refused that would lose it ([`EngineError::WalLost`]).
//!
//! **Valid WAL in a later segment** is such a proof, because of how the log is written (`log::Output`): a segment is synced
//! before the first byte of the next is written. So if anything of segment T was written, everything before T was durable
//! then. What a power cut may tear is the segment being written and, if a record goes on from one into the next, the part
//! of that record in the second: the first part was synced with its segment. The record at the end that was found is
//! therefore looked at: only segments *after* the last that it touches prove anything. Nothing else puts the right page
//! address into a file: those made ahead begin with address 0/0, recycled ones hold the addresses of their former lives, and
//! what a former crash left behind its end was removed, durably, before anything else was done ([`log::start`]). A standby's
//! receiver writes ahead of its syncs; its directory becomes a leader's by a promotion, which begins a timeline and removes
//! what is left of the old one, so only the newest timeline's segments are looked at.
//!
//! Valid records behind a gap in the *same* segment prove nothing: one sync covers them all, and a power cut may keep the
//! later ones alone. They are told in the program's log.
//!
//! [`log::start`]: crate::log

use disk::{DiskFile, OpenMode};
use replication::waldir::{Compression, SegmentFile};
use wal::page::{LONG_HEADER, PAGE_SIZE, PageFlags, PageHeader, end_of_record, first_record_position};
use wal::record::{RECORD_HEADER, RecordHeader};
use wal::{Lsn, SegmentNo, Stop, Validator, Walk};

use crate::replay::LogSource;
use crate::{EngineError, KnownDurable};

/// The end of the log that recovery found.
pub(crate) struct FoundEnd<'a> {
    pub(crate) source: &'a LogSource,
    /// The end of the last valid record.
    pub(crate) end: Lsn,
    /// Its start.
    pub(crate) last: Lsn,
}

impl FoundEnd<'_> {
    /// The furthest position beyond the end that WAL in later segments proves to have been durable.
    pub(crate) fn later_segments(&self) -> Result<Option<KnownDurable>, EngineError> {
        let touched = self.last_segment_touched()?;
        for file in self.own_files()?.iter().rev() {
            if file.segment <= touched {
                break;
            }
            if let Some(lsn) = self.valid_in(file)? {
                let path = self.source.dir.path().join(&file.name);
                let witness = format!("WAL segment file \"{}\"", path.display());
                return Ok(Some(KnownDurable { lsn, witness }));
            }
        }
        Ok(None)
    }

    /// The segment files after the end's that hold WAL of this log, as far as their first pages tell.
    pub(crate) fn left_behind(&self) -> Result<Vec<SegmentFile>, EngineError> {
        let current = self.source.segment_size.segment_of(self.end);
        let mut found = Vec::new();
        for file in self.own_files()? {
            if file.segment > current && self.first_page(file.segment)?.is_some() {
                found.push(file);
            }
        }
        Ok(found)
    }

    /// The end of the last valid record behind the end of the log in its own segment, if there is one.
    pub(crate) fn behind_gap(&self) -> Result<Option<Lsn>, EngineError> {
        let size = self.source.segment_size;
        let segment = size.segment_of(self.end);
        let Some(file) = self.open(segment)? else { return Ok(None) };
        let mut page = Lsn::new((self.end.as_u64() / PAGE_SIZE as u64 + 1) * PAGE_SIZE as u64);
        let mut furthest = None;
        while page < size.end_of(segment) {
            if self.header(&*file, page)?.is_some()
                && let Some(end) = self.validate(&*file, page)?
            {
                furthest = Some(end);
                page = Lsn::new(end.as_u64().div_ceil(PAGE_SIZE as u64) * PAGE_SIZE as u64);
            } else {
                page = page.saturating_add(PAGE_SIZE as u64);
            }
        }
        Ok(furthest)
    }

    /// The files of the newest timeline after it began, ascending.
    fn own_files(&self) -> Result<Vec<SegmentFile>, EngineError> {
        let LogSource { dir, segment_size, history, .. } = self.source;
        let listing = dir.list(*segment_size).map_err(|error| super::directory::wal_error(&error))?;
        let own = |file: &SegmentFile| {
            let begins_here = history.timeline_at(segment_size.start_of(file.segment)) == history.timeline();
            file.timeline == history.timeline()
                && begins_here
                && !file.partial
                && file.compression == Compression::None
        };
        Ok(listing.segments.into_iter().filter(own).collect())
    }

    /// The last segment that the record at the end may have been written to.
    fn last_segment_touched(&self) -> Result<SegmentNo, EngineError> {
        let size = self.source.segment_size;
        let start = first_record_position(self.end, size);
        let segment = size.segment_of(start);
        let mut bytes = [0; RECORD_HEADER];
        let inside = (PAGE_SIZE - (start.as_u64() % PAGE_SIZE as u64) as usize).min(RECORD_HEADER);
        let Some(file) = self.open(segment)? else { return Ok(segment) };
        let head = bytes.split_at_mut(inside).0;
        if !read(&*file, size.offset_of(start).into(), head, || self.path(segment))? {
            return Ok(segment);
        }
        if inside < RECORD_HEADER {
            // The header goes on on the next page; its length is here.
            let on_next = start.saturating_add(inside as u64);
            let length = bytes.first_chunk().copied().map(u32::from_le_bytes);
            let length = length.filter(|&length| length as usize >= RECORD_HEADER);
            return Ok(length.map_or(segment, |length| {
                self.spanned(segment, start, length).max(size.segment_of(on_next))
            }));
        }
        let Some(header) = RecordHeader::decode(&bytes) else { return Ok(segment) };
        let follows = header.prev == self.last && header.total_length as usize >= RECORD_HEADER;
        Ok(if follows { self.spanned(segment, start, header.total_length) } else { segment })
    }

    fn spanned(&self, segment: SegmentNo, start: Lsn, length: u32) -> SegmentNo {
        let size = self.source.segment_size;
        let end = end_of_record(start, length, size);
        let last = size.segment_ending_at(end).max(segment);
        // A damaged length may claim anything. If the next segment was begun, it says what of the record goes on there.
        match self.first_page(segment.next()) {
            Ok(Some(next)) if last > segment => {
                let goes_on = next.flags.contains(PageFlags::FIRST_IS_CONTRECORD);
                if goes_on && next.rem_len < length { last } else { segment }
            }
            _ => last,
        }
    }

    /// The end of the last valid record of `file`, or its start if no record begins in it but its first page is this log's;
    /// `None` if that is not.
    fn valid_in(&self, file: &SegmentFile) -> Result<Option<Lsn>, EngineError> {
        if self.first_page(file.segment)?.is_none() {
            return Ok(None);
        }
        let start = self.source.segment_size.start_of(file.segment);
        let Some(open) = self.open(file.segment)? else { return Ok(None) };
        Ok(Some(self.validate(&*open, start)?.unwrap_or(start)))
    }

    /// The end of the last valid record from the page at `start` on, up to the end of its segment; `None` if there is none.
    fn validate(&self, file: &dyn DiskFile, start: Lsn) -> Result<Option<Lsn>, EngineError> {
        let size = self.source.segment_size;
        let segment = size.segment_of(start);
        let mut walk = Walk::new(Validator::new(start, self.source.expectations()));
        let mut bytes = |at: Lsn, buffer: &mut [u8]| {
            file.read_at(buffer, size.offset_of(at).into())
                .map_err(|source| EngineError::file("read", self.path(segment), source))
        };
        match walk.advance(&mut bytes, size.end_of(segment)) {
            Err(Stop::Unreadable(error)) => Err(error),
            Ok(()) | Err(Stop::Invalid(_) | Stop::Ended) => {
                let validator = walk.validator();
                Ok(validator.last_record().map(|_| validator.record_end()))
            }
        }
    }

    /// The header of a segment's first page, if this log has written it.
    fn first_page(&self, segment: SegmentNo) -> Result<Option<PageHeader>, EngineError> {
        match self.open(segment)? {
            Some(file) => self.header(&*file, self.source.segment_size.start_of(segment)),
            None => Ok(None),
        }
    }

    /// The header of the page at `page`, if this log has written it.
    fn header(&self, file: &dyn DiskFile, page: Lsn) -> Result<Option<PageHeader>, EngineError> {
        let LogSource { segment_size: size, system_id, history, .. } = self.source;
        let mut bytes = [0; LONG_HEADER];
        if !read(file, size.offset_of(page).into(), &mut bytes, || self.path(size.segment_of(page)))? {
            return Ok(None);
        }
        let header = PageHeader::decode(&bytes).ok();
        Ok(header.filter(|header| {
            header.page_addr == page
                && header.timeline == history.timeline_at(page)
                && header.long.is_none_or(|long| long.system_id == *system_id)
        }))
    }

    fn path(&self, segment: SegmentNo) -> std::path::PathBuf {
        let LogSource { dir, segment_size, history, .. } = self.source;
        dir.path().join(segment.file_name(history.timeline(), *segment_size))
    }

    /// A segment's file on the newest timeline, if there is one.
    fn open(&self, segment: SegmentNo) -> Result<Option<Box<dyn DiskFile>>, EngineError> {
        let path = self.path(segment);
        match self.source.dir.disk().open(&path, OpenMode::Read) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(EngineError::file("open", path, source)),
        }
    }
}

/// Fills `buffer` from `offset` on; false if the file ends before.
fn read(
    file: &dyn DiskFile,
    offset: u64,
    buffer: &mut [u8],
    path: impl FnOnce() -> std::path::PathBuf,
) -> Result<bool, EngineError> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(source) => Err(EngineError::file("read", path(), source)),
    }
}
