//! The engine over one data directory, opened as what the directory says it is, a leader or a hot standby, together with
//! all that ships its log: followers served, commits that wait for them, WAL kept for them.
//!
//! Knows no SQL: whoever serves that opens sessions over [`Storage::engine`], and asks here for what concerns
//! replication.

mod confirmed_end;
mod loss;
mod options;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Waker;

use anyhow::Context as _;
use disk::Disk;
use engine::fatal::{fatal, refuse};
use engine::{Engine, EngineOptions, LogKeeper, Standby};
use replication::waldir::{SlotError, SlotName, WalDir};
use runtime::sync::{Condvar, Mutex};
use wal::Lsn;

use crate::config::Config;
use crate::process::{Early, EarlyRequests};
use crate::session::Awaited;
use crate::shipping::{self, FollowerRow, Retention, Shipping, ShippingOptions, SlotRow};
use crate::standby::{HotStandby, Promotion, ReceiverRow, Refusal, StandbyError, StandbyEvents, is_standby};
use crate::sync::SynchronousCommit;

/// What a storage is opened with.
pub struct StorageOptions<'a> {
    /// The data directory, which this process has locked.
    pub directory: &'a Path,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The configuration.
    pub config: &'a Config,
    /// The port that followers connect to.
    pub port: u16,
    /// Who is handed the followers; turned them away so far.
    pub shipping: Arc<Shipping>,
    /// To be called when a standby has become a leader.
    pub promoted: Arc<dyn Fn() + Send + Sync>,
    /// Where a standby is asked for a promotion before it can be read.
    pub early: Arc<EarlyRequests>,
    /// Where the log of a leader ends that has lost some of it, to open it all the same ([`EngineOptions::accept_loss`]).
    pub accept_loss: Option<Lsn>,
}

/// An engine, and all that ships its log.
pub struct Storage {
    engine: Arc<Engine>,
    /// On what was a standby when it was opened.
    standby: Option<Arc<HotStandby>>,
    shipping: Arc<Shipping>,
    synchronous: SynchronousCommit,
    retention: Arc<Retention>,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    dir: WalDir,
    limits: Mutex<Limits>,
}

/// What the slots' view compares with.
#[derive(Debug, Clone, Copy)]
struct Limits {
    max_wal_size: u64,
    max_slot_wal_keep_size: Option<u64>,
}

impl Limits {
    fn of(config: &Config) -> Self {
        Self {
            max_wal_size: config.bytes("max_wal_size").unwrap_or_default(),
            max_slot_wal_keep_size: config.bytes("max_slot_wal_keep_size"),
        }
    }
}

/// Waits for a standby to become readable.
struct Events {
    promoted: Arc<dyn Fn() + Send + Sync>,
    /// If it must be promoted before anybody may read (`hot_standby = off`).
    only_promoted: bool,
    readable: Mutex<bool>,
    changed: Condvar,
}

impl Events {
    fn set_readable(&self) {
        *self.readable.lock() = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let mut readable = self.readable.lock();
        while !*readable {
            readable = self.changed.wait(readable);
        }
    }
}

/// A standby that cannot be read yet.
struct Waiting {
    standby: Arc<HotStandby>,
    directory: PathBuf,
}

impl Early for Waiting {
    fn promote(&self) {
        self.standby.promote();
    }

    fn reload(&self, config: &Config) {
        match options::standby_options(&self.directory, config) {
            Ok(options) => self.standby.set_options(options),
            Err(error) => tracing::warn!("some settings stay as they were: {error:#}"),
        }
    }
}

impl StandbyEvents for Events {
    fn consistent(&self) {
        if !self.only_promoted {
            self.set_readable();
        }
    }

    fn promoted(&self, _: &Arc<Engine>) {
        self.set_readable();
        (self.promoted)();
    }

    fn failed(&self, error: &StandbyError) {
        match error {
            StandbyError::Diverged(_) => refuse(format_args!("this standby serves nobody any more: {error}")),
            error => fatal(format_args!("the standby cannot go on: {error}")),
        }
    }
}

