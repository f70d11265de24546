//! A hot standby: an engine whose pages follow somebody else's log.
//!
//! Whoever receives WAL writes it to `pg_wal` and syncs it, and then calls [`Standby::replay_to`]; what was replayed is
//! seen by new snapshots at once, a whole batch of transactions at a time. Restartpoints bound what a restart has to
//! replay again. [`Standby::promote`] ends the following: a new timeline begins, and the engine takes writes.
//!
//! Until the pages are consistent (the end of the base backup it began with, or everything that it had replayed before
//! a crash) nothing may be read: [`Standby::is_consistent`] tells.

mod follow;
mod promote;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use disk::Disk;
use runtime::sync::{Mutex, MutexGuard};
use tracing::{info, warn};
use wal::payload::RecordTime;
use wal::{Lsn, TimelineId};

use crate::buffer::WalBeforeData;
use crate::control::ClusterState;
use crate::engine::{Directory, Parts, RecoveryWal, TimelinePosition};
use crate::log::{Log, LogStart};
use crate::replay::{LogReader, Met, Progress, Replayer};
use crate::{Engine, EngineError, EngineOptions};

/// How much log a standby that lags behind replays before it shows that, in bytes: a page is copied once in all of it. A
/// tenth of a second's work.
const SHOWN_AT_ONCE: u64 = 16 << 20;

/// A standby over a data directory.
pub struct Standby {
    engine: Arc<Engine>,
    driver: Mutex<Driver>,
    consistent: AtomicBool,
    /// See the functions of the same names. Moved by whoever replays; `replayed <= read_to`.
    replayed: AtomicU64,
    read_to: AtomicU64,
    /// When the last transaction replayed was committed, in microseconds; `i64::MIN` if none was.
    committed_at: AtomicI64,
    /// The timeline that its promotion began, once it was promoted.
    promoted: OnceLock<TimelineId>,
}

/// What replays: one caller at a time.
struct Driver {
    directory: Directory,
    reader: LogReader,
    replayer: Replayer,
    /// What the pool asks before it writes a page.
    wal: Arc<RecoveryWal>,
    /// Where the pages are consistent, as far as the control file knows it.
    consistent_at: Lsn,
    /// A page that is newer than what is replayed has been told of.
    told_beyond: bool,
    /// The redo position of the last checkpoint replayed, or of the one that replay began with.
    redo: Lsn,
}

impl fmt::Debug for Standby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standby")
            .field("replayed", &self.replayed())
            .field("consistent", &self.is_consistent())
            .finish_non_exhaustive()
    }
}

