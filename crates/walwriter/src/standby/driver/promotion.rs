//! From follower to leader.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use engine::checkpoint::Cause;
use engine::{Engine, EngineError};
use walreceiver::standby::StandbyStatusFile;

use super::{ATTEMPTS, Driver};
use crate::process::STANDBY_SIGNAL;
use crate::standby::refusal::Refusal;
use crate::standby::{StandbyError, failed, signal_file};

impl Driver {
    /// Ends following. The receiver is gone.
    pub(super) fn promote(&mut self) -> Result<(), StandbyError> {
        tracing::info!("received promote request");
        let Some(engine) = self.begin_leading()? else { return Ok(()) };
        let data_directory = self.options().data_directory;
        let path = data_directory.join(STANDBY_SIGNAL);
        signal_file::remove_standby_signal(&data_directory).map_err(|source| StandbyError::File {
            action: "remove",
            path,
            source,
        })?;
        // Somebody has decided for this history. Should this be left behind, the next start as a leader removes it.
        let refusal = Refusal::path(&data_directory);
        Refusal::take_away(&**self.dir.disk(), &data_directory).map_err(failed("remove", &refusal))?;
        self.shared.events.promoted(&engine);
        // Until there is one, a crash replays everything since the last restartpoint.
        let checkpoint = thread::Builder::new().name("promotion checkpoint".to_owned()).spawn(move || {
            if let Err(error) = engine.checkpoint(Cause::Spread) {
                tracing::warn!("the checkpoint after the promotion failed: {}", error.chain());
            }
        });
        checkpoint.map(drop).map_err(StandbyError::Thread)
    }

    /// Makes the engine a leader's; `None` if the server stops before. Where a disk is full it stays a standby that serves
    /// reads, which is said once, and this waits for space.
    fn begin_leading(&mut self) -> Result<Option<Arc<Engine>>, StandbyError> {
        let mut said = false;
        loop {
            // The log publishes its positions itself from now on.
            *self.shared.status.lock() = None;
            let error = match self.standby.promote("no recovery target specified") {
                Err(error) if error.is_disk_full() || matches!(error, EngineError::Stopped(_)) => error,
                outcome => return Ok(Some(outcome?)),
            };
            if !std::mem::replace(&mut said, true) {
                tracing::error!(
                    "the promotion waits for space: {}; reads are served, and it goes on by itself once there is some",
                    error.chain()
                );
            }
            self.standby.engine().free_log();
            self.publish_again()?;
            if self.shared.inbox.wait(Some(Instant::now() + ATTEMPTS)).stop {
                return Ok(None);
            }
        }
    }

    /// It is a standby still, whose followers read its positions.
    fn publish_again(&mut self) -> Result<(), StandbyError> {
        let (system_id, size) = (self.cluster.system_id, self.cluster.segment_size);
        *self.shared.status.lock() = Some(StandbyStatusFile::create(&self.dir, system_id, size)?);
        self.replay(self.durable)
    }
}
