//! Pages changed by replay and not published yet.

use std::collections::HashMap;

use wal::Lsn;
use wal::record::{BlockRef, Fork};

use crate::buffer::BufferPool;
use crate::run::{Overlay, apply_fragments};
use crate::{EngineError, PageId, TreeId};

/// Pages copied before they are published, at least: a page that many runs in a row change is copied once.
const MIN_PAGES: usize = 2048;
/// The part of the buffer pool that the copies may take beside it. Runs that change pages all over a table meet few of
/// them twice among a small number.
const PART_OF_POOL: usize = 4;

/// The effect of whole runs on pages, gathered. A run's pages get its end as their `pd_lsn` when all its records are
/// applied, or when some of them have to be published before: nobody reads at an LSN that far yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    overlay: Overlay,
    /// Pages of the run being applied whose LSN is still to be set.
    changed: Vec<PageId>,
    /// Pages that a record was to change and that do not exist. Their trees are dropped later in the log, or it is damaged.
    missing: HashMap<PageId, Lsn>,
}

impl Batch {
    /// Applies what a record that ends at `record_end` says about a block, for a run that ends at `run_end`.
    pub(super) fn apply(
        &mut self,
        pool: &BufferPool,
        block: &BlockRef<'_>,
        record_end: Lsn,
        run_end: Lsn,
    ) -> Result<(), EngineError> {
        let replay = |reason: String| EngineError::Replay { lsn: record_end, reason };
        let locator = block.relation;
        let tree = TreeId::new(locator.relation);
        if locator != tree.locator() || block.fork != Fork::MAIN {
            return Err(replay(format!("it changes relation {locator}, which this engine does not keep")));
        }
        let id = PageId { tree, block: block.block };
        if let Some(image) = block.image.as_ref().filter(|image| image.apply) {
            let bytes = image.restore().map_err(|error| replay(format!("{id}: {error}")))?;
            let page = self.overlay.new_page(id);
            page.bytes_mut().copy_from_slice(&bytes);
            self.missing.remove(&id);
            self.changed.push(id);
            return Ok(());
        }
        match self.overlay.page(pool, id) {
            // Changed by this run or a later one before a crash.
            Ok(page) if page.lsn() >= run_end => return Ok(()),
            Ok(_) => {}
            Err(_) if is_missing(pool, id) => {
                self.missing.insert(id, record_end);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let page = self.overlay.page_mut(pool, id)?;
        apply_fragments(page, block.data)
            .ok_or_else(|| replay(format!("{id}: what it says is not a change of a page")))?;
        self.changed.push(id);
        Ok(())
    }

    /// The run that ends at `end` is applied, all or as much as has to be published before the rest.
    pub(super) fn end_run(&mut self, pool: &BufferPool, end: Lsn) -> Result<(), EngineError> {
        for id in self.changed.drain(..) {
            self.overlay.page_mut(pool, id)?.set_lsn(end);
        }
        Ok(())
    }

    /// Whether there are so many pages that they should be published.
    pub(super) fn is_full(&self, pool: &BufferPool) -> bool {
        self.overlay.len() >= (pool.capacity() / PART_OF_POOL).max(MIN_PAGES)
    }

    /// Publishes all pages. The caller has ended the run.
    pub(super) fn publish(&mut self, pool: &BufferPool) {
        pool.publish(self.overlay.drain_changed());
    }

    /// `tree` is dropped.
    pub(super) fn forget_tree(&mut self, tree: TreeId) {
        self.missing.retain(|id, _| id.tree != tree);
    }

    /// A page that should have been there and was not, with the record that was to change it.
    pub(super) fn missing(&self) -> Option<(PageId, Lsn)> {
        self.missing.iter().map(|(&id, &lsn)| (id, lsn)).min_by_key(|&(_, lsn)| lsn)
    }
}

/// Whether the page's file is not there or ends before it.
fn is_missing(pool: &BufferPool, id: PageId) -> bool {
    pool.files().blocks(id.tree).is_ok_and(|blocks| id.block.as_u32() >= blocks)
}
