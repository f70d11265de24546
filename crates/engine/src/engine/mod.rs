//! The engine as its embedder sees it: one data directory, open for reading and, unless it is a standby's, for writing.
//!
//! One writer at a time changes pages: whoever holds the writer lock. It applies a transaction in private, takes the
//! log's appender, appends the run, publishes the pages and lets go of both. Checkpoints and other records of the log
//! itself take the appender alone, so that none is ever inside a run.
//!
//! Locks, in the order in which they are taken: the writer's, the appender, then the pool's. Row locks are not mutexes.

mod admission;
mod assembly;
mod backup_label;
mod checkpoints;
mod directory;
mod dropped;
mod durability;
mod lost_wal;
mod numbers;
mod open;
mod orphans;
mod progress;
mod publishing;
mod recovery_wal;
pub(crate) mod registry;
mod space;
#[cfg(test)]
mod tests;
mod visibility;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use runtime::sync::{Mutex, MutexGuard};
use wal::Lsn;
use wal::payload::CheckPoint;
use wal::record::{ResourceManager, Xid};

use crate::buffer::BufferPool;
use crate::checkpoint::Checkpointer;
use crate::lock::LockTable;
use crate::log::{Log, Room, record};
use crate::run::{Run, RunBuffers, RunOptions};
use crate::snapshot::Snapshots;
use crate::transaction::{Commit, Isolation, Transaction};
use crate::{EngineError, EngineOptions, TreeId};

use admission::Admission;
pub use admission::PendingCommit;
pub(crate) use assembly::Parts;
pub(crate) use directory::Directory;
use dropped::DroppedTrees;
use durability::Durability;
pub(crate) use numbers::Numbers;
pub use progress::TimelinePosition;
use publishing::Publishing;
pub(crate) use recovery_wal::RecoveryWal;
use visibility::Visibility;

/// Opcode of the record that says which tree's number comes next.
pub(crate) const NEXT_OID: u8 = 0x30;

/// A page storage engine over one data directory.
pub struct Engine {
    options: EngineOptions,
    pub(crate) pool: Arc<BufferPool>,
    log: Arc<Log>,
    pub(crate) locks: LockTable,
    pub(crate) publishing: Publishing,
    visibility: Arc<Visibility>,
    durability: Arc<Durability>,
    admission: Arc<Admission>,
    writer: Mutex<Writer>,
    pub(crate) dropped: DroppedTrees,
    checkpointer: OnceLock<Checkpointer>,
    /// The last checkpoint replayed and not yet made a restartpoint of, with the start of its record and how far replay was.
    restart: Mutex<Option<(Lsn, CheckPoint, TimelinePosition)>>,
    /// Whether this is a standby, which takes no writes. Cleared for good by a promotion.
    read_only: AtomicBool,
}

