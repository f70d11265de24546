//! The log as the pool sees it while there is none to append to: during crash recovery, and on a
//! standby.

use std::sync::{Arc, OnceLock};

use runtime::sync::{Mutex, MutexGuard};
use wal::{Lsn, TimelineHistory};

use super::TimelinePosition;
use crate::EngineError;
use crate::buffer::WalBeforeData;
use crate::control::ControlStore;
use crate::log::Log;

/// Everything that is replayed has been made durable before; from the moment on that the log is open, it is asked.
///
/// On a standby the log is not all: the file of a page, once it is ahead of a fork, cannot go back. So before a page is
/// written, or a file removed, the minimum recovery point in the control file is raised beyond what that shows, durably
/// (`UpdateMinRecoveryPoint` in `access/transam/xlog.c`). A leader that recovers from a crash does without: its progress is
/// the end of its log, all of which it replays.
#[derive(Debug, Default)]
pub(crate) struct RecoveryWal {
    log: OnceLock<Arc<Log>>,
    replay: OnceLock<Replayed>,
}

/// What a standby has replayed, and how much of that its control file admits.
#[derive(Debug)]
struct Replayed {
    control: Arc<ControlStore>,
    reached: Mutex<Reached>,
}

#[derive(Debug)]
struct Reached {
    /// The timelines that are followed.
    history: TimelineHistory,
    /// The end of what was replayed and published. Moved by whoever replays.
    end: Lsn,
    /// The minimum recovery point as it is in the control file, which it is never ahead of.
    raised: Lsn,
}

impl RecoveryWal {
    /// Recovery is over: from now on there are records in `log` that are not durable yet.
    pub(crate) fn open(&self, log: Arc<Log>) {
        let _ = self.log.set(log);
    }

    /// This is a standby's directory: from now on pages are written only behind the minimum recovery point.
    pub(crate) fn bound_by(&self, control: Arc<ControlStore>, history: TimelineHistory) {
        let raised = control.get().min_recovery_point;
        let reached = Mutex::new(Reached { history, end: Lsn::INVALID, raised });
        let _ = self.replay.set(Replayed { control, reached });
    }

    /// Replay goes on along `history`.
    pub(crate) fn follow(&self, history: TimelineHistory) {
        if let Some(replay) = self.replay.get() {
            replay.reached().history = history;
        }
    }

    /// Everything up to `end` is replayed and published.
    pub(crate) fn reached(&self, end: Lsn) {
        if let Some(replay) = self.replay.get() {
            let mut reached = replay.reached();
            reached.end = reached.end.max(end);
        }
    }
}

impl Replayed {
    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock()
    }

    /// Raises the minimum recovery point to `lsn` at least, and to all that was replayed by now, so that the next pages
    /// need it no more.
    fn raise(&self, lsn: Lsn) {
        let mut reached = self.reached();
        if lsn <= reached.raised {
            return;
        }
        let to = reached.end.max(lsn);
        let timeline = reached.history.timeline_at(Lsn::new(to.as_u64().saturating_sub(1)));
        self.control.admit(TimelinePosition { timeline, lsn: to });
        reached.raised = to;
    }
}

impl WalBeforeData for RecoveryWal {
    fn flush(&self, lsn: Lsn) -> Result<(), EngineError> {
        match (self.log.get(), self.replay.get()) {
            (Some(log), _) => return log.flush(lsn),
            (None, Some(replay)) => replay.raise(lsn),
            (None, None) => {}
        }
        Ok(())
    }

    fn flushed(&self) -> Lsn {
        match (self.log.get(), self.replay.get()) {
            (Some(log), _) => log.flushed(),
            (None, Some(replay)) => replay.reached().raised,
            (None, None) => Lsn::MAX,
        }
    }
}
