//! The thread that keeps replay going.
//!
//! In turns: what files have (`files`), then what the leader sends (`streaming`), then a wait, until a promotion
//! (`promotion`) or a stop ends it. Who was refused by its source (`refused`) does the same, and lets nobody in. Full disks
//! stop one or the other, and end nothing (`space`).

mod files;
mod promotion;
mod refused;
mod space;
mod streaming;

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::EngineError;
use replication::waldir::WalDir;
use wal::{Lsn, TimelineHistory};

use super::extent::Cluster;
use super::inbox::News;
use super::refusal::Refusal;
use super::{Shared, StandbyError, StandbyOptions};

/// The first wait after a failure; they double up to `wal_retrieve_retry_interval`.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How often replay that has stopped for want of space is tried again.
const ATTEMPTS: Duration = Duration::from_secs(1);

/// The thread's own state.
pub(super) struct Driver {
    standby: Arc<engine::Standby>,
    shared: Arc<Shared>,
    dir: WalDir,
    cluster: Cluster,
    /// The newest timeline that is followed, with its ancestors.
    history: TimelineHistory,
    /// The end of what is known to be durable here. Moved by what was received or validated; never ahead of that.
    durable: Lsn,
    told_consistent: bool,
    /// Why nobody is let in, whatever is consistent.
    refusal: Option<Refusal>,
    /// A promotion was asked for.
    wanted: bool,
    /// Replay has stopped for want of space, and is tried again from time to time. WAL is received meanwhile.
    stopped: bool,
    /// Receiving has stopped for want of space, which is looked for from time to time. What is there is replayed meanwhile.
    full: bool,
    wait: Duration,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Promote,
    Stop,
}

impl Driver {
    pub(super) fn new(
        standby: Arc<engine::Standby>,
        shared: Arc<Shared>,
        dir: WalDir,
        refusal: Option<Refusal>,
    ) -> Self {
        let log = standby.engine().log();
        let cluster = Cluster { system_id: log.system_id(), segment_size: log.segment_size() };
        Self {
            dir,
            cluster,
            history: TimelineHistory::root(),
            durable: standby.read_to(),
            told_consistent: false,
            refusal,
            wanted: false,
            stopped: false,
            full: false,
            wait: FIRST_WAIT,
            standby,
            shared,
        }
    }

    pub(super) fn run(mut self) {
        let outcome = self.follow();
        // Nobody is asked for anything any more.
        *self.shared.receiver.lock() = None;
        if let Err(error) = outcome
            && !matches!(error, StandbyError::Stopped)
        {
            self.shared.events.failed(&error);
        }
        *self.shared.ended.lock() = true;
        self.shared.changed.notify_all();
    }

    fn follow(&mut self) -> Result<(), StandbyError> {
        self.say_why_refused();
        self.follow_newest_timeline()?;
        self.replay(self.standby.read_to())?;
        loop {
            let next = match self.files()? {
                Next::GoOn => self.leader()?,
                other => other,
            };
            let next = match next {
                Next::GoOn => {
                    let until = Instant::now() + self.wait;
                    self.wait = (self.wait * 2).min(self.options().retry_interval.max(FIRST_WAIT));
                    let news = self.shared.inbox.wait(Some(until));
                    self.heed(news)
                }
                other => other,
            };
            match next {
                Next::GoOn => {}
                Next::Stop => return Ok(()),
                Next::Promote => return self.promote(),
            }
        }
    }

    fn options(&self) -> StandbyOptions {
        self.shared.options.lock().clone()
    }

    /// What news ask for.
    fn heed(&mut self, news: News) -> Next {
        if news.stop {
            return Next::Stop;
        }
        if news.reconnect {
            self.wait = FIRST_WAIT;
        }
        if news.promote && self.stopped {
            tracing::warn!("the promotion has to wait until replay goes on");
        }
        self.wanted |= news.promote;
        // Not before all that was received is in the pages.
        let can = self.standby.is_consistent() && !self.stopped;
        if self.wanted && can { Next::Promote } else { Next::GoOn }
    }

    /// Replays up to `durable`, and tells everybody.
    fn replay(&mut self, durable: Lsn) -> Result<(), StandbyError> {
        runtime::fault::panic_if_wanted("panic in replay");
        self.durable = self.durable.max(durable);
        if durable.is_valid() {
            match self.standby.replay_to(durable) {
                Ok(_) => self.goes_on(),
                Err(EngineError::Stopped(reason)) => self.stops(&reason),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(status) = &*self.shared.status.lock() {
            status.durable(&self.dir.history(self.history.timeline_at(durable))?, durable);
            status.applied(self.applied());
        }
        self.tell_consistent();
        Ok(())
    }

    fn applied(&self) -> Lsn {
        self.standby.engine().applied()
    }

    /// Goes over to the newest timeline whose history is in `pg_wal`. If that is not to be had without what was replayed,
    /// nothing may be read any more, now or after a restart: somebody has to decide which of the two histories is to live.
    fn follow_newest_timeline(&mut self) -> Result<(), StandbyError> {
        match self.standby.follow_newest_timeline() {
            Ok(newest) => {
                if newest != self.history.timeline() {
                    tracing::info!("following timeline {newest}");
                    // What was received past the fork is of no use.
                    self.durable = self.durable.min(self.standby.read_to());
                }
                self.history = self.dir.history(newest)?;
            }
            Err(error @ EngineError::Diverged { .. }) => return Err(error.into()),
            Err(error) => {
                tracing::error!("{}", error.chain());
                self.history = self.dir.history(self.standby.timeline())?;
            }
        }
        Ok(())
    }
}