impl Storage {
    /// Opens the directory; blocks for as long as a recovery takes, and on a standby until it can be read.
    ///
    /// # Errors
    /// Whatever is wrong with the directory or the configuration, in one line.
    pub fn open(options: StorageOptions<'_>) -> anyhow::Result<Self> {
        let StorageOptions { directory, disk, config, port, shipping, promoted, early, accept_loss } =
            options;
        let rule = options::rule(config)?;
        let known_confirmed =
            confirmed_end::take(&*disk, directory).context("could not tell what is confirmed")?;
        // Where nobody beside this server is asked, what is durable here is confirmed.
        let known_confirmed = if rule.asks_followers() { known_confirmed } else { Lsn::MAX };
        let dir = WalDir::new(directory.join("pg_wal"), Arc::clone(&disk));
        let limits = Limits::of(config);
        let most = limits.max_slot_wal_keep_size;
        // Before recovery, which ends with a checkpoint, and before replay, which makes restartpoints.
        let retention = Retention::new(dir.clone(), most);
        let keeper = Some(Arc::clone(&retention) as Arc<dyn LogKeeper>);
        let engine_options =
            EngineOptions { known_confirmed, keeper, accept_loss, ..options::engine_options(config) };
        let is_standby = is_standby(directory)
            .with_context(|| format!("could not read directory \"{}\"", directory.display()))?;
        let standby = if is_standby { Some(options::standby_options(directory, config)?) } else { None };
        let (engine, standby) = match standby {
            None => {
                let engine = Engine::open(Arc::clone(&disk), directory, engine_options);
                let engine = engine.map_err(|error| loss::advise(error, &dir, accept_loss))?;
                // Somebody has decided for this history.
                let forgotten = Refusal::take_away(&*disk, directory);
                forgotten.context("could not remove what says that this directory was refused")?;
                (engine, None)
            }
            Some(_) if accept_loss.is_some() => anyhow::bail!(loss::ON_A_STANDBY),
            Some(standby_options) => {
                let standby = Standby::open(Arc::clone(&disk), directory, engine_options)?;
                let events = Arc::new(Events {
                    promoted,
                    only_promoted: !config.is_on("hot_standby"),
                    readable: Mutex::new(false),
                    changed: Condvar::new(),
                });
                let engine = Arc::clone(standby.engine());
                let standby = HotStandby::start(standby, standby_options, Arc::clone(&events) as _)?;
                early.hear(Arc::new(Waiting {
                    standby: Arc::clone(&standby),
                    directory: directory.to_owned(),
                }));
                events.wait();
                (engine, Some(standby))
            }
        };
        let synchronous = SynchronousCommit::start(&engine, dir.clone(), rule)?;
        let settings = options::sender_settings(config);
        let data_directory = directory.to_owned();
        let moved = synchronous.followers_moved();
        shipping.open(ShippingOptions { data_directory, port, settings, moved }, &engine)?;
        let (directory, limits) = (directory.to_owned(), Mutex::new(limits));
        Ok(Self { engine, standby, shipping, synchronous, retention, disk, directory, dir, limits })
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Whether this is a standby at the moment.
    pub fn in_recovery(&self) -> bool {
        self.engine.is_read_only()
    }

    /// The standby, while this is one.
    pub fn standby(&self) -> Option<&Arc<HotStandby>> {
        self.standby.as_ref().filter(|_| self.in_recovery())
    }

    /// Asks for a promotion, or how far one is, without blocking; `None` if this never was a standby.
    pub fn promote(&self) -> Option<Promotion> {
        self.standby.as_ref().map(|standby| standby.promote())
    }

    /// Makes a leader of a standby; returns when writes are taken.
    ///
    /// # Errors
    /// It is none; or the server stops before.
    pub fn promote_now(&self) -> anyhow::Result<()> {
        let standby = self.standby().context("the server is not in standby mode")?;
        Ok(standby.promote_now()?)
    }

    /// Takes over what can be changed while the server runs.
    ///
    /// # Errors
    /// Settings that make no sense; the others are taken over.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        let limits = Limits::of(config);
        *self.limits.lock() = limits;
        self.retention.set_most(limits.max_slot_wal_keep_size);
        let rule = options::rule(config).map(|rule| self.synchronous.set_rule(rule));
        if let Some(standby) = self.standby() {
            standby.set_options(options::standby_options(&self.directory, config)?);
        }
        rule
    }

    /// Reads who may follow again. A file that is of no use changes nothing; the log says so.
    pub fn reload_passwords(&self) {
        if let Some(adopter) = self.shipping.adopter() {
            adopter.reload();
        }
    }

    /// Ends following, makes a last checkpoint, and lets followers have everything. Nobody writes any more.
    ///
    /// # Errors
    /// The checkpoint's.
    pub fn shutdown(&self) -> anyhow::Result<()> {
        if let Some(standby) = &self.standby {
            standby.stop();
        }
        let outcome = self.engine.shutdown();
        // After the checkpoint: an orderly end is in the log too.
        self.shipping.stop();
        outcome?;
        let all_confirmed = self.engine.confirmed() >= self.engine.applied();
        if !self.in_recovery() && all_confirmed {
            confirmed_end::leave(&*self.disk, &self.directory, self.engine.log().flushed())?;
        }
        Ok(())
    }

    /// Up to where commits have come on their way to being `awaited`.
    pub fn reached(&self, awaited: Awaited) -> Lsn {
        self.synchronous.reached(&self.engine, awaited)
    }

    /// Has `waker` woken when followers have acknowledged more.
    pub fn watch_followers(&self, waker: Waker) {
        self.synchronous.watch(waker);
    }

    /// The followers (`pg_stat_replication`).
    ///
    /// # Errors
    /// Their table cannot be read.
    pub fn followers(&self) -> io::Result<Vec<FollowerRow>> {
        shipping::followers(&self.dir, self.synchronous.rule().names())
    }

    /// The connection to the leader (`pg_stat_wal_receiver`).
    pub fn receiver(&self) -> Option<ReceiverRow> {
        self.standby()?.receiver()
    }

    /// The slots (`pg_replication_slots`).
    ///
    /// # Errors
    /// They cannot be read.
    pub fn slots(&self) -> Result<Vec<SlotRow>, SlotError> {
        let log = self.engine.log();
        let Limits { max_wal_size, max_slot_wal_keep_size } = *self.limits.lock();
        shipping::slots(&self.dir, log.segment_size(), log.flushed(), max_wal_size, max_slot_wal_keep_size)
    }

    /// Makes a slot, and says from where it keeps WAL: from the last checkpoint on if it is to reserve it at once.
    ///
    /// # Errors
    /// A name that is taken; files that cannot be written.
    pub fn create_slot(&self, name: &SlotName, reserve: bool) -> Result<Option<Lsn>, SlotError> {
        let log = self.engine.log();
        if !reserve {
            shipping::create_slot(&self.dir, name)?;
            return Ok(None);
        }
        let from = || (log.redo(), log.timeline());
        shipping::reserve_slot(&self.dir, name, log.segment_size(), from).map(Some)
    }

    /// Drops a slot.
    ///
    /// # Errors
    /// No such slot; one in use.
    pub fn drop_slot(&self, name: &SlotName) -> Result<(), SlotError> {
        shipping::drop_slot(&self.dir, name)
    }
}
