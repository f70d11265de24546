//! From follower to leader.

use std::thread;

use engine::checkpoint::Cause;

use super::Driver;
use crate::process::STANDBY_SIGNAL;
use crate::standby::refusal::Refusal;
use crate::standby::{StandbyError, failed, signal_file};

impl Driver {
    /// Ends following. The receiver is gone.
    pub(super) fn promote(&mut self) -> Result<(), StandbyError> {
        tracing::info!("received promote request");
        // The log publishes its positions itself from now on.
        *self.shared.status.lock() = None;
        let engine = self.standby.promote("no recovery target specified")?;
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
}
