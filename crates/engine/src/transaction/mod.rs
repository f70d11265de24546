//! Transactions: private writes over a snapshot, until they are committed as one run of WAL records.
//!
//! Nothing a transaction writes is on a page before [`Transaction::commit`]; it is in the transaction's write set, under
//! row locks that the caller has taken. Reads are as of a snapshot, with the transaction's own writes over it. So rolling
//! back is forgetting, and a transaction that only reads leaves no trace.

mod bulk;
mod commit;
mod reads;
mod savepoint;
mod scan;
mod trees;
mod write_set;

use std::cell::OnceCell;
use std::sync::Arc;
use std::task::Waker;

use wal::Lsn;
use wal::record::Xid;

pub use bulk::BulkLoad;
pub use savepoint::Savepoint;
pub use scan::{Direction, Scan};
pub(crate) use write_set::WriteSet;

use crate::btree::{MAX_KEY, MAX_VALUE};
use crate::lock::{LockMode, LockOwner, Locked};
use crate::snapshot::SnapshotGuard;
use crate::{Engine, EngineError, TreeId};

/// What a transaction sees of others that commit while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Each statement sees all that was confirmed when it began to read.
    ReadCommitted,
    /// All statements see what the first one saw, and changing a row that others have changed since is an error.
    RepeatableRead,
}

/// The trace of a committed transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The end of its commit record, or of the last one before it if all that it wrote was there already; 0/0 if it wrote
    /// nothing. It is durable once the log is flushed up to here.
    pub lsn: Lsn,
    /// Its number; 0 if it changed nothing.
    pub xid: Xid,
}

impl Commit {
    /// Of a transaction that wrote nothing.
    pub const NOTHING: Self = Self { lsn: Lsn::INVALID, xid: Xid::INVALID };
}

/// A transaction under way. Dropping it rolls it back.
#[derive(Debug)]
pub struct Transaction {
    engine: Arc<Engine>,
    isolation: Isolation,
    read_only: bool,
    /// Snapshots are not taken before this, confirmed or not. Moved by [`Transaction::see_at_least`].
    seen: Lsn,
    /// Taken by the first read after [`Transaction::begin_statement`].
    snapshot: OnceCell<SnapshotGuard>,
    writes: WriteSet,
    locks: LockOwner,
    savepoints: Vec<savepoint::Mark>,
    /// Trees created here and not dropped again; the flag says that rows were loaded straight into its pages.
    created: Vec<trees::Created>,
    /// Trees that others can see, to be removed by the commit.
    dropped: Vec<TreeId>,
    /// See [`Transaction::read_gate`]. Moved by `get_locked`.
    read_gate: Lsn,
}

impl Transaction {
    pub(crate) fn new(engine: Arc<Engine>, isolation: Isolation, read_only: bool) -> Self {
        let read_only = read_only || engine.is_read_only();
        let writes = WriteSet::new(engine.options().max_transaction_size);
        let locks = engine.locks.owner();
        Self {
            engine,
            isolation,
            read_only,
            seen: Lsn::INVALID,
            snapshot: OnceCell::new(),
            writes,
            locks,
            savepoints: Vec::new(),
            created: Vec::new(),
            dropped: Vec::new(),
            read_gate: Lsn::INVALID,
        }
    }

    /// The engine it runs in.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What it sees of others.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Whether it takes no writes.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// A new statement begins: with read committed, its first read takes a new snapshot.
    pub fn begin_statement(&mut self) {
        if self.isolation == Isolation::ReadCommitted {
            self.snapshot.take();
        }
    }

    /// Snapshots taken from now on have every commit up to `lsn`, whether it is confirmed or not: for who was told of it. A
    /// [`Commit`]'s LSN, or [`Engine::applied`].
    pub fn see_at_least(&mut self, lsn: Lsn) {
        self.seen = self.seen.max(lsn);
    }

    /// The LSN that reads are as of; taken now if nothing has been read yet.
    pub fn snapshot_lsn(&self) -> Lsn {
        self.snapshot().lsn()
    }

    fn snapshot(&self) -> &SnapshotGuard {
        self.snapshot.get_or_init(|| self.engine.snapshots().register_at_least(self.seen))
    }

    /// Asks for the row `key` of `tree`, there or not. After [`Locked::Wait`] and the wake-up the caller asks again.
    pub fn lock_row(&mut self, tree: TreeId, key: &[u8], waker: &Waker) -> Result<Locked, EngineError> {
        self.engine.locks.lock_row(&mut self.locks, tree, key, waker)
    }

    /// Asks for a whole tree: shared to read or change rows of it, exclusively to drop it, say. Row locks are beside it.
    pub fn lock_tree(&mut self, tree: TreeId, mode: LockMode, waker: &Waker) -> Result<Locked, EngineError> {
        self.engine.locks.lock_tree(&mut self.locks, tree, mode, waker)
    }

    /// The same, only if it can be had at once. Whether it is held.
    pub fn try_lock_row(&mut self, tree: TreeId, key: &[u8]) -> bool {
        self.engine.locks.try_lock_row(&mut self.locks, tree, key)
    }

    /// The same for a whole tree, of which less may be held already.
    pub fn try_lock_tree(&mut self, tree: TreeId, mode: LockMode) -> bool {
        self.engine.locks.try_lock_tree(&mut self.locks, tree, mode)
    }

    /// Writes `value` under `key`. The caller holds the row's lock.
    pub fn put(&mut self, tree: TreeId, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.check_writable()?;
        check_lengths(key, value)?;
        self.writes.set(tree, key, Some(value))
    }

    /// Deletes `key`, if it is there. The caller holds the row's lock.
    pub fn delete(&mut self, tree: TreeId, key: &[u8]) -> Result<(), EngineError> {
        self.check_writable()?;
        self.writes.set(tree, key, None)
    }

    fn check_writable(&self) -> Result<(), EngineError> {
        if self.read_only { Err(EngineError::ReadOnly) } else { Ok(()) }
    }

    /// The highest LSN of anything that this transaction has read through [`Transaction::get_locked`] and that may be neither
    /// confirmed yet nor known to its client ([`Transaction::see_at_least`]). A reply that shows it must wait until [`Engine::confirmed`] is there. 0/0 if it read no such thing.
    pub fn read_gate(&self) -> Lsn {
        self.read_gate
    }

    /// Forgets everything and releases all locks.
    pub fn rollback(self) {
        // Dropping does it.
    }
}

/// What a tree would refuse is refused here, where it can still be told to whoever wrote it.
fn check_lengths(key: &[u8], value: &[u8]) -> Result<(), EngineError> {
    if key.len() > MAX_KEY {
        return Err(EngineError::KeyTooLong { length: key.len(), limit: MAX_KEY });
    }
    if value.len() > MAX_VALUE {
        return Err(EngineError::ValueTooLong { length: value.len(), limit: MAX_VALUE });
    }
    Ok(())
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.abandon_loaded_trees();
        self.engine.locks.release_all(&mut self.locks);
    }
}
