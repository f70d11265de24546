//! A database of a few words, for tests of the server: what it does is what the words say.
//!
//! `one`, `rows N W` (N rows of W bytes), `commit`, `block N` (until [`Double::wake`]), `sleep` (blocked for 20 ms),
//! `copy in`, `copy out N`, `begin`, `end`, `fail`, `param` (has one parameter and returns it), `set NAME VALUE`,
//! `spin` (yields until interrupted), `read` (shows what is not confirmed; `read fail`, `read cancel`, `read terminate` then come to that end), `late` and `large` (their commit is blocked
//! until [`Double::wake`], and while it is, can be stopped, or cannot).

mod session;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use replication::error::{ServerError, SqlState};
use runtime::sync::Mutex;
use wal::Lsn;

use super::*;
pub(crate) use session::DoubleSession;

/// The shared part.
#[derive(Debug, Default)]
pub(crate) struct Double {
    pub(crate) inserted: AtomicU64,
    pub(crate) flushes: AtomicU64,
    confirmed: AtomicU64,
    /// Commits are confirmed by [`Double::confirm`] only, not by the flush.
    pub(crate) synchronous: AtomicBool,
    watchers: Mutex<Vec<Waker>>,
    pub(crate) blocked: Mutex<Vec<Waker>>,
    /// How often [`Double::wake`] was called.
    wakes: AtomicU64,
    pub(crate) open_sessions: AtomicUsize,
    pub(crate) copied: AtomicU64,
    /// Rows produced by `rows`, by all sessions.
    pub(crate) rows: AtomicU64,
    pub(crate) standby: AtomicBool,
}

impl Double {
    pub(crate) fn confirm(&self) {
        self.confirmed.store(self.inserted.load(Ordering::SeqCst), Ordering::SeqCst);
        self.watchers.lock().iter().for_each(Waker::wake_by_ref);
    }

    pub(crate) fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.blocked.lock().drain(..).for_each(Waker::wake);
    }
}

/// What `Arc<Double>` cannot be itself.
pub(crate) struct Shared(pub(crate) Arc<Double>);

impl Database for Shared {
    type Session = DoubleSession;

    fn open_session(&self, opening: Opening) -> Result<DoubleSession, SessionError> {
        if opening.database == "none" {
            let code = SqlState::new("3D000").unwrap();
            return Err(Box::new(ServerError::fatal(code, "database \"none\" does not exist")));
        }
        self.0.open_sessions.fetch_add(1, Ordering::SeqCst);
        Ok(DoubleSession::new(self.0.clone(), opening))
    }

    fn flush(&self, lsn: Lsn) {
        self.0.flushes.fetch_add(1, Ordering::SeqCst);
        if !self.0.synchronous.load(Ordering::SeqCst) {
            self.0.confirmed.fetch_max(lsn.as_u64(), Ordering::SeqCst);
        }
    }

    fn reached(&self, _: Awaited) -> Lsn {
        Lsn::new(self.0.confirmed.load(Ordering::SeqCst))
    }

    fn watch_reached(&self, waker: Waker) {
        self.0.watchers.lock().push(waker);
    }

    fn in_recovery(&self) -> bool {
        self.0.standby.load(Ordering::SeqCst)
    }
}
