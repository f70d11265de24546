//! Trees that were dropped and whose files are still there.

use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::sync::{Mutex, MutexGuard};
use wal::Lsn;

use crate::TreeId;
use crate::buffer::BufferPool;

/// Files to remove once the drop is durable and no snapshot from before it is left.
#[derive(Debug, Default)]
pub(crate) struct DroppedTrees {
    /// With the end of the run that dropped them, ascending.
    waiting: Mutex<Vec<(Lsn, TreeId)>>,
    /// How many: for those who only look.
    count: AtomicUsize,
}

impl DroppedTrees {
    /// `trees` were dropped by the run that ends at `end`.
    pub(crate) fn add(&self, end: Lsn, trees: &[TreeId]) {
        if trees.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        let last = waiting.last().map_or(Lsn::INVALID, |&(last, _)| last);
        assert!(last <= end, "trees are dropped in the order of the log: at {end} after {last}");
        waiting.extend(trees.iter().map(|&tree| (end, tree)));
        self.count.store(waiting.len(), Ordering::Release);
    }

    /// Removes the files that can be removed. One that fails is left to the next start, which removes every file that
    /// belongs to no tree.
    pub(crate) fn remove(&self, pool: &BufferPool, flushed: Lsn) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let visible = flushed.min(pool.snapshots().oldest());
        let mut waiting = self.lock();
        let ripe = waiting.iter().take_while(|&&(end, _)| end <= visible).count();
        let trees: Vec<(Lsn, TreeId)> = waiting.drain(..ripe).collect();
        self.count.store(waiting.len(), Ordering::Release);
        drop(waiting);
        for (end, tree) in trees {
            pool.forget_tree(tree);
            if let Err(error) = pool.before_files_show(end) {
                tracing::warn!("the files of dropped tree {tree} stay until the next start: {error}");
                continue;
            }
            if let Err(error) = pool.files().remove(tree) {
                tracing::warn!("the files of dropped tree {tree} stay until the next start: {error}");
            }
        }
    }

    /// Those whose files are still there.
    pub(crate) fn trees(&self) -> Vec<TreeId> {
        self.lock().iter().map(|&(_, tree)| tree).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Lsn, TreeId)>> {
        self.waiting.lock()
    }
}
