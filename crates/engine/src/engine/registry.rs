//! The list of trees that exist: a tree of its own, changed by the runs that create and drop trees.
//!
//! Files of trees that are not in it belong to transactions that never committed, and are removed at start.

use super::Engine;
use crate::btree::BTree;
use crate::buffer::latest_view;
use crate::page_access::PageWriter;
use crate::{EngineError, TreeId};

/// The registry's own tree. Under the number of the catalog in which PostgreSQL lists what belongs to whom
/// (`pg_shdepend`); not listed in itself.
pub(crate) const REGISTRY: TreeId = TreeId::new(1214);

/// `tree` exists from this run on.
pub(crate) fn add(run: &mut impl PageWriter, tree: TreeId) -> Result<(), EngineError> {
    BTree::new(REGISTRY).put(run, &key(tree), &[]).map(drop)
}

/// `tree` is gone after this run.
pub(crate) fn remove(run: &mut impl PageWriter, tree: TreeId) -> Result<(), EngineError> {
    BTree::new(REGISTRY).delete(run, &key(tree)).map(drop)
}

/// The registry and the embedder's catalog, which exist from the start.
pub(crate) const FIRST_TREES: [TreeId; 2] = [REGISTRY, TreeId::CATALOG];

/// Creates them.
pub(crate) fn create(run: &mut impl PageWriter) -> Result<(), EngineError> {
    FIRST_TREES.into_iter().try_for_each(|tree| BTree::new(tree).create(run))
}

impl Engine {
    /// Reads every page of the trees that everything else is found through, and checks them.
    ///
    /// # Errors
    /// One of them is damaged or gone. The directory must not be used then: what they do not name looks like what no
    /// transaction has committed, and would be removed.
    pub(crate) fn check_first_trees(&self) -> Result<(), EngineError> {
        let view = latest_view(&self.pool);
        for tree in FIRST_TREES {
            BTree::new(tree).check(&view).map_err(|error| match error {
                EngineError::File { .. } => error,
                other => EngineError::Directory(format!(
                    "the catalog is damaged, and nothing is served from it: {other}; restore the directory from a base \
                     backup, or make it anew from its leader or a standby"
                )),
            })?;
        }
        Ok(())
    }
}

/// Keys in the order of the numbers.
pub(crate) fn key(tree: TreeId) -> [u8; 4] {
    tree.as_u32().to_be_bytes()
}
