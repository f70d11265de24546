//! Disks that are full: what stops, and how it goes on.
//!
//! The disk of the pages and that of the log can fill apart from each other. Without space for pages replay stops, and WAL is
//! received on; without space for WAL receiving stops, and what is there is replayed. Each is said once, in the log and in the
//! status file, is tried again from time to time, and said once more when it goes on.
//!
//! Invariant: only what is not begun is tried again. A segment is received only once its file has all of its space, so a full
//! disk shows before a byte of it is written; a write or fsync that fails ends the server.

use std::time::Instant;

use engine::EngineError;
use walreceiver::standby::has_space;

use super::{ATTEMPTS, Driver};
use crate::standby::StandbyError;

impl Driver {
    /// Replay cannot go on for now: said once.
    pub(super) fn stops(&mut self, reason: &EngineError) {
        if !std::mem::replace(&mut self.stopped, true) {
            tracing::error!(
                "replay has stopped at {}: {}; WAL is received all the same, reads are served, and replay goes on by itself \
                 once there is space",
                self.applied(),
                reason.chain()
            );
            self.publish_stopped();
        }
    }

    pub(super) fn goes_on(&mut self) {
        if std::mem::take(&mut self.stopped) {
            tracing::info!("replay goes on");
            self.publish_stopped();
        }
    }

    fn publish_stopped(&self) {
        if let Some(status) = &*self.shared.status.lock() {
            status.replay_stopped(self.stopped);
        }
    }

    /// When to try again to replay, if it has stopped.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        self.stopped.then(|| Instant::now() + ATTEMPTS)
    }

    /// There is no space for more WAL for now: said once.
    pub(super) fn receiving_stops(&mut self, reason: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.full, true) {
            tracing::error!(
                "receiving has stopped at {}: {reason}; reads are served, what is there is replayed, and receiving goes on by \
                 itself once there is space",
                self.durable
            );
            self.publish_full();
        }
    }

    /// Whether there is space for more WAL. If there was none before, and is now, that is said; if there still is none,
    /// restartpoints are made that remove what nobody needs.
    pub(super) fn can_receive(&mut self) -> Result<bool, StandbyError> {
        if !self.full {
            return Ok(true);
        }
        if !self.finds_space()? {
            self.standby.engine().free_log();
            return Ok(false);
        }
        self.full = false;
        tracing::info!("there is space for WAL again: receiving goes on");
        self.publish_full();
        Ok(true)
    }

    /// Whether there is space for a segment.
    pub(super) fn finds_space(&self) -> Result<bool, StandbyError> {
        has_space(&self.dir, self.cluster.segment_size).map_err(StandbyError::Receive)
    }

    fn publish_full(&self) {
        if let Some(status) = &*self.shared.status.lock() {
            status.receiving_stopped(self.full);
        }
    }
}