impl Standby {
    /// Opens the data directory `dir` as a standby's, and replays what its `pg_wal` holds of the newest timeline.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: EngineOptions) -> Result<Arc<Self>, EngineError> {
        let directory = Directory::open(disk, dir)?;
        let control = directory.control.get();
        directory.sync_log()?;
        let was_leader = directory.was_leader();
        // A leader's progress is the end of its own log, which has to be found before another history is looked at.
        let timeline = if was_leader { directory.own_timeline() } else { directory.newest_timeline()? };
        if !was_leader {
            directory.check(directory.admitted(), &directory.history(timeline)?)?;
        }
        let source = directory.source(timeline)?;
        let start = LogStart {
            system_id: control.system_id,
            timeline: source.history.timeline(),
            timeline_start: Lsn::INVALID,
            position: directory.checkpoint.redo,
            prev: Lsn::INVALID,
            clean: true,
            aborted: None,
        };
        let log_options = directory.log_options(&options);
        let log = Log::follow(Arc::clone(&directory.disk), &directory.wal_path(), log_options, start)?;
        let log = Arc::new(log);
        log.set_initial_redo(directory.checkpoint.redo);
        // Nothing is replayed that is not durable here.
        let wal = Arc::new(RecoveryWal::default());
        let pool = directory.pool(Arc::clone(&wal) as Arc<dyn WalBeforeData>, &options);
        let replayer = Replayer::new(Arc::clone(&pool), source.clone(), &directory.checkpoint);
        // What an orderly or crashed leader left is consistent where its log ends at the earliest, and so is what a standby
        // had replayed; for a backup its label decides.
        let consistent_at = match &directory.label {
            Some(label) if !label.from_standby => Lsn::MAX,
            _ => control.min_recovery_point.max(directory.checkpoint_start),
        };
        if !was_leader {
            directory.control.update(|control| control.state = ClusterState::ArchiveRecovery);
            wal.bound_by(Arc::clone(&directory.control), source.history.clone());
        }
        let numbers = replayer.numbers();
        let engine =
            Engine::assemble(Parts { options, pool, log, numbers, applied: Lsn::INVALID, read_only: true });
        engine.start_checkpointer(Arc::clone(&directory.control))?;
        let reader = LogReader::new(source, directory.checkpoint.redo);
        let redo = directory.checkpoint.redo;
        info!("redo starts at {redo}");
        let standby = Arc::new(Self {
            engine,
            driver: Mutex::new(Driver {
                directory,
                reader,
                replayer,
                wal,
                consistent_at,
                told_beyond: false,
                redo,
            }),
            consistent: AtomicBool::new(false),
            replayed: AtomicU64::new(0),
            read_to: AtomicU64::new(0),
            committed_at: AtomicI64::new(i64::MIN),
            promoted: OnceLock::new(),
        });
        let mut driver = standby.driver();
        standby.replay(&mut driver, Lsn::MAX, true)?;
        if was_leader {
            standby.become_standby(&mut driver)?;
        }
        drop(driver);
        Ok(standby)
    }

    /// The engine, which reads only until the promotion.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Whether the pages are as of one LSN, so that they can be read. Never becomes false again.
    pub fn is_consistent(&self) -> bool {
        self.consistent.load(Ordering::Acquire)
    }

    /// The end of the last record replayed, or of the last whole transaction: where a receiver goes on, at the latest.
    pub fn replayed(&self) -> Lsn {
        Lsn::new(self.replayed.load(Ordering::Acquire))
    }

    /// Up to where `pg_wal` holds valid records, whole transactions or not, as far as replay has looked.
    pub fn read_to(&self) -> Lsn {
        Lsn::new(self.read_to.load(Ordering::Relaxed))
    }

    /// The timeline of what was replayed last.
    pub fn timeline(&self) -> TimelineId {
        self.driver().replayer.timeline()
    }

    /// When the last transaction that was replayed committed, by the leader's clock.
    pub fn last_commit(&self) -> Option<RecordTime> {
        Some(self.committed_at.load(Ordering::Relaxed)).filter(|&at| at != i64::MIN).map(RecordTime::new)
    }

    /// Replays what `pg_wal` holds up to `durable`, which its receiver has synced. Returns up to where it is replayed. After
    /// [`EngineError::Stopped`] it can be called again, and goes on where it stopped.
    pub fn replay_to(&self, durable: Lsn) -> Result<Lsn, EngineError> {
        let mut driver = self.driver();
        self.replay(&mut driver, durable, false)?;
        Ok(driver.replayer.end())
    }

    /// Makes a last restartpoint. Nothing may be replayed afterwards.
    pub fn shutdown(&self) -> Result<(), EngineError> {
        self.engine.shutdown()
    }

    fn driver(&self) -> MutexGuard<'_, Driver> {
        self.driver.lock()
    }

    /// Replays up to `limit`. At the start all there is is durable, since it was synced.
    fn replay(&self, driver: &mut Driver, limit: Lsn, at_start: bool) -> Result<(), EngineError> {
        if self.promoted.get().is_some() {
            return Ok(());
        }
        let log = self.engine.log();
        if !at_start {
            log.advance(limit, driver.reader.source().history.timeline_at(limit));
        }
        loop {
            let progress = Self::apply_some(driver, limit)?;
            let Driver { reader, replayer, .. } = &mut *driver;
            if at_start {
                log.advance(reader.position(), replayer.timeline());
            }
            self.read_to.store(reader.position().as_u64(), Ordering::Relaxed);
            let met = driver.replayer.publish()?;
            driver.wal.reached(met.end);
            self.act_on(driver, met)?;
            // At the start pages in the files may be as new as the last record here: only then they are as of one LSN.
            let ended = matches!(progress, Progress::End(_));
            if ended || !at_start {
                self.check_consistency(driver)?;
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Applies what there is up to `limit`, as far as it should be before it is shown.
    fn apply_some(driver: &mut Driver, limit: Lsn) -> Result<Progress, EngineError> {
        let Driver { reader, replayer, .. } = driver;
        let start = reader.position();
        loop {
            let progress = reader.read(limit, |record| replayer.apply(record))?;
            if matches!(progress, Progress::End(_)) || reader.position().bytes_since(start) >= SHOWN_AT_ONCE {
                return Ok(progress);
            }
        }
    }

    /// Shows what was replayed, and does what it asks for.
    fn act_on(&self, driver: &mut Driver, met: Met) -> Result<(), EngineError> {
        if let Some(time) = met.committed_at {
            self.committed_at.store(time.as_micros(), Ordering::Relaxed);
        }
        for (end, tree) in met.dropped {
            self.engine.dropped.add(end, &[tree]);
        }
        if let Some((record, checkpoint)) = met.checkpoint {
            driver.redo = checkpoint.redo;
            let reached = TimelinePosition { timeline: driver.replayer.timeline(), lsn: met.end };
            self.engine.set_restart(record, checkpoint, reached);
        }
        let backup_ended = driver.directory.label.is_some_and(|label| met.backup_ends.contains(&label.redo));
        if backup_ended {
            driver.consistent_at = met.end;
        }
        if self.is_consistent() {
            self.engine.show_replayed(met.end);
        }
        let before = self.replayed();
        assert!(before <= met.end, "replay never goes back: from {before} to {}", met.end);
        let read_to = if runtime::fault::is_wanted("replay more than was read") {
            Lsn::INVALID
        } else {
            self.read_to()
        };
        assert!(
            met.end <= read_to,
            "nothing is replayed, up to {}, that was not read, up to {read_to}",
            met.end
        );
        self.replayed.store(met.end.as_u64(), Ordering::Release);
        self.engine.remove_dropped();
        Ok(())
    }

    /// Opens the standby for reads if its pages are as of one LSN now.
    fn check_consistency(&self, driver: &mut Driver) -> Result<(), EngineError> {
        let end = driver.replayer.end();
        // The end of what was read is enough: the position to reach may be in the middle of a run.
        if self.is_consistent() || driver.reader.position() < driver.consistent_at || !end.is_valid() {
            return Ok(());
        }
        if let Some(error) = driver.replayer.missing_page() {
            return Err(error);
        }
        // What is missing may still come from the leader.
        if let Err(error) = self.engine.pool.log_ended_at(driver.reader.position()) {
            if !std::mem::replace(&mut driver.told_beyond, true) {
                warn!("not consistent yet: {}", error.chain());
            }
            return Ok(());
        }
        self.engine.check_first_trees()?;
        info!("consistent recovery state reached at {end}");
        self.become_consistent(driver, end)
    }

    fn become_consistent(&self, driver: &mut Driver, end: Lsn) -> Result<(), EngineError> {
        if driver.directory.label.is_some() {
            // Without its label the directory would begin where the control file says: let that be where the label says.
            let (checkpoint, record) = (driver.directory.checkpoint, driver.directory.checkpoint_start);
            let timeline = driver.replayer.timeline();
            driver.directory.control.update(|control| {
                control.checkpoint = record;
                control.checkpoint_copy.redo = checkpoint.redo;
                control.checkpoint_copy.timeline = checkpoint.timeline;
                // Pages may be newer already, of transactions that are published in pieces.
                if end > control.min_recovery_point {
                    control.min_recovery_point = end;
                    control.min_recovery_timeline = timeline;
                }
            });
            driver.directory.retire_label()?;
        }
        self.engine.show_replayed(end);
        self.consistent.store(true, Ordering::Release);
        Ok(())
    }
}
