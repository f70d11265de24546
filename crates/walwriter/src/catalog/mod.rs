//! The tables there are, as the engine's catalog tree has them.
//!
//! Definitions are rows of that tree, written by the transactions that create, change and drop tables, so that they are
//! as durable, as isolated and as replicated as any other row. Everybody reads them as of its own snapshot; what most
//! need, the newest, is kept in [`Tables`].
//!
//! Invariants: a [`Tables`] is valid for a snapshot if no change lies between the two; the generation moves before a
//! change can be committed and again after it, so whoever takes a snapshot and then finds the generation of its tables
//! has tables as of that snapshot. On a standby a stamp in the tree, which each change replaces, tells the same.

mod changes;
mod rowid;
mod serial;
mod tables;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::{EngineError, Transaction, TreeId};
use runtime::sync::{Mutex, MutexGuard};
use wal::Lsn;

use crate::exec::Result;

pub(crate) use changes::Changes;
pub(crate) use rowid::{RowIds, next as next_row_id};
pub(crate) use serial::{Serials, key as serial_key};
pub(crate) use tables::{STAMP_KEY, Tables, table_key};
pub(crate) use view::PlannerView;

/// The generation of tables that are not to be used again.
pub(crate) const NO_GENERATION: u64 = u64::MAX;

/// What all sessions know of the tables.
#[derive(Debug)]
pub(crate) struct Catalog {
    /// Moves whenever definitions may have changed.
    generation: AtomicU64,
    state: Mutex<State>,
    pub(crate) row_ids: RowIds,
    pub(crate) serials: Serials,
}

#[derive(Debug)]
struct State {
    /// The newest that were read.
    tables: Arc<Tables>,
    /// How many commits of changes are under way.
    changing: u32,
    /// The end of the last commit of a change. Moved by whoever committed it.
    changed_at: Lsn,
    /// Trees that were dropped not long ago, and by which commit.
    dropped: Vec<(TreeId, Lsn)>,
    /// Standby: the snapshot for which `tables` were last found to be valid.
    checked_at: Lsn,
}

impl Catalog {
    pub(crate) fn new() -> Self {
        Self {
            generation: AtomicU64::new(1),
            state: Mutex::new(State {
                tables: Arc::new(Tables::empty()),
                changing: 0,
                changed_at: Lsn::INVALID,
                dropped: Vec::new(),
                checked_at: Lsn::INVALID,
            }),
            row_ids: RowIds::default(),
            serials: Serials::default(),
        }
    }

    /// Whether tables that were valid for an earlier snapshot of the same session still are for its newest.
    #[inline]
    pub(crate) fn is_current(&self, tables: &Tables, transaction: &Transaction) -> bool {
        tables.generation == self.generation.load(Ordering::SeqCst)
            && (!transaction.engine().is_read_only() || tables.checked_at == transaction.snapshot_lsn())
    }

    /// The tables as of a transaction's snapshot. `changes`: whether it has changed tables itself; what is read then is
    /// for it alone, because it reads what it has written.
    pub(crate) fn tables(&self, transaction: &Transaction, changes: bool) -> Result<Arc<Tables>> {
        let snapshot = transaction.snapshot_lsn();
        if transaction.engine().is_read_only() {
            return self.tables_of_standby(transaction, snapshot);
        }
        let (generation, changed_at) = {
            let state = self.lock();
            let known = &state.tables;
            if state.changing == 0
                && known.generation == self.generation.load(Ordering::SeqCst)
                && state.changed_at <= known.as_of.min(snapshot)
            {
                return Ok(Arc::clone(known));
            }
            let generation = self.generation.load(Ordering::SeqCst);
            (if state.changing == 0 { generation } else { NO_GENERATION }, state.changed_at)
        };
        let lasting = generation != NO_GENERATION && changed_at <= snapshot && !changes;
        let generation = if lasting { generation } else { NO_GENERATION };
        let tables = Arc::new(Tables::read(transaction, generation)?);
        if lasting {
            let mut state = self.lock();
            if self.generation.load(Ordering::SeqCst) == generation && tables.as_of > state.tables.as_of {
                state.tables = Arc::clone(&tables);
            }
        }
        Ok(tables)
    }

    fn tables_of_standby(&self, transaction: &Transaction, snapshot: Lsn) -> Result<Arc<Tables>> {
        let generation = self.generation.load(Ordering::SeqCst);
        let known = Arc::clone(&self.lock().tables);
        if known.generation == generation && known.checked_at == snapshot {
            return Ok(known);
        }
        let stamp = Tables::read_stamp(transaction)?;
        let tables = if known.generation == generation && known.stamp == stamp && known.as_of <= snapshot {
            // The same definitions, and so the same plans.
            Arc::new(Tables { checked_at: snapshot, ..(*known).clone() })
        } else {
            let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
            Arc::new(Tables::read(transaction, generation)?)
        };
        let mut state = self.lock();
        if tables.generation >= state.tables.generation && snapshot >= state.checked_at {
            state.tables = Arc::clone(&tables);
            state.checked_at = snapshot;
        }
        Ok(tables)
    }

    /// Commits a transaction that changes tables; `commit` does it, `dropped` are the trees that are gone after it.
    pub(crate) fn change<T>(
        &self,
        dropped: &[TreeId],
        commit: impl FnOnce() -> std::result::Result<T, EngineError>,
        lsn: impl FnOnce(&T) -> Lsn,
    ) -> std::result::Result<T, EngineError> {
        self.lock().changing += 1;
        self.generation.fetch_add(1, Ordering::SeqCst);
        let committed = commit();
        let mut state = self.lock();
        state.changing -= 1;
        self.generation.fetch_add(1, Ordering::SeqCst);
        if let Ok(committed) = &committed {
            let lsn = lsn(committed);
            state.changed_at = state.changed_at.max(lsn);
            state.dropped.extend(dropped.iter().map(|&tree| (tree, lsn)));
        }
        committed
    }

    /// If a tree was dropped: by which commit. To be asked by whoever has locked the tree, and is about to write to it.
    pub(crate) fn dropped_at(&self, tree: TreeId) -> Option<Lsn> {
        let state = self.lock();
        state.dropped.iter().rev().find(|(dropped, _)| *dropped == tree).map(|(_, lsn)| *lsn)
    }

    /// Forgets drops that nobody can have missed: all snapshots are at least `oldest`.
    pub(crate) fn forget_dropped(&self, oldest: Lsn) {
        let mut state = self.lock();
        if state.dropped.len() > 64 {
            state.dropped.retain(|(_, lsn)| *lsn > oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
