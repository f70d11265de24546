//! Synchronous commit: what a commit waits for beside the local flush.
//!
//! Whoever serves a follower looks at the followers' table when that has said how far it is, notes how far enough of the
//! named followers have written, synced and replayed, and moves the engine's confirmed position: to the least of what is
//! flushed here and what the server's default of `synchronous_commit` asks of followers. A thread does the same for the
//! followers of other processes, and from time to time. Only what is said of the log written here counts (`log_of_ours`). Sessions may ask for more or less before they are answered
//! ([`SynchronousCommit::reached`]); what everybody sees does not depend on that. A follower that is lost is replaced by
//! the next in the list soon after its entry is gone; if there are too few, commits wait.
//!
//! What a leader finds in its log when it starts may never have been acknowledged: it is confirmed as a whole, once enough
//! followers have all of it. A standby shows what it has replayed, whatever its own rule; that counts from its promotion.

mod acknowledged;
mod log_of_ours;
mod names;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engine::Engine;
use replication::waldir::{Follower, FollowersReader, WalDir};
use runtime::sync::{Mutex, MutexGuard, RwLock};
use wal::Lsn;
use walsender::serve::FollowersMoved;

use crate::session::Awaited;
use acknowledged::Acknowledged;
use log_of_ours::LogOfOurs;
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

/// Of whose moves this process hears, without watching the table for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Of every follower's that counts.
    OfAll,
    /// Others are served by other processes.
    OfSome,
}

#[derive(Debug)]
struct Shared {
    engine: Weak<Engine>,
    /// Whose followers count.
    dir: WalDir,
    /// Their table, from when there is one.
    table: Mutex<Option<Arc<FollowersReader>>>,
    log_of_ours: Mutex<LogOfOurs>,
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
            dir,
            table: Mutex::default(),
            log_of_ours: Mutex::default(),
            acknowledged: Acknowledged::by_nobody(&rule),
            holding: AtomicBool::new(engine.unconfirmed_recovery().is_some()),
            rule: Mutex::new(rule),
            watchers: RwLock::default(),
            stopping: AtomicBool::new(false),
        });
        // Before anything is appended: who has been sent more than there is now, by another process, does not count.
        shared.look()?;
        shared.say_what_is_awaited();
        let decides = Arc::clone(&shared);
        engine.set_durability(move |flushed| decides.flushed(flushed));
        let watches = Arc::clone(&shared);
        let thread = thread::Builder::new().name("syncrep".to_owned()).spawn(move || watches.watch())?;
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
        let reached = if what < acknowledged.visible() { at } else { at.min(engine.confirmed()) };
        assert!(reached <= at, "nobody is answered, {reached}, before what was awaited has come, {at}");
        reached
    }

    /// To be called when a follower that this process serves has moved.
    pub fn followers_moved(&self) -> FollowersMoved {
        let shared = Arc::clone(&self.shared);
        FollowersMoved(Some(Arc::new(move || {
            if let Err(error) = shared.look() {
                // The thread says so, again and again.
                tracing::debug!("could not read the followers' table: {error}");
            }
        })))
    }

    /// Has `waker` woken when followers have acknowledged more.
    pub fn watch(&self, waker: Waker) {
        self.shared.watchers.write().push(waker);
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
        self.rule.lock()
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
        let watchers = self.watchers.read();
        watchers.iter().for_each(Waker::wake_by_ref);
    }

    fn watch(&self) {
        while !self.stopping.load(Ordering::Acquire) {
            runtime::fault::panic_if_wanted("panic in the synchronous commit's thread");
            let seen = self.known_table().map(|reader| (reader.changes(), reader));
            let looked = self.look();
            if let Err(error) = &looked {
                tracing::error!("could not read the followers' table: {error}");
                *self.table() = None;
            }
            match (looked, seen) {
                (Ok(Heard::OfSome), Some((seen, reader))) => reader.wait(seen, LOOK_INTERVAL),
                // Whoever serves a follower here looks itself: being woken for it as well would be for nothing.
                _ => thread::sleep(LOOK_INTERVAL),
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Option<Arc<FollowersReader>>> {
        self.table.lock()
    }

    fn known_table(&self) -> Option<Arc<FollowersReader>> {
        self.table().clone()
    }

    /// The followers' table, if anybody was ever served.
    fn open_table(&self) -> io::Result<Option<Arc<FollowersReader>>> {
        let mut table = self.table();
        if table.is_none() {
            *table = FollowersReader::open(&self.dir)?.map(Arc::new);
        }
        Ok(table.clone())
    }

    /// The followers whose word is about the log that is written here; `None` while none is, for what they have then is
    /// of a timeline that a promotion ends.
    fn followers_of_our_log(&self, reader: &FollowersReader) -> io::Result<Option<Vec<Follower>>> {
        let Some(engine) = self.engine.upgrade().filter(|engine| !engine.is_read_only()) else {
            return Ok(None);
        };
        let mut ours = self.log_of_ours.lock();
        let mut followers = reader.list()?;
        // After the list: nobody is sent what is not appended yet.
        let log = engine.log();
        ours.retain(&mut followers, log.timeline(), log.inserted());
        Ok(Some(followers))
    }

    /// Looks how far the followers are, and confirms what they have.
    fn look(&self) -> io::Result<Heard> {
        let Some(reader) = self.open_table()? else { return Ok(Heard::OfAll) };
        let Some(followers) = self.followers_of_our_log(&reader)? else { return Ok(Heard::OfSome) };
        let rule = self.rule();
        let Some(names) = &rule.names else { return Ok(Heard::OfAll) };
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
        let own = std::process::id();
        let elsewhere = followers.iter().any(|follower| follower.sender_pid != own);
        Ok(if elsewhere { Heard::OfSome } else { Heard::OfAll })
    }
}
