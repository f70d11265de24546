//! One slot, in use.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use disk::Disk;
use wal::{Lsn, TimelineId};

use super::SlotName;
use super::state::SlotInfo;
use super::store::{SlotError, SlotLock, at};

/// A slot in use by this connection, until dropped.
///
/// Positions are kept in memory and written at most once an interval ([`Slot::WRITE_INTERVAL`]): what a crash
/// forgets only makes the follower be offered WAL that it has, never lack any.
#[derive(Debug)]
pub struct Slot {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    name: SlotName,
    /// What the follower said last.
    info: SlotInfo,
    /// What is in the file; behind `info` by at most an interval's progress.
    written: SlotInfo,
    last_write: Option<Instant>,
    _lock: SlotLock,
}

impl Slot {
    /// The least time between two durable writes caused by [`Slot::advance`].
    pub const WRITE_INTERVAL: Duration = Duration::from_secs(1);

    pub(super) fn new(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        name: SlotName,
        info: SlotInfo,
        lock: SlotLock,
    ) -> Self {
        Self { disk, path, name, info, written: info, last_write: None, _lock: lock }
    }

    /// The slot's name.
    pub fn name(&self) -> &SlotName {
        &self.name
    }

    /// Where the slot stands.
    pub fn info(&self) -> SlotInfo {
        self.info
    }

    /// Moves the slot to what the follower says is durable with it, writing that down if the last write is long
    /// enough ago. `now` is the caller's clock.
    pub fn advance(&mut self, restart_lsn: Lsn, timeline: TimelineId, now: Instant) -> Result<(), SlotError> {
        self.info = SlotInfo::at(restart_lsn, timeline);
        let due = self.last_write.is_none_or(|last| now.duration_since(last) >= Self::WRITE_INTERVAL);
        if due && self.info != self.written {
            self.write()?;
            self.last_write = Some(now);
        }
        Ok(())
    }

    /// Writes down, durably, what has not been yet: call it when the follower goes, and from time to time while it
    /// says nothing new.
    pub fn flush(&mut self) -> Result<(), SlotError> {
        if self.info == self.written { Ok(()) } else { self.write() }
    }

    pub(super) fn write(&mut self) -> Result<(), SlotError> {
        disk::durable_write(&*self.disk, &self.path, self.info.to_text().as_bytes())
            .map_err(at(&self.path))?;
        self.written = self.info;
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(slot = %self.name, %error, "could not write down the slot's last position");
        }
    }
}
