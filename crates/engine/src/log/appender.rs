//! Appending records.

use runtime::sync::MutexGuard;
use wal::payload::XlogRecord;
use wal::record::{RECORD_HEADER, ResourceManager, Xid};
use wal::writer::{LogLayout, Placed};
use wal::{Lsn, TimelineId, WalVersion};

use super::{Shared, record};
use crate::EngineError;

/// How much of the space that is left for the log, while there is no more to be had, may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Room {
    /// By transactions: all but what is kept for those that free space.
    #[default]
    Ordinary,
    /// By transactions that drop trees, and for other small records: all but what checkpoints need.
    Freeing,
    /// By a checkpoint, after which segments can be used again: all.
    Checkpoint,
}

impl Room {
    /// What is kept for others, in bytes.
    fn kept(self) -> u64 {
        match self {
            Self::Ordinary => 256 << 10,
            Self::Freeing => 16 << 10,
            Self::Checkpoint => 0,
        }
    }
}

/// The right to append, held until dropped. Records appended through one appender are contiguous in the log.
#[derive(Debug)]
pub struct Appender<'a> {
    shared: &'a Shared,
    layout: MutexGuard<'a, LogLayout>,
}

impl<'a> Appender<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        assert!(!shared.segments.is_resting(), "a standby's log takes no records before its promotion");
        Self { shared, layout: shared.layout.lock() }
    }

    /// The end of the last record (at a page's end before the next page's header).
    pub fn position(&self) -> Lsn {
        self.layout.position()
    }

    /// Where the next record will start.
    pub fn next_record(&self) -> Lsn {
        wal::page::first_record_position(self.position(), self.layout.identity().segment_size)
    }

    /// Where recovery would start; fixed for as long as the appender is held.
    pub fn redo(&self) -> Lsn {
        self.shared.redo.load()
    }

    /// A checkpoint begins: recovery from it will start at the next record. Returns that position.
    pub fn set_redo(&mut self) -> Lsn {
        let (redo, before) = (self.next_record(), self.shared.redo.load());
        let redo = if runtime::fault::is_wanted("take recovery's start back") { Lsn::INVALID } else { redo };
        assert!(before <= redo, "where recovery starts never goes back: from {before} to {redo}");
        self.shared.redo.store(redo);
        redo
    }

    /// The timeline of the records.
    pub fn timeline(&self) -> TimelineId {
        self.layout.timeline()
    }

    /// Appends a record like [`Appender::append`], if there is space for it in segments that are there, or can be made.
    ///
    /// # Errors
    /// The segment cannot be made; nothing was appended.
    pub fn try_append(&mut self, record: &mut [u8], room: Room) -> Result<Placed, EngineError> {
        let size = self.layout.identity().segment_size;
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        let end = wal::page::end_of_record(self.next_record(), length, size);
        self.shared.segments.provide(end.saturating_add(room.kept()))?;
        let placed = self.append(record);
        assert!(
            placed.end <= end.align8(),
            "record {} takes the space that was provided for it",
            placed.start
        );
        Ok(placed)
    }

    /// Appends a record: its 24-byte header, of which transaction, info and resource manager are taken ([`record::begin`]
    /// makes one), and what follows. Length, prev-link and checksum are written into it. At most
    /// [`wal::record::MAX_RECORD`] bytes.
    ///
    /// Writes the buffer to the files, without syncing them, if it is full.
    pub fn append(&mut self, record: &mut [u8]) -> Placed {
        let mut pending = self.shared.pending.lock();
        if runtime::fault::is_wanted("insert behind the log's end") {
            self.shared.inserted.store(Lsn::MAX);
        }
        let before = self.shared.inserted.load();
        assert_eq!(before, self.layout.position(), "the log ends where its layout goes on");
        let prev = self.layout.prev();
        let placed = self.layout.place(record, pending.bytes_mut());
        assert!(prev < placed.start, "record {} links back, not to {prev}", placed.start);
        assert!(before <= placed.start, "record {} begins behind the log's end, {before}", placed.start);
        assert_eq!(placed.end, self.layout.position(), "a record's end is where the next byte goes");
        self.shared.inserted.store(placed.end);
        let length = pending.len();
        if length >= self.shared.buffer_limit {
            drop(pending);
            self.shared.write_out();
        } else if length >= self.shared.buffer_limit / 4 && pending.is_first_nudge() {
            drop(pending);
            self.shared.nudge.write();
        }
        placed
    }

    /// Ends the segment, see [`super::Log::switch_segment`]. What is kept for others is in the segment after it then.
    ///
    /// # Errors
    /// The segment after it cannot be made; nothing was appended.
    pub fn switch_segment(&mut self) -> Result<Lsn, EngineError> {
        let size = self.layout.identity().segment_size;
        if size.offset_of(self.position()) != 0 {
            let end = wal::page::end_of_record(self.next_record(), RECORD_HEADER as u32, size);
            let next = size.end_of(size.segment_ending_at(end));
            self.shared.segments.provide(next.saturating_add(Room::Ordinary.kept()))?;
        }
        let mut pending = self.shared.pending.lock();
        let before = self.layout.position();
        let placed = self.layout.switch_segment(pending.bytes_mut());
        let (position, size) = (self.layout.position(), self.layout.identity().segment_size);
        assert_eq!(size.offset_of(position), 0, "a switch ends the segment");
        assert!(before <= position, "a switch takes nothing back: from {before} to {position}");
        self.shared.inserted.store(position);
        Ok(placed.map_or(self.layout.position(), |placed| placed.end))
    }

    /// The position, a page boundary, is where a record's continuation is missing: says so, and which record it was.
    pub(super) fn overwrite_continuation(&mut self, aborted: Lsn) {
        self.layout.overwrite_continuation();
        let time = record::now();
        let overwrite = XlogRecord::OverwriteContrecord { aborted, time };
        let (info, data) = overwrite.encode(WalVersion::V15);
        let mut encoded = Vec::new();
        record::encode(&mut encoded, ResourceManager::XLOG, info, Xid::INVALID, &data);
        self.append(&mut encoded);
    }
}
