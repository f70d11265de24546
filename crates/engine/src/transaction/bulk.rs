//! Loading a tree that the transaction has just created, straight into its pages.

use std::sync::Arc;

use super::Transaction;
use crate::btree::{BTree, BulkBuilder};
use crate::engine::Writer;
use crate::page::{Page, SharedPage};
use crate::run::Run;
use crate::{Engine, EngineError, PageId, TreeId};

/// Pages written between two runs of a load: what it keeps in memory, beside the path to the tree's last leaf.
const PAGES_PER_RUN: usize = 256;

/// A load under way. Its pages are in the log, in runs of their own, long before the transaction commits; nobody can reach
/// them until then. Dropped without [`BulkLoad::finish`], it leaves a tree that only dropping is good for.
pub struct BulkLoad {
    builder: BulkBuilder<Sink>,
}

type Sink = Box<dyn FnMut(PageId, &Page) -> Result<(), EngineError> + Send>;

impl std::fmt::Debug for BulkLoad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BulkLoad").field("entries", &self.builder.entries()).finish_non_exhaustive()
    }
}

impl Transaction {
    /// Begins to load `tree`, which this transaction has created and not written to, in place of whatever was loaded into it
    /// before. Bounded memory, however much is loaded.
    ///
    /// # Errors
    /// [`EngineError::NoTree`] if the transaction has not created it.
    pub fn bulk_load(&mut self, tree: TreeId) -> Result<BulkLoad, EngineError> {
        self.check_writable()?;
        let created = self.created.iter_mut().find(|created| created.tree == tree);
        created.ok_or(EngineError::NoTree(tree))?.loaded = true;
        let engine = Arc::clone(&self.engine);
        let mut pages = Vec::with_capacity(PAGES_PER_RUN);
        let sink = move |id: PageId, page: &Page| {
            pages.push((id, SharedPage::from(page)));
            // The page that describes the tree comes last.
            if pages.len() == PAGES_PER_RUN || id.block.as_u32() == 0 {
                return engine.write_loaded(pages.drain(..));
            }
            Ok(())
        };
        Ok(BulkLoad { builder: BulkBuilder::new(BTree::new(tree), Box::new(sink)) })
    }
}

impl BulkLoad {
    /// Adds an entry. False, and nothing added, if `key` is not greater than the last one: such entries are to be put
    /// through the transaction once the load is finished.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<bool, EngineError> {
        self.builder.add(key, value)
    }

    /// Ends the load. Returns how many entries were added.
    pub fn finish(self) -> Result<u64, EngineError> {
        self.builder.finish()
    }
}

impl Engine {
    /// Logs and publishes pages that nobody can reach yet.
    fn write_loaded(&self, pages: impl Iterator<Item = (PageId, SharedPage)>) -> Result<(), EngineError> {
        self.pool.check_takes_changes()?;
        let mut writer = self.writer();
        let Writer { buffers, numbers } = &mut *writer;
        let mut run = Run::new(&self.pool, buffers);
        for (id, page) in pages {
            run.add_new(id, page);
        }
        self.claim_space(&run, false)?;
        self.finish_run(run, numbers, &[]).map(drop)
    }
}
