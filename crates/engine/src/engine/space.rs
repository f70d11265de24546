//! Space on the disks: claimed for pages before they are logged, and freed for the log when it has run out.

use super::Engine;
use crate::EngineError;
use crate::checkpoint::Cause;
use crate::run::Run;

impl Engine {
    /// Claims the space of what `run`, whose writer the caller is, adds to the files. Where there is none, files of trees that
    /// were dropped make room if they can go by now, and for a run that `frees` more than it takes what is set aside for
    /// those.
    ///
    /// # Errors
    /// There is no space: nothing of the run may be logged.
    pub(crate) fn claim_space(&self, run: &Run<'_>, frees: bool) -> Result<(), EngineError> {
        let Err(error) = run.claim_space() else { return Ok(()) };
        if !error.is_disk_full() {
            return Err(error);
        }
        self.remove_dropped();
        let again = run.claim_space();
        if again.is_err() && frees && self.pool.files().give_up_reserve() {
            return run.claim_space();
        }
        again
    }

    /// There is no space for the log: has a checkpoint made, which finds segments to use again.
    pub(crate) fn free_log(&self) {
        if let Some(checkpointer) = self.checkpointer.get() {
            checkpointer.ask(Cause::LogFull);
        }
    }
}
