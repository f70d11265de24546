//! Promotion: the end of following, and the beginning of a timeline.

use std::sync::Arc;

use tracing::info;
use wal::payload::{EndOfRecovery, XlogRecord};
use wal::{Lsn, TimelineId};

use super::{Driver, Standby};
use crate::control::ClusterState;
use crate::log::{NewTimeline, record};
use crate::{Engine, EngineError};

impl Standby {
    /// Replays what is left in `pg_wal`, begins a new timeline after the last whole transaction, and takes writes from then
    /// on. Whoever received WAL has stopped before. The caller should ask for a checkpoint soon: until there is one, a
    /// crash replays everything since the last restartpoint. `reason` is for the history file.
    ///
    /// Once the control file says that this is a leader (`DB_IN_PRODUCTION`), which is what `pg_ctl promote` waits for, writes
    /// are taken; and before it says so, durably, nothing is appended beyond the record that begins the timeline.
    ///
    /// # Errors
    /// After [`EngineError::Stopped`], and where [`EngineError::is_disk_full`], it still is a standby, and this can be
    /// called again once there is space.
    pub fn promote(&self, reason: &str) -> Result<Arc<Engine>, EngineError> {
        let mut driver = self.driver();
        if self.promoted.get().is_some() {
            return Ok(Arc::clone(&self.engine));
        }
        self.replay(&mut driver, Lsn::MAX, true)?;
        if !self.is_consistent() {
            return Err(EngineError::Directory(
                "cannot promote before the base backup that this standby began with is complete".to_owned(),
            ));
        }
        let Driver { directory, reader, replayer, redo, wal, .. } = &mut *driver;
        let position = replayer.end();
        info!("redo done at {}, received promote request", replayer.last());
        let timeline = TimelineId::new(directory.newest_timeline()?.as_u32() + 1);
        let previous = replayer.timeline();
        let parent = reader.source().history.clone();
        let log = self.engine.log();
        log.begin_timeline(&NewTimeline {
            timeline,
            position,
            prev: replayer.last(),
            parent,
            reason: reason.to_owned(),
        })?;
        log.set_initial_redo(*redo);
        let end = self.begin_history(timeline, previous)?;
        // The timeline exists: whatever fails from here on is not to be tried again.
        self.engine.remove_orphans().map_err(|error| EngineError::Directory(error.chain()))?;
        self.engine.take_writes(replayer.numbers(), || {
            // What a restart before the first checkpoint has to know: there is a newer timeline than the checkpoint's.
            directory.control.update(|control| {
                control.state = ClusterState::InProduction;
                control.min_recovery_point = end;
                control.min_recovery_timeline = timeline;
            });
            // Up to here the pages are a standby's, and each is admitted before it is written.
            wal.open(Arc::clone(log));
        });
        let _ = self.promoted.set(timeline);
        info!("selected new timeline ID: {timeline}; promotion complete");
        Ok(Arc::clone(&self.engine))
    }

    /// Appends the record that begins a timeline, and makes it durable. Returns its end.
    fn begin_history(&self, timeline: TimelineId, previous: TimelineId) -> Result<Lsn, EngineError> {
        let log = self.engine.log();
        let mut encoded = Vec::new();
        let begin = EndOfRecovery {
            time: (self.engine.options().clock)(),
            timeline,
            previous_timeline: previous,
            wal_level: 0,
        };
        record::encode_xlog(&mut encoded, &XlogRecord::EndOfRecovery(begin));
        let end = log.appender().append(&mut encoded).end;
        log.flush(end)?;
        Ok(end)
    }
}
