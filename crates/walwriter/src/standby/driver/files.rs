//! What is in `pg_wal`, or can be fetched into it from the archive.

use wal::{Lsn, TimelineId};

use super::{Driver, Next};
use crate::standby::archive::Archive;
use crate::standby::extent::extent;
use crate::standby::{RestoreCommand, StandbyError, StandbyOptions};

impl Driver {
    /// The archive that `command` fetches from.
    pub(super) fn archive<'a>(
        &'a self,
        command: &'a RestoreCommand,
        options: &'a StandbyOptions,
    ) -> Archive<'a> {
        Archive {
            command,
            data_directory: &options.data_directory,
            dir: &self.dir,
            cluster: &self.cluster,
            running: &self.shared.running,
        }
    }

    /// Replays what is in `pg_wal` and in the archive, as far as that goes.
    pub(super) fn files(&mut self) -> Result<Next, StandbyError> {
        loop {
            let news = self.shared.inbox.peek();
            let next = self.heed(news);
            if next != Next::GoOn {
                return Ok(next);
            }
            let from = self.standby.read_to();
            let found = extent(&self.dir, &self.cluster, &self.history, from)?;
            if found.end > from {
                self.replay(found.end)?;
                if self.standby.read_to() > from {
                    continue;
                }
            }
            if !self.fetch(found.wanted)? {
                return Ok(Next::GoOn);
            }
        }
    }

    /// Fetches from the archive what replay wants next: the segment that begins at `wanted`, or a newer timeline. Where there is
    /// no space for it, there is none.
    fn fetch(&mut self, wanted: Lsn) -> Result<bool, StandbyError> {
        let options = self.options();
        let Some(command) = &options.restore_command else { return Ok(false) };
        if !self.can_receive()? {
            return Ok(false);
        }
        match self.fetch_by(command, &options, wanted) {
            // A command that finds no space fails in whatever way it likes.
            Err(error) if error.may_be_for_want_of_space() && !self.finds_space()? => {
                self.receiving_stops(&error);
                Ok(false)
            }
            outcome => outcome,
        }
    }

    fn fetch_by(
        &mut self,
        command: &RestoreCommand,
        options: &StandbyOptions,
        wanted: Lsn,
    ) -> Result<bool, StandbyError> {
        self.compare_with_archive(command)?;
        let archive = self.archive(command, options);
        // All of them first: one in between may have come to nothing (`findNewestTimeLine`).
        let mut newest = self.history.timeline();
        while archive.next_history(newest)? {
            newest = TimelineId::new(newest.as_u32().saturating_add(1));
        }
        if newest != self.history.timeline() {
            self.follow_newest_timeline()?;
            return Ok(true);
        }
        let segment = self.cluster.segment_size.segment_of(wanted);
        archive.segment(&self.history, segment, self.durable)
    }
}
