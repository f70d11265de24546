//! Newer timelines: which may be followed, and how replay goes over to them.
//!
//! Invariant: nothing is followed that lacks what was replayed, or what may be on the pages. That is asked of the newest
//! history at every start and whenever there is a newer one, and the answer stays the same for as long as its file is
//! there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wal::{Lsn, TimelineId};

use super::{Driver, Standby};
use crate::EngineError;
use crate::control::ClusterState;
use crate::engine::TimelinePosition;

impl Standby {
    /// What was a leader's directory, all of whose own log is replayed, is a standby's from now on, if its progress is in
    /// the newest history that is known.
    pub(super) fn become_standby(&self, driver: &mut Driver) -> Result<(), EngineError> {
        let Driver { directory, replayer, reader, wal, .. } = &mut *driver;
        // Runs that never committed are on no page.
        let (timeline, lsn) = (replayer.timeline(), replayer.end().max(directory.checkpoint_start));
        directory
            .check(TimelinePosition { timeline, lsn }, &directory.history(directory.newest_timeline()?)?)?;
        directory.control.update(|control| {
            control.state = ClusterState::ArchiveRecovery;
            control.min_recovery_point = lsn;
            control.min_recovery_timeline = timeline;
        });
        wal.bound_by(Arc::clone(&directory.control), reader.source().history.clone());
        wal.reached(lsn);
        self.follow(driver)?;
        self.replay(driver, Lsn::MAX, true)
    }

    /// The leader has begun a newer timeline, whose history file is in `pg_wal`: replay follows it. What was read of an
    /// unfinished transaction past the fork is forgotten, so [`Standby::read_to`] may go back.
    ///
    /// # Errors
    /// [`EngineError::Diverged`] if something that the newest timeline has discarded was replayed, or is on the pages. It
    /// stays so, for the file stays where it is.
    pub fn follow_newest_timeline(&self) -> Result<TimelineId, EngineError> {
        self.follow(&mut self.driver())
    }

    fn follow(&self, driver: &mut Driver) -> Result<TimelineId, EngineError> {
        let Driver { directory, reader, replayer, wal, .. } = driver;
        let newest = directory.newest_timeline()?;
        let history = directory.history(newest)?;
        let replayed = TimelinePosition { timeline: replayer.timeline(), lsn: replayer.end() };
        // Where replay has stopped in the middle of a run, what it lacks the space for is ahead of that.
        let applied = TimelinePosition { lsn: replayer.applied(), ..replayed };
        // Before it is consistent, pages are ahead of replay; afterwards replay is ahead of the files, which alone are left
        // after a restart.
        let on_pages = directory.check(directory.admitted(), &history);
        match directory.check(applied, &history) {
            Err(EngineError::Diverged { progress, newer, left, .. }) => {
                let in_memory = on_pages.is_ok();
                return Err(EngineError::Diverged { progress, newer, left, in_memory });
            }
            applied => applied.and(on_pages)?,
        }
        let source = directory.source(newest)?;
        let left = reader.source().history.parts_from(&source.history);
        let rewound = left.is_some_and(|left| left < reader.position());
        if rewound {
            let end = if replayed.lsn.is_valid() { replayed.lsn } else { directory.checkpoint.redo };
            reader.rewind(end, replayed.lsn.is_valid().then(|| replayer.last()));
            self.read_to.store(end.as_u64(), Ordering::Relaxed);
        }
        wal.follow(source.history.clone());
        reader.set_history(source.history.clone());
        replayer.set_source(source, rewound);
        Ok(newest)
    }
}
