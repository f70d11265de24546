//! From the buffer to the files, and from the files to the disk.

use wal::{Lsn, TimelineId};

use super::{Log, Output, Shared};
use crate::EngineError;

/// What was appended and not yet taken by a write.
#[derive(Debug)]
pub(super) struct Pending {
    /// Whole records, with the page headers before and in them.
    bytes: Vec<u8>,
    /// Where `bytes` begin: where the last write ended, or will end.
    start: Lsn,
    /// Whether the writer thread was told that there is much to write, since the last write.
    nudged: bool,
}

impl Pending {
    pub(super) fn at(start: Lsn) -> Self {
        Self { bytes: Vec::new(), start, nudged: false }
    }

    /// Goes on at `start`, in an empty buffer.
    pub(super) fn restart(&mut self, start: Lsn) {
        self.bytes.clear();
        self.start = start;
    }

    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True once per write.
    pub(super) fn is_first_nudge(&mut self) -> bool {
        !std::mem::replace(&mut self.nudged, true)
    }

    /// Hands out what there is, its start and its end, and goes on in the empty buffer `other`.
    fn take(&mut self, other: &mut Vec<u8>) -> (Lsn, Lsn) {
        assert!(other.is_empty(), "the log goes on in an empty buffer");
        std::mem::swap(&mut self.bytes, other);
        let start = self.start;
        self.start = start.saturating_add(other.len() as u64);
        self.nudged = false;
        (start, self.start)
    }
}

impl Log {
    /// Returns once everything before `lsn` is durable: at once if it is, otherwise after a sync that covers all that has
    /// been appended when it begins. Blocks the thread.
    ///
    /// An error if the log does not reach that far: a damaged page's LSN, for one.
    pub fn flush(&self, lsn: Lsn) -> Result<(), EngineError> {
        self.shared.flush(lsn)
    }
}

impl Shared {
    pub(super) fn flush(&self, lsn: Lsn) -> Result<(), EngineError> {
        if self.flushed.load() >= lsn {
            return Ok(());
        }
        let inserted = self.inserted.load();
        if lsn > inserted {
            return Err(EngineError::Directory(format!(
                "cannot flush the WAL to {lsn}: it ends at {inserted}"
            )));
        }
        while let Some(turn) = self.group.take_turn(|| self.flushed.load() >= lsn) {
            let end = self.sync();
            drop(turn);
            self.tell(end);
        }
        assert!(self.flushed.load() >= lsn, "what a flush returns for is durable: {lsn}");
        Ok(())
    }

    /// Flushes everything appended, unless somebody is flushing already.
    pub(super) fn flush_behind(&self) {
        if self.has_unflushed() {
            self.flush_in_turn();
        }
    }

    /// Whether something was appended that is not durable. On a standby for a moment, too, while what was received is told
    /// of ([`Shared::advance`]): who acts on it may come when that moment is over.
    pub(super) fn has_unflushed(&self) -> bool {
        self.flushed.load() < self.inserted.load()
    }

    /// Flushes, unless somebody is flushing already. Right when there is nothing to flush, too.
    pub(super) fn flush_in_turn(&self) {
        if let Some(turn) = self.group.try_turn() {
            let end = self.sync();
            drop(turn);
            self.tell(end);
        }
    }

    /// Writes everything appended; does not sync.
    pub(super) fn write_out(&self) {
        self.write_pending(&mut self.output.lock());
    }

    /// Writes and syncs everything appended, and tells: its end. By the one whose turn it is.
    fn sync(&self) -> Lsn {
        let mut output = self.output.lock();
        let end = self.write_pending(&mut output);
        output.sync();
        drop(output);
        self.announce(end);
        end
    }

    /// Tells those who pass on what is durable, in other processes and in this one.
    fn tell(&self, end: Lsn) {
        self.status.durable(end);
        self.readers.flushed(end);
    }

    fn announce(&self, end: Lsn) {
        let (written, inserted) = (self.written.load(), self.inserted.load());
        let end = if runtime::fault::is_wanted("call durable what was not written") { Lsn::MAX } else { end };
        assert!(end <= written, "nothing is durable, {end}, that was not written, {written}");
        assert!(written <= inserted, "nothing is written, {written}, that was not inserted, {inserted}");
        if end > self.flushed.load() {
            // Before the position shows: who sees it, or is let go because of it, finds what the observers did.
            self.observers.flushed(end);
            self.flushed.store(end);
        }
    }

    fn write_pending(&self, output: &mut Output) -> Lsn {
        let mut bytes = output.take_spare();
        let (start, end) = self.pending.lock().take(&mut bytes);
        let start = if runtime::fault::is_wanted("write the log elsewhere") { Lsn::MAX } else { start };
        let (written, inserted) = (self.written.load(), self.inserted.load());
        assert_eq!(start, written, "what is pending begins where the last write ended");
        assert!(
            end <= inserted,
            "what is pending ends at {end}, with a record that was inserted, {inserted}"
        );
        output.write(start, &bytes);
        output.give_spare(bytes, self.buffer_limit);
        self.written.store(end);
        end
    }

    /// Nothing if the log is appended to by now: a receiver's last word may come late.
    pub(super) fn advance(&self, flushed: Lsn, timeline: TimelineId) {
        // Held by a promotion from its first step to its last.
        let _layout = self.layout.lock();
        if !self.segments.is_resting() {
            return;
        }
        self.segments.set_timeline(timeline);
        let Some(_turn) = self.group.take_turn(|| self.flushed.load() >= flushed) else { return };
        // Nothing is pending, and it begins where the log ends now: lest the writer thread, which may come late (see
        // `has_unflushed`), take the log back to where that was.
        self.pending.lock().restart(flushed);
        self.inserted.store(flushed);
        self.written.store(flushed);
        self.announce(flushed);
    }
}
