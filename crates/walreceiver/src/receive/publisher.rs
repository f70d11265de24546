//! What other processes on the host are told: the directory's status file.

use std::sync::atomic::{AtomicU64, Ordering};

use replication::waldir::{Status, StatusWriter, StatusWriterError, UnixMicros, WalDir};
use wal::{Lsn, SegmentSize, SystemId, TimelineId};

/// Publishes the receiver's positions. Used from the receiving task and from whichever thread syncs.
#[derive(Debug)]
pub(crate) struct Publisher {
    writer: StatusWriter,
    /// When the server was last heard, in microseconds since 1970; published with the next change.
    last_byte: AtomicU64,
    /// How far the server last said it was; published with the next change.
    server_end: AtomicU64,
}

/// One timeline being received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishedTimeline {
    pub(crate) timeline: TimelineId,
    /// Where it left its parent; 0/0 for timeline 1.
    pub(crate) start: Lsn,
}

impl Publisher {
    pub(crate) fn create(
        dir: &WalDir,
        system_id: SystemId,
        segment_size: SegmentSize,
    ) -> Result<Self, StatusWriterError> {
        let first = Status { system_id: Some(system_id), segment_size: Some(segment_size), ..Status::new() };
        let writer = StatusWriter::create(dir, first)?;
        Ok(Self { writer, last_byte: AtomicU64::new(0), server_end: AtomicU64::new(0) })
    }

    /// Streaming starts; the directory is proven up to `proven` on this timeline. A timeline that others already
    /// read stays published until the new one has everything from its start on.
    pub(crate) fn streaming(&self, now: PublishedTimeline, proven: Lsn) {
        self.heard(None);
        self.update(|status| {
            status.connected = true;
            status.connected_since = Some(UnixMicros::now());
            if !status.flush.is_valid() {
                status.timeline = now.timeline;
                status.timeline_start = now.start;
            }
        });
        self.durable(now, proven);
    }

    pub(crate) fn disconnected(&self) {
        self.update(|status| {
            status.connected = false;
            status.connected_since = None;
        });
    }

    /// The server was heard, and may have said how far it is.
    pub(crate) fn heard(&self, server_end: Option<Lsn>) {
        self.last_byte.store(UnixMicros::now().as_u64(), Ordering::Relaxed);
        if let Some(end) = server_end {
            self.server_end.store(end.as_u64(), Ordering::Relaxed);
        }
    }

    /// Publishes what [`Self::heard`] noted although no position has changed.
    pub(crate) fn refresh(&self) {
        self.update(|_| {});
    }

    /// Everything on `now` before `position` is durable.
    pub(crate) fn durable(&self, now: PublishedTimeline, position: Lsn) {
        self.update(|status| {
            if status.timeline == now.timeline {
                if position <= status.flush {
                    return;
                }
            } else if position < now.start {
                return; // the copy of the segment's shared head is not complete yet
            }
            status.timeline = now.timeline;
            status.timeline_start = now.start;
            status.flush = position;
            status.write = position;
            status.last_durable_at = Some(UnixMicros::now());
        });
    }

    /// Everything before `position` has been replayed.
    pub(crate) fn applied(&self, position: Lsn) {
        self.update(|status| status.apply = position.min(status.flush).max(status.apply));
    }

    /// Replay has stopped for want of space, or goes on.
    pub(crate) fn replay_stopped(&self, stopped: bool) {
        self.update(|status| status.replay_stopped = stopped);
    }

    /// Receiving has stopped for want of space, or goes on.
    pub(crate) fn receiving_stopped(&self, stopped: bool) {
        self.update(|status| status.receiving_stopped = stopped);
    }

    /// What is published now.
    pub(crate) fn current(&self) -> Status {
        self.writer.current()
    }

    fn update(&self, change: impl FnOnce(&mut Status)) {
        self.writer.update(|status| {
            change(status);
            status.last_byte_at = UnixMicros::new(self.last_byte.load(Ordering::Relaxed));
            status.server_end = Lsn::new(self.server_end.load(Ordering::Relaxed));
        });
    }
}
