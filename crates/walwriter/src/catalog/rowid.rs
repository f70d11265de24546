//! Row ids: the keys of rows in tables without a primary key.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use engine::{Direction, Isolation, Transaction, TreeId};
use runtime::sync::Mutex;
use sql::key;

use crate::exec::{Failure, Result};

/// The next row id of each tree that has been inserted into since the start.
///
/// A counter begins behind the last row in its tree and only moves forward, whether transactions commit or not; so no
/// two rows ever get one id, and row ids need no locks.
#[derive(Debug, Default)]
pub(crate) struct RowIds {
    counters: Mutex<HashMap<TreeId, Arc<AtomicI64>>>,
}

impl RowIds {
    /// The counter of a tree that others know.
    pub(crate) fn counter(&self, tree: TreeId, transaction: &Transaction) -> Result<Arc<AtomicI64>> {
        if let Some(counter) = self.lock().get(&tree) {
            return Ok(Arc::clone(counter));
        }
        // A transaction of its own, because this one's snapshot may be old. Nobody has inserted into the tree since the
        // start, so that all of its rows are confirmed.
        let newest = transaction.engine().begin(Isolation::ReadCommitted, true);
        let mut scan = newest.scan(tree, (Bound::Unbounded, Bound::Unbounded), Direction::Backward);
        let (mut last, mut row) = (Vec::new(), Vec::new());
        let next = match scan.next(&newest, &mut last, &mut row)? {
            true => key::decode_rowid(&last)?.saturating_add(1),
            false => 1,
        };
        let mut counters = self.lock();
        let counter = counters.entry(tree).or_insert_with(|| Arc::new(AtomicI64::new(next)));
        Ok(Arc::clone(counter))
    }

    /// The counter of a tree that was just created, whose next row id is `next`.
    pub(crate) fn begin(&self, tree: TreeId, next: i64) {
        self.lock().insert(tree, Arc::new(AtomicI64::new(next)));
    }

    /// A tree is gone.
    pub(crate) fn forget(&self, tree: TreeId) {
        self.lock().remove(&tree);
    }

    fn lock(&self) -> runtime::sync::MutexGuard<'_, HashMap<TreeId, Arc<AtomicI64>>> {
        self.counters.lock()
    }
}

/// The next row id of a counter.
pub(crate) fn next(counter: &AtomicI64) -> Result<i64> {
    let id = counter.fetch_add(1, Ordering::Relaxed);
    if id == i64::MAX { Err(Failure::new("54000", "the table has no row ids left")) } else { Ok(id) }
}
