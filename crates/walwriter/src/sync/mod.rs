//! Synchronous commit: what a commit waits for beside the local flush.
//!
//! A thread watches the followers' table and moves the engine's confirmed position: to the least of what is flushed here
//! and what enough of the named followers have acknowledged. A follower that is lost is replaced by the next in the list
//! as soon as its entry is gone; if there are too few, commits wait.

mod names;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engine::Engine;
use replication::waldir::{FollowersReader, WalDir};
use wal::Lsn;

pub use names::{Acknowledgement, Method, NamesError, Standing, SynchronousNames};

/// How soon the first follower of all, the death of a sender and a new configuration are noticed at the latest.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What commits wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Whom, and what of them; `None` is the local flush alone.
    followers: Option<(SynchronousNames, Acknowledgement)>,
}

impl Rule {
    /// As `synchronous_standby_names` and `synchronous_commit` have it.
    ///
    /// # Errors
    /// A list of names that cannot be understood.
    pub fn of_settings(standby_names: &str, commit: &str) -> Result<Self, NamesError> {
        let names = SynchronousNames::parse(standby_names)?;
        let what = match commit {
            "remote_write" => Some(Acknowledgement::Written),
            "on" => Some(Acknowledgement::Durable),
            "remote_apply" => Some(Acknowledgement::Applied),
            _ => None,
        };
        Ok(Self { followers: names.zip(what) })
    }

    /// The list of followers that count.
    pub fn names(&self) -> Option<&SynchronousNames> {
        self.followers.as_ref().map(|(names, _)| names)
    }
}

/// Moves the confirmed position of an engine. Stops when dropped.
#[derive(Debug)]
pub struct SynchronousCommit {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    engine: Weak<Engine>,
    rule: Mutex<Rule>,
    /// Up to where followers have acknowledged as the rule says; `u64::MAX` if it says nothing of followers. Moved by the
    /// watching thread, and at once by a rule that asks for less.
    acknowledged: AtomicU64,
    stopping: AtomicBool,
}

impl SynchronousCommit {
    /// Takes over when `engine`'s commits are confirmed; the followers are those served from `dir`.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(engine: &Arc<Engine>, dir: WalDir, rule: Rule) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            engine: Arc::downgrade(engine),
            acknowledged: AtomicU64::new(start_of(&rule)),
            rule: Mutex::new(rule),
            stopping: AtomicBool::new(false),
        });
        let decides = Arc::clone(&shared);
        engine.set_durability(move |flushed| decides.flushed(flushed));
        let watches = Arc::clone(&shared);
        let thread = thread::Builder::new().name("syncrep".to_owned()).spawn(move || watches.watch(&dir))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Commits wait for what `rule` says from now on.
    pub fn set_rule(&self, rule: Rule) {
        let mut current = self.shared.rule();
        if *current != rule {
            self.shared.acknowledged.store(start_of(&rule), Ordering::SeqCst);
            *current = rule;
            drop(current);
            self.shared.confirm();
        }
    }

    /// What commits wait for.
    pub fn rule(&self) -> Rule {
        self.shared.rule().clone()
    }
}

impl Drop for SynchronousCommit {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

const fn start_of(rule: &Rule) -> u64 {
    if rule.followers.is_some() { 0 } else { u64::MAX }
}

impl Shared {
    fn rule(&self) -> MutexGuard<'_, Rule> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log is durable here up to `flushed`: on the thread that flushed.
    fn flushed(&self, flushed: Lsn) {
        if let Some(engine) = self.engine.upgrade() {
            engine.confirm(flushed.min(Lsn::new(self.acknowledged.load(Ordering::SeqCst))));
        }
    }

    fn confirm(&self) {
        if let Some(engine) = self.engine.upgrade() {
            self.flushed(engine.log().flushed());
        }
    }

    fn watch(&self, dir: &WalDir) {
        let mut table: Option<FollowersReader> = None;
        while !self.stopping.load(Ordering::Acquire) {
            let Some(reader) = &table else {
                match FollowersReader::open(dir) {
                    Ok(opened) => table = opened,
                    Err(error) => tracing::error!("could not read the followers' table: {error}"),
                }
                if table.is_none() {
                    thread::sleep(LOOK_INTERVAL);
                }
                continue;
            };
            let seen = reader.changes();
            if let Err(error) = self.look(reader) {
                tracing::error!("could not read the followers' table: {error}");
                table = None;
                thread::sleep(LOOK_INTERVAL);
                continue;
            }
            reader.wait(seen, LOOK_INTERVAL);
        }
    }

    /// Looks how far the followers are.
    fn look(&self, reader: &FollowersReader) -> io::Result<()> {
        let rule = self.rule();
        let Some((names, what)) = &rule.followers else { return Ok(()) };
        if let Some(acknowledged) = names.acknowledged(&reader.list()?, *what) {
            // What was acknowledged once stays so, whoever has gone since.
            self.acknowledged.fetch_max(acknowledged.as_u64(), Ordering::SeqCst);
        }
        drop(rule);
        self.confirm();
        Ok(())
    }
}
