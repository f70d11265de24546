//! A standby whose history is another one than its source's: what it remembers of that, and what ends it.
//!
//! Invariant: while there is a [`Refusal`] nobody is told that the pages can be read, however consistent they are. WAL is
//! received and replayed meanwhile, as far as the source's history has been found to be this directory's.

use tracing::{error, info, warn};
use wal::{Lsn, TimelineId};

use super::Driver;
use crate::standby::refusal::Refusal;
use crate::standby::{RestoreCommand, StandbyError, failed};

impl Driver {
    /// Says, at the start, why nobody is let in.
    pub(super) fn say_why_refused(&self) {
        if let Some(Refusal { timeline, since, reason, .. }) = &self.refusal {
            warn!(
                "this standby has been refused since {since}, and lets nobody in: {reason}. It is read again once the timeline \
                 {timeline} of what it follows has been found to be its own: let primary_conninfo lead to such a server, or \
                 promote this one, if its history is to live"
            );
        }
    }

    /// The source has another timeline of the number `timeline`, which begins at `theirs` there and at `ours` here. Remembered
    /// before anybody hears of it; where it cannot be, the process ends all the same.
    pub(super) fn refuse(
        &self,
        timeline: TimelineId,
        ours: Lsn,
        theirs: Lsn,
        reason: String,
    ) -> StandbyError {
        let directory = self.options().data_directory;
        let refusal = Refusal::new(timeline, ours, theirs, &reason);
        if let Err(error) = refusal.record(&**self.dir.disk(), &directory) {
            error!("a restart will not know that this standby is refused: {error}");
        }
        StandbyError::Diverged(reason)
    }

    /// A source's history has been compared: what it says of this directory's timeline is what this directory says.
    pub(super) fn history_agrees(&mut self) -> Result<(), StandbyError> {
        if self.refusal.is_none() {
            return Ok(());
        }
        let directory = self.options().data_directory;
        Refusal::take_away(&**self.dir.disk(), &directory)
            .map_err(failed("remove", &Refusal::path(&directory)))?;
        self.refusal = None;
        info!("this standby is refused no more: the history of what it follows is its own");
        self.tell_consistent();
        Ok(())
    }

    /// Lets everybody in, once, when the pages are as of one LSN and nothing speaks against it.
    pub(super) fn tell_consistent(&mut self) {
        if !self.told_consistent && self.refusal.is_none() && self.standby.is_consistent() {
            self.told_consistent = true;
            self.shared.events.consistent();
        }
    }

    /// Compares this directory's own history with the archive's, which has no connection to ask it by. Only to have a refusal
    /// end: WAL of another history does not follow on what is here.
    pub(super) fn compare_with_archive(&mut self, command: &RestoreCommand) -> Result<(), StandbyError> {
        if self.refusal.is_none() {
            return Ok(());
        }
        let timeline = self.history.timeline();
        let Some(ours) = self.dir.history_bytes(timeline)? else { return Ok(()) };
        let theirs = self.archive(command, &self.options()).history(timeline)?;
        let Some(theirs) = theirs else { return Ok(()) };
        if theirs == ours {
            return self.history_agrees();
        }
        let begin = |bytes: &[u8]| {
            wal::TimelineHistory::parse(timeline, bytes).map_or(Lsn::INVALID, |history| history.begin())
        };
        let (ours, theirs) = (begin(&ours), begin(&theirs));
        let reason = format!(
            "the archive's history of timeline {timeline} is another one, which begins at {theirs} and not at {ours} as here: \
             take a new base backup, or promote this server, if its history is to live"
        );
        Err(self.refuse(timeline, ours, theirs, reason))
    }
}
