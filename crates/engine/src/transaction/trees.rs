//! Creating, loading and dropping trees inside a transaction.

use super::Transaction;
use crate::{EngineError, TreeId};

/// A tree that the transaction has created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Created {
    pub(super) tree: TreeId,
    /// Whether its pages exist already, because rows were loaded straight into them.
    pub(super) loaded: bool,
}

impl Transaction {
    /// Creates an empty tree. Others see it, by whatever the transaction writes about it, when the transaction commits.
    pub fn create_tree(&mut self) -> Result<TreeId, EngineError> {
        self.check_writable()?;
        let tree = self.engine.new_tree()?;
        self.created.push(Created { tree, loaded: false });
        Ok(tree)
    }

    /// Drops a tree when the transaction commits; its files are removed once that is durable and no snapshot that may read
    /// it is left. The caller holds the tree's lock exclusively.
    pub fn drop_tree(&mut self, tree: TreeId) -> Result<(), EngineError> {
        self.check_writable()?;
        self.writes.forget_tree(tree);
        match self.created.iter().position(|created| created.tree == tree) {
            Some(at) if self.savepoints.is_empty() && !self.created[at].loaded => {
                self.created.remove(at);
            }
            _ => self.dropped.push(tree),
        }
        Ok(())
    }

    /// Forgets trees created since a savepoint.
    pub(super) fn undo_creations(&mut self, kept: Vec<Created>) {
        let after = std::mem::replace(&mut self.created, kept);
        for created in after {
            match self.created.iter_mut().find(|kept| kept.tree == created.tree) {
                Some(kept) => kept.loaded |= created.loaded,
                None if created.loaded => self.engine.remove_unreachable(created.tree),
                None => {}
            }
        }
    }

    /// The transaction ends without a commit: what was loaded can never be reached.
    pub(super) fn abandon_loaded_trees(&mut self) {
        self.undo_creations(Vec::new());
    }
}
