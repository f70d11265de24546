//! The list of trees that exist: a tree of its own, changed by the runs that create and drop trees.
//!
//! Files of trees that are not in it belong to transactions that never committed, and are removed at start.

use crate::btree::BTree;
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

/// Creates the registry and the embedder's catalog, which exist from the start.
pub(crate) fn create(run: &mut impl PageWriter) -> Result<(), EngineError> {
    BTree::new(REGISTRY).create(run)?;
    BTree::new(TreeId::CATALOG).create(run)
}

/// Keys in the order of the numbers.
pub(crate) fn key(tree: TreeId) -> [u8; 4] {
    tree.as_u32().to_be_bytes()
}
