//! The status file of a standby's `pg_wal`, which its cascading followers are served by.

use std::sync::Arc;

use replication::waldir::{Status, StatusWriterError, WalDir};
use wal::{Lsn, SegmentSize, SystemId, TimelineHistory};

use crate::receive::publisher::{PublishedTimeline, Publisher};

/// The directory's status file, this process being its one writer until this is dropped.
#[derive(Clone, Debug)]
pub struct StandbyStatusFile {
    publisher: Arc<Publisher>,
}

impl StandbyStatusFile {
    /// Takes over the file in `dir`.
    ///
    /// # Errors
    /// Another process writes there; or the file cannot be made.
    pub fn create(
        dir: &WalDir,
        system_id: SystemId,
        segment_size: SegmentSize,
    ) -> Result<Self, StatusWriterError> {
        let publisher = Publisher::create(dir, system_id, segment_size)?;
        Ok(Self { publisher: Arc::new(publisher) })
    }

    /// Everything on the newest timeline of `history` before `position` is durable here, wherever it came from.
    pub fn durable(&self, history: &TimelineHistory, position: Lsn) {
        self.publisher.durable(published(history), position);
    }

    /// Everything before `position` has been replayed.
    pub fn applied(&self, position: Lsn) {
        self.publisher.applied(position);
    }

    /// Replay has stopped for want of space, or goes on.
    pub fn replay_stopped(&self, stopped: bool) {
        self.publisher.replay_stopped(stopped);
    }

    /// Receiving has stopped for want of space, or goes on.
    pub fn receiving_stopped(&self, stopped: bool) {
        self.publisher.receiving_stopped(stopped);
    }

    /// What is published now.
    pub fn current(&self) -> Status {
        self.publisher.current()
    }

    pub(super) fn publisher(&self) -> Arc<Publisher> {
        Arc::clone(&self.publisher)
    }
}

pub(super) fn published(history: &TimelineHistory) -> PublishedTimeline {
    PublishedTimeline {
        timeline: history.timeline(),
        start: history.entries().last().map_or(Lsn::INVALID, |parent| parent.switch_point),
    }
}
