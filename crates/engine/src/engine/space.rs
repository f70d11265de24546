//! Space on the disks: claimed for pages before they are logged, and freed for the log when it has run out.

use wal::Lsn;

use super::Engine;
use crate::EngineError;
use crate::checkpoint::Cause;
use crate::log::{Room, record};
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

    /// Ends the segment that is being written (`pg_switch_wal`): the end of what was appended, durable only after a flush.
    ///
    /// # Errors
    /// There is no space for the next one: nothing was appended.
    pub fn switch_segment(&self) -> Result<Lsn, EngineError> {
        self.log.switch_segment().inspect_err(|_| self.free_log())
    }

    /// Appends a restore point (`pg_create_restore_point`) and gives its end; durable only after a flush.
    ///
    /// # Errors
    /// There is no space for it: nothing was appended.
    pub fn create_restore_point(&self, name: &str) -> Result<Lsn, EngineError> {
        let mut encoded = Vec::new();
        record::encode_restore_point(&mut encoded, record::now(), name);
        let appended = self.log.appender().try_append(&mut encoded, Room::Ordinary);
        appended.map(|placed| placed.end).inspect_err(|_| self.free_log())
    }

    /// There is no space for the log: has a checkpoint made, on a standby a restartpoint, which finds segments to use again
    /// or to remove. Does not wait for it.
    pub fn free_log(&self) {
        if let Some(checkpointer) = self.checkpointer.get() {
            checkpointer.ask(Cause::LogFull);
        }
    }
}
