//! What sessions are doing, for `pg_stat_activity`.
//!
//! Each session tells it as it goes, in a place of its own that only readers of the view ever look at: an uncontended
//! lock when a statement begins and one when the session waits for its client again.
//! Source: `pgstat_report_activity` in `utils/activity/backend_status.c`.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use runtime::sync::{Mutex, MutexGuard};

use super::context::now;
use crate::session::TransactionStatus;

/// The most of a statement's text that is kept, in bytes (`track_activity_query_size`).
const QUERY_SIZE: usize = 1024;

/// The sessions that are open, by the numbers of their connections.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<u32, Arc<Published>>>);

/// What others can know of a session.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) process_id: u32,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) peer: Option<SocketAddr>,
    /// When it was opened, in microseconds since 2000, as all times here.
    pub(crate) began: i64,
    doing: Mutex<Doing>,
}

/// What a session does, or did last.
#[derive(Debug, Clone)]
pub(crate) struct Doing {
    pub(crate) application_name: String,
    pub(crate) state: State,
    pub(crate) state_since: i64,
    pub(crate) transaction_start: Option<i64>,
    pub(crate) query_start: Option<i64>,
    pub(crate) awaits_lock: bool,
    /// It has done its work, but the answer is held back for synchronous followers.
    pub(crate) awaits_standby: bool,
    pub(crate) query: String,
}

/// What a session is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    Waiting(TransactionStatus),
}

impl State {
    /// As `pg_stat_activity` has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Waiting(TransactionStatus::Idle) => "idle",
            Self::Waiting(TransactionStatus::InBlock) => "idle in transaction",
            Self::Waiting(TransactionStatus::Failed) => "idle in transaction (aborted)",
        }
    }
}

/// A session's own hand on what others see of it. Dropping it takes the session off the list.
#[derive(Debug)]
pub(crate) struct Activity {
    sessions: Arc<Sessions>,
    published: Arc<Published>,
    /// What was published of it last.
    awaits_lock: Cell<bool>,
    awaits_standby: Cell<bool>,
}

impl Sessions {
    /// Enters a session.
    pub(crate) fn enter(
        self: &Arc<Self>,
        process_id: u32,
        user: &str,
        database: &str,
        peer: Option<SocketAddr>,
    ) -> Activity {
        let began = now();
        let doing = Doing {
            application_name: String::new(),
            state: State::Waiting(TransactionStatus::Idle),
            state_since: began,
            transaction_start: None,
            query_start: None,
            awaits_lock: false,
            awaits_standby: false,
            query: String::new(),
        };
        let (user, database) = (user.to_owned(), database.to_owned());
        let published = Published { process_id, user, database, peer, began, doing: Mutex::new(doing) };
        let published = Arc::new(published);
        self.lock().insert(process_id, Arc::clone(&published));
        let (awaits_lock, awaits_standby) = (Cell::new(false), Cell::new(false));
        Activity { sessions: Arc::clone(self), published, awaits_lock, awaits_standby }
    }

    /// Everybody, in the order of their numbers.
    pub(crate) fn list(&self) -> Vec<Arc<Published>> {
        let mut list: Vec<_> = self.lock().values().cloned().collect();
        list.sort_unstable_by_key(|published| published.process_id);
        list
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<Published>>> {
        self.0.lock()
    }
}

impl Published {
    /// What the session does now.
    pub(crate) fn doing(&self) -> Doing {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock()
    }
}

impl Activity {
    /// A statement begins, in a transaction that began then; `None`: in one of its own.
    pub(super) fn begin(&self, query: &str, transaction_start: Option<i64>) {
        let now = now();
        let mut doing = self.published.lock();
        doing.query.clear();
        doing.query.push_str(query.get(..query.floor_char_boundary(QUERY_SIZE)).unwrap_or_default());
        doing.state = State::Active;
        doing.state_since = now;
        doing.query_start = Some(now);
        doing.transaction_start = Some(transaction_start.unwrap_or(now));
    }

    /// The statement waits for a lock, or does not any more.
    pub(super) fn awaits_lock(&self, awaits: bool) {
        if self.awaits_lock.replace(awaits) != awaits {
            self.published.lock().awaits_lock = awaits;
        }
    }

    /// What the statement answers waits for synchronous followers, or does not any more.
    pub(super) fn awaits_standby(&self, awaits: bool) {
        if self.awaits_standby.replace(awaits) != awaits {
            let mut doing = self.published.lock();
            doing.awaits_standby = awaits;
            if !awaits {
                doing.state_since = now();
            }
        }
    }

    /// The session waits for its client; a block that is open began at `transaction_start`.
    pub(super) fn rest(&self, status: TransactionStatus, transaction_start: i64) {
        self.awaits_lock(false);
        let mut doing = self.published.lock();
        doing.state = State::Waiting(status);
        doing.state_since = now();
        doing.transaction_start = (status != TransactionStatus::Idle).then_some(transaction_start);
    }

    /// The client has given itself a name.
    pub(super) fn is_called(&self, application_name: &str) {
        application_name.clone_into(&mut self.published.lock().application_name);
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.published.process_id);
    }
}
