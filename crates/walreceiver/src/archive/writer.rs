//! From a stream of validated bytes to segment files.

use std::sync::Arc;

use disk::fill_zeros;
use wal::{Lsn, SegmentNo};

use super::segment_files::{PartialFile, SegmentFiles};
use super::unsynced::{CurrentSegment, FinishedSegment, Unsynced};
use super::{ArchiveError, SyncMode, Syncer};

/// How far ahead of the tail zeros are written. Reserved blocks become initialised blocks when first written, which
/// costs each fdatasync a journal commit; blocks initialised beforehand do not. See docs/performance.md.
const ZEROS_AHEAD: u64 = 256 << 10;

/// Writes one timeline's WAL, from one position on, without gaps. Its bytes become durable by the [`Syncer`] it came
/// with.
#[derive(Debug)]
pub(crate) struct ArchiveWriter {
    files: SegmentFiles,
    /// Where the next byte belongs. Moved by [`Self::write`].
    position: Lsn,
    /// Everything before is in the directory already, valid and durable: compared, never written.
    proven: Lsn,
    current: Option<Open>,
    unsynced: Arc<Unsynced>,
    /// For comparing; empty unless there is something to compare.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    segment: SegmentNo,
    partial: PartialFile,
    /// The file's blocks up to this offset are known to be initialised.
    initialised: u64,
    /// Up to here the file may hold bytes of an earlier life that were never proven: the beginning of a record, which
    /// the server may have replaced by another one since. 0: no such bytes. `None`: not looked for yet.
    stale: Option<u64>,
}

impl ArchiveWriter {
    /// A writer that continues at `start`, the start of a segment, in a directory whose content is valid and durable
    /// up to `proven`; and the syncer to go with it.
    pub(crate) fn new(
        files: SegmentFiles,
        start: Lsn,
        proven: Lsn,
        mode: SyncMode,
        finished: super::syncer::OnFinished,
    ) -> (Self, Syncer) {
        assert_eq!(files.size.offset_of(start), 0, "a segment is written from its start, not from {start}");
        assert!(start <= proven, "what is proven, up to {proven}, begins at {start}");
        let unsynced = Arc::new(Unsynced::new(start));
        let syncer = Syncer::new(files.clone(), Arc::clone(&unsynced), mode, finished);
        let writer = Self { files, position: start, proven, current: None, unsynced, scratch: Vec::new() };
        (writer, syncer)
    }

    /// Where the next byte belongs.
    pub(crate) fn position(&self) -> Lsn {
        self.position
    }

    /// Appends `bytes`. `at_tail`: more is not expected for a while, so the disk is made ready for small syncs.
    /// Says whether a segment was finished.
    pub(crate) fn write(&mut self, bytes: &[u8], at_tail: bool) -> Result<bool, ArchiveError> {
        self.unsynced.check_writable()?;
        self.append(bytes, at_tail).map_err(|error| self.unsynced.fail(error))
    }

    fn append(&mut self, mut bytes: &[u8], at_tail: bool) -> Result<bool, ArchiveError> {
        let mut finished = false;
        while !bytes.is_empty() {
            let offset = u64::from(self.files.size.offset_of(self.position));
            let room = u64::from(self.files.size.bytes()) - offset;
            let (part, rest) = bytes.split_at(room.min(bytes.len() as u64) as usize);
            self.open_current()?;
            self.put(part, offset, at_tail)?;
            self.position = self.position.saturating_add(part.len() as u64);
            self.unsynced.lock().set_written(self.position);
            if part.len() as u64 == room {
                self.finish_current();
                finished = true;
            }
            bytes = rest;
        }
        Ok(finished)
    }

    fn open_current(&mut self) -> Result<(), ArchiveError> {
        if self.current.is_some() {
            return Ok(());
        }
        let segment = self.files.size.segment_of(self.position);
        let behind = self.unsynced.lock().finished.back().is_none_or(|last| last.end <= self.position);
        assert!(behind, "a segment follows those that are finished");
        let partial = self.files.open_partial(segment)?;
        let mut state = self.unsynced.lock();
        state.new_names |= partial.is_new;
        let current = CurrentSegment { file: Arc::clone(&partial.file), path: partial.path.clone() };
        state.current = Some(Arc::new(current));
        drop(state);
        let stale = if partial.is_new { Some(0) } else { None };
        self.current = Some(Open { segment, partial, initialised: 0, stale });
        Ok(())
    }