/// What belongs to whoever changes pages.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) buffers: RunBuffers,
    pub(crate) numbers: Numbers,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("applied", &self.applied())
            .field("confirmed", &self.confirmed())
            .field("read_only", &self.is_read_only())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Begins a transaction. Cheap: it gets a number only if it writes, when it commits.
    pub fn begin(self: &Arc<Self>, isolation: Isolation, read_only: bool) -> Transaction {
        Transaction::new(Arc::clone(self), isolation, read_only)
    }

    /// What it was opened with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The log: to flush it, to ask where it is, to end a segment.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The pages in memory.
    pub fn pool(&self) -> &Arc<BufferPool> {
        &self.pool
    }

    /// The snapshots that are read at.
    pub fn snapshots(&self) -> &Snapshots {
        self.pool.snapshots()
    }

    /// Whether writes are refused because this is a standby.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }

    /// The end of the last commit that is applied to the pages, confirmed or not. On a standby, how far replay is.
    pub fn applied(&self) -> Lsn {
        self.visibility.applied()
    }

    /// The end of the last commit that new snapshots see: applied, flushed, and as durable as the durability rule demands.
    /// 0/0 while [`Engine::unconfirmed_recovery`] is something.
    pub fn confirmed(&self) -> Lsn {
        self.visibility.confirmed()
    }

    /// The end of what was recovered at the start, while nobody has confirmed it: snapshots are at least there, since
    /// there are no older pages, and who shows what they see waits until [`Engine::confirmed`] has reached it. `None` once
    /// it has, and from the beginning if recovery ended within [`EngineOptions::known_confirmed`].
    pub fn unconfirmed_recovery(&self) -> Option<Lsn> {
        self.visibility.unconfirmed_recovery()
    }

    /// Every commit up to `lsn` meets the durability rule. Never moves backwards; may run ahead of what is applied.
    pub fn confirm(&self, lsn: Lsn) {
        self.visibility.confirm(lsn);
    }

    /// Has `observer` called with each new value of [`Engine::confirmed`], on whatever thread moved it. It must be quick, and
    /// must not confirm anything.
    pub fn watch_confirmed(&self, observer: impl Fn(Lsn) + Send + Sync + 'static) {
        self.visibility.observe(Box::new(observer));
    }

    /// Sets the durability rule: `rule` is called after each flush with the position that is flushed now, by the thread that
    /// flushed, and calls [`Engine::confirm`] with what it knows to be durable enough, then or later. It must be quick.
    /// Without a rule every flush confirms.
    pub fn set_durability(&self, rule: impl Fn(Lsn) + Send + Sync + 'static) {
        self.durability.set_rule(Box::new(rule));
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        // A run that panicked half-way has published nothing, and its buffers are cleared before the next one.
        self.writer.lock()
    }

    fn run_options(&self) -> RunOptions {
        RunOptions {
            compression: self.options.wal_compression,
            full_page_writes: self.options.full_page_writes,
        }
    }

    /// Appends and publishes `run`, whose writer the caller is, and whose space is claimed.
    ///
    /// # Errors
    /// No space for so much log: nothing has happened.
    pub(crate) fn finish_run(
        &self,
        mut run: Run<'_>,
        numbers: &mut Numbers,
        dropped: &[TreeId],
    ) -> Result<Commit, EngineError> {
        let xid = numbers.take_xid();
        let time = (self.options.clock)();
        let mut appender = self.log.appender();
        let finished = run.finish(&mut appender, self.run_options(), xid, time, dropped);
        let finished = finished.inspect_err(|_| self.free_log())?;
        let Some(placed) = finished else {
            // All was there already, written by transactions that may not be durable yet: this one is when they are.
            return Ok(Commit { lsn: self.applied(), ..Commit::NOTHING });
        };
        // Before the appender is let go: a checkpoint that begins next finds these pages dirty.
        self.publishing.publish(|| run.publish());
        self.visibility.set_applied(placed.end);
        drop(appender);
        self.dropped.add(placed.end, dropped);
        Ok(Commit { lsn: placed.end, xid })
    }

    /// A number for a new tree, which no crash will make anybody use again.
    ///
    /// # Errors
    /// No space for the log to say so.
    pub(crate) fn new_tree(&self) -> Result<TreeId, EngineError> {
        let mut writer = self.writer();
        let mut numbers = writer.numbers;
        let (tree, to_log) = numbers.take_tree();
        if let Some(limit) = to_log {
            let mut buffer = Vec::new();
            let limit = limit.to_le_bytes();
            record::encode(&mut buffer, ResourceManager::XLOG, NEXT_OID, Xid::INVALID, &limit);
            let appended = self.log.appender().try_append(&mut buffer, Room::Freeing);
            appended.inspect_err(|_| self.free_log())?;
        }
        // Only now: of a number that the log does not know of, the next one would not be logged either.
        writer.numbers = numbers;
        Ok(tree)
    }

    /// The first run of a log without a directory.
    #[cfg(test)]
    pub(crate) fn create_first_trees(&self) -> Result<(), EngineError> {
        let mut writer = self.writer();
        let Writer { buffers, numbers } = &mut *writer;
        let mut run = Run::new(&self.pool, buffers);
        registry::create(&mut run)?;
        run.claim_space()?;
        self.finish_run(run, numbers, &[]).map(drop)
    }

    /// Removes a tree whose pages exist but that no committed transaction refers to.
    pub(crate) fn remove_unreachable(&self, tree: TreeId) {
        let mut writer = self.writer();
        let Writer { buffers, numbers } = &mut *writer;
        if let Err(error) = self.finish_run(Run::new(&self.pool, buffers), numbers, &[tree]) {
            tracing::warn!(
                "the files of tree {tree}, which nobody can reach, stay until the next start: {error}"
            );
        }
    }

    /// On a standby: everything up to `end` is replayed, and durable here.
    pub(crate) fn show_replayed(&self, end: Lsn) {
        self.visibility.set_applied(end);
        self.durability.flushed(end);
    }

    /// A standby was promoted, and goes on with `numbers`. Whoever writes from now on waits, before anything of it is in the
    /// log, until `make_known` has made that known.
    pub(crate) fn take_writes(&self, numbers: Numbers, make_known: impl FnOnce()) {
        self.writer().numbers = numbers;
        let appender = self.log.appender();
        let before = self.read_only.swap(false, Ordering::AcqRel);
        assert!(before, "a standby is promoted once");
        make_known();
        drop(appender);
    }

    /// Removes the files of dropped trees that nobody can read any more. Called by commits and checkpoints; an embedder
    /// whose snapshots live long may call it when they end.
    pub fn remove_dropped(&self) {
        self.dropped.remove(&self.pool, self.log.flushed());
    }
}
