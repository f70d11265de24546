//! Synchronous commit: what a commit waits for beside the local flush.
//!
//! A thread watches the followers' table, notes how far enough of the named followers have written, synced and replayed,
//! and moves the engine's confirmed position: to the least of what is flushed here and what the server's default of
//! `synchronous_commit` asks of followers. Sessions may ask for more or less before they are answered
//! ([`SynchronousCommit::reached`]); what everybody sees does not depend on that. A follower that is lost is replaced by the next in the list
//! as soon as its entry is gone; if there are too few, commits wait.
//!
//! What a leader finds in its log when it starts may never have been acknowledged: it is confirmed as a whole, once enough
//! followers have all of it. A standby shows what it has replayed, whatever its own rule; that counts from its promotion.

mod acknowledged;
mod names;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engine::Engine;
use replication::waldir::{FollowersReader, WalDir};
use wal::Lsn;

use crate::session::Awaited;
use acknowledged::Acknowledged;
pub use names::{Acknowledgement, Method, NamesError, Standing, SynchronousNames};

/// How soon the first follower of all, the death of a sender and a new configuration are noticed at the latest.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What commits wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Whom; `None`: nobody.
    names: Option<SynchronousNames>,
    /// What of them before everybody sees a commit; `None` is the local flush alone.
    visible: Option<Acknowledgement>,
}

impl Rule {
    /// As `synchronous_standby_names` and the server's default of `synchronous_commit` have it.
    ///
    /// # Errors
    /// A list of names that cannot be understood.
    pub fn of_settings(standby_names: &str, commit: &str) -> Result<Self, NamesError> {
        let names = SynchronousNames::parse(standby_names)?;
        let visible = match commit {
            "remote_write" => Some(Acknowledgement::Written),
            "on" => Some(Acknowledgement::Durable),
            "remote_apply" => Some(Acknowledgement::Applied),
            _ => None,
        };
        Ok(Self { visible: visible.filter(|_| names.is_some()), names })
    }

    /// Whether commits wait for anybody but this server before everybody sees them.
    pub fn asks_followers(&self) -> bool {
        self.visible.is_some()
    }

    /// The list of followers that count.
    pub fn names(&self) -> Option<&SynchronousNames> {
        self.names.as_ref()
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
    acknowledged: Acknowledged,
    /// What was recovered is not confirmed, and the log says so.
    holding: AtomicBool,
    /// To be woken when more is acknowledged.
    watchers: RwLock<Vec<Waker>>,
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
            acknowledged: Acknowledged::by_nobody(&rule),
            holding: AtomicBool::new(engine.unconfirmed_recovery().is_some()),
            rule: Mutex::new(rule),
            watchers: RwLock::default(),
            stopping: AtomicBool::new(false),
        });
        shared.say_what_is_awaited();
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
            self.shared.acknowledged.forget(&rule);
            *current = rule;
            drop(current);
            self.shared.confirm();
            self.shared.wake();
        }
    }

    /// What commits wait for.
    pub fn rule(&self) -> Rule {
        self.shared.rule().clone()
    }

    /// Up to where commits of `engine`, whose confirmations these are, have come on their way to being `awaited`. What is at
    /// least as much as everybody waits for includes that everybody sees it.
    pub fn reached(&self, engine: &Engine, awaited: Awaited) -> Lsn {
        let acknowledged = &self.shared.acknowledged;
        let (at, what) = match awaited {
            Awaited::Visibility => return engine.confirmed(),
            Awaited::Flush => (engine.log().flushed(), None),
            Awaited::Followers(what) => (engine.log().flushed().min(acknowledged.of(what)), Some(what)),
        };
        if what < acknowledged.visible() { at } else { at.min(engine.confirmed()) }
    }

    /// Has `waker` woken when followers have acknowledged more.
    pub fn watch(&self, waker: Waker) {
        self.shared.watchers.write().unwrap_or_else(PoisonError::into_inner).push(waker);
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

impl Shared {
    fn rule(&self) -> MutexGuard<'_, Rule> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log is durable here up to `flushed`: on the thread that flushed.
    fn flushed(&self, flushed: Lsn) {
        if let Some(engine) = self.engine.upgrade() {
            let visible = flushed.min(self.acknowledged.of_visible());
            engine.confirm(if engine.is_read_only() { flushed } else { visible });
            if self.holding.load(Ordering::Relaxed)
                && engine.unconfirmed_recovery().is_none()
                && self.holding.swap(false, Ordering::Relaxed)
            {
                tracing::info!("all recovered commits are confirmed; readers see them");
            }
        }
    }

    fn say_what_is_awaited(&self) {
        let recovered = self.engine.upgrade().and_then(|engine| engine.unconfirmed_recovery());
        if let Some(recovered) = recovered {
            tracing::warn!(
                "commits recovered up to {recovered} may never have been acknowledged by a synchronous standby; readers \
                 wait until one has them, or until synchronous_standby_names is changed and reloaded"
            );
        }
    }

    fn confirm(&self) {
        if let Some(engine) = self.engine.upgrade() {
            self.flushed(engine.log().flushed());
        }
    }

    fn wake(&self) {
        let watchers = self.watchers.read().unwrap_or_else(PoisonError::into_inner);
        watchers.iter().for_each(Waker::wake_by_ref);
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
        let Some(names) = &rule.names else { return Ok(()) };
        let followers = reader.list()?;
        let mut moved = false;
        for what in Acknowledgement::ALL {
            if let Some(lsn) = names.acknowledged(&followers, what) {
                moved |= self.acknowledged.advance(what, lsn);
            }
        }
        drop(rule);
        self.confirm();
        if moved {
            self.wake();
        }
        Ok(())
    }
}