    /// Puts `part`, which lies within the current segment, at `offset` of it.
    fn put(&mut self, part: &[u8], offset: u64, at_tail: bool) -> Result<(), ArchiveError> {
        let size = u64::from(self.files.size.bytes());
        assert!(offset + part.len() as u64 <= size, "a write lies within the current segment");
        let within = self
            .current
            .as_ref()
            .is_none_or(|open| open.segment == self.files.size.segment_of(self.position));
        assert!(within, "the segment that is open is the one that {} lies in", self.position);
        let known = self.proven.bytes_since(self.position).min(part.len() as u64) as usize;
        let (known, new) = part.split_at(known);
        self.compare(known, offset)?;
        let offset = offset + known.len() as u64;
        if new.is_empty() {
            return Ok(());
        }
        let at = self.position.saturating_add(known.len() as u64);
        assert!(self.proven <= at, "what was proven, up to {}, is never written, not at {at}", self.proven);
        let end = offset + new.len() as u64;
        self.clear_stale(new, offset)?;
        let Some(open) = &mut self.current else { return Ok(()) };
        if at_tail && open.partial.is_new && end > open.initialised {
            // Only in files made by this writer: in others there may be bytes that count.
            let from = open.initialised.max(offset);
            let upto = (end + ZEROS_AHEAD).min(u64::from(self.files.size.bytes()));
            fill_zeros(&*open.partial.file, from, upto.saturating_sub(from))
                .map_err(ArchiveError::on("write", &open.partial.path))?;
            open.initialised = upto;
        }
        open.partial.file.write_all_at(new, offset).map_err(ArchiveError::on("write", &open.partial.path))?;
        open.initialised = open.initialised.max(end);
        Ok(())
    }

    /// Insists that the file has `known` at `offset`.
    fn compare(&mut self, known: &[u8], offset: u64) -> Result<(), ArchiveError> {
        let Some(open) = &self.current else { return Ok(()) };
        if known.is_empty() {
            return Ok(());
        }
        self.scratch.resize(known.len(), 0);
        open.partial
            .file
            .read_exact_at(&mut self.scratch, offset)
            .map_err(ArchiveError::on("read", &open.partial.path))?;
        match known.iter().zip(&self.scratch).position(|(theirs, ours)| theirs != ours) {
            None => Ok(()),
            Some(at) => Err(ArchiveError::Fork {
                lsn: self.position.saturating_add(at as u64),
                timeline: self.files.timeline,
                path: open.partial.path.clone(),
            }),
        }
    }

    /// Zeros what an earlier life left after `new`, if `new` shows that the server has something else there: stale
    /// bytes behind the end of the log would look like damage.
    fn clear_stale(&mut self, new: &[u8], offset: u64) -> Result<(), ArchiveError> {
        let Some(open) = &mut self.current else { return Ok(()) };
        let file = &*open.partial.file;
        let read = |buffer: &mut [u8], at| {
            file.read_exact_at(buffer, at).map_err(ArchiveError::on("read", &open.partial.path))
        };
        let stale = match open.stale {
            Some(stale) => stale,
            None => {
                let whole = u64::from(self.files.size.bytes());
                let (mut at, mut stale) = (offset, 0);
                while at < whole {
                    self.scratch.resize((whole - at).min(ZEROS_AHEAD) as usize, 0);
                    read(&mut self.scratch, at)?;
                    if let Some(last) = self.scratch.iter().rposition(|&byte| byte != 0) {
                        stale = at + last as u64 + 1;
                    }
                    at += self.scratch.len() as u64;
                }
                stale
            }
        };
        open.stale = Some(stale);
        if offset >= stale {
            return Ok(());
        }
        self.scratch.resize(new.len(), 0);
        read(&mut self.scratch, offset)?;
        if self.scratch != new {
            let end = offset + new.len() as u64;
            fill_zeros(file, end, stale.saturating_sub(end))
                .map_err(ArchiveError::on("write", &open.partial.path))?;
            open.stale = Some(0);
        }
        Ok(())
    }

    fn finish_current(&mut self) {
        let Some(open) = self.current.take() else { return };
        assert_eq!(self.files.size.offset_of(self.position), 0, "a segment is finished by its last byte");
        assert_eq!(
            self.position,
            self.files.size.end_of(open.segment),
            "a segment is finished by its last byte"
        );
        let mut state = self.unsynced.lock();
        state.current = None;
        state.finished.push_back(FinishedSegment {
            finished: self.files.finished_path(open.segment),
            file: open.partial.file,
            partial: open.partial.path,
            end: self.position,
        });
    }

    /// Overwrites with zeros what the current segment holds from `good_end` on: bytes of a record that turned out to
    /// be damaged. What was proven is never touched.
    pub(crate) fn discard_from(&mut self, good_end: Lsn) -> Result<(), ArchiveError> {
        self.unsynced.check()?;
        let Some(open) = &self.current else { return Ok(()) };
        let start = self.files.size.start_of(open.segment).max(good_end).max(self.proven);
        assert!(self.proven <= start, "what was proven, up to {}, is never touched", self.proven);
        let len = self.position.bytes_since(start);
        fill_zeros(&*open.partial.file, u64::from(self.files.size.offset_of(start)), len)
            .map_err(ArchiveError::on("write", &open.partial.path))
            .map_err(|error| self.unsynced.fail(error))
    }
}
