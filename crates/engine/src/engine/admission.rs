//! Who may write now.
//!
//! Writers wait, without holding up a thread, in two cases. While a large commit is applied and made durable, because they
//! would have to wait for it with their thread, which other sessions need. And while older versions of pages take more
//! memory than they may on account of commits that are not confirmed, because a synchronous standby lags: more commits
//! would take more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::thread;

use runtime::sync::{Condvar, Mutex, MutexGuard};

use super::Engine;
use crate::EngineError;
use crate::fatal::fatal;
use crate::transaction::Commit;

/// Large commits under way, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    large: AtomicUsize,
    waiting: Mutex<Vec<Waker>>,
    /// A large commit has ended.
    ended: Condvar,
}

/// A commit that another thread makes: see [`Engine::commit_aside`].
#[derive(Debug)]
pub struct PendingCommit(Arc<Mutex<Option<Result<Commit, EngineError>>>>);

/// A large commit under way, until it is dropped.
struct Large(Arc<Engine>);

impl Admission {
    /// Has everybody ask again.
    pub(crate) fn wake(&self) {
        let waiting = std::mem::take(&mut *self.lock());
        waiting.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock()
    }
}

impl PendingCommit {
    /// The outcome, once: what [`crate::Transaction::commit`] returns. `None` as long as there is none.
    pub fn poll(&mut self) -> Option<Result<Commit, EngineError>> {
        self.0.lock().take()
    }
}

impl Engine {
    /// Whether a transaction may write, or commit, now. If not, `waker` is woken when it is time to ask again. To be asked
    /// before each step of a statement that writes and before each commit of one that has written; who does not ask only
    /// takes memory, or waits with its thread.
    pub fn admits_writes(&self, waker: &Waker) -> bool {
        if self.is_open() {
            return true;
        }
        let mut waiting = self.admission.lock();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        drop(waiting);
        // What it waits for may have come before anybody knew of it.
        self.is_open()
    }

    fn is_open(&self) -> bool {
        self.admission.large.load(Ordering::SeqCst) == 0 && !self.pool.is_crowded()
    }

    /// Has another thread call `commit`, which commits one transaction, and make that durable here. `waker` is woken when
    /// there is an outcome. Meanwhile no other writers are admitted. An error if there is no thread to be had: the
    /// transaction is rolled back then.
    pub fn commit_aside(
        self: &Arc<Self>,
        waker: Waker,
        commit: impl FnOnce() -> Result<Commit, EngineError> + Send + 'static,
    ) -> std::io::Result<PendingCommit> {
        let large = Large::begin(self);
        let outcome = Arc::new(Mutex::new(None));
        let theirs = Arc::clone(&outcome);
        let work = move || {
            let committed = commit();
            if let Ok(commit) = &committed
                && let Err(error) = large.0.log.flush(commit.lsn)
            {
                fatal(format_args!("could not make the log durable: {}", error.chain()));
            }
            *theirs.lock() = Some(committed);
            drop(large);
            waker.wake();
        };
        thread::Builder::new().name("large commit".to_owned()).spawn(work)?;
        Ok(PendingCommit(outcome))
    }

    /// Waits until no large commit is under way.
    pub(crate) fn await_large_commits(&self) {
        let mut waiting = self.admission.lock();
        while self.admission.large.load(Ordering::SeqCst) > 0 {
            waiting = self.admission.ended.wait(waiting);
        }
    }
}

impl Large {
    fn begin(engine: &Arc<Engine>) -> Self {
        engine.admission.large.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(engine))
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        let admission = &self.0.admission;
        // Under the lock, so that who waits for the last one does not miss its end.
        let waiting = {
            let mut waiting = admission.lock();
            let under_way = admission.large.fetch_sub(1, Ordering::SeqCst);
            assert!(under_way > 0, "a large commit that ends was under way");
            std::mem::take(&mut *waiting)
        };
        admission.ended.notify_all();
        waiting.into_iter().for_each(Waker::wake);
    }
}
