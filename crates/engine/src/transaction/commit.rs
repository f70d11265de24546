//! Committing: from a write set to a run of WAL records.

use super::{Commit, Transaction};
use crate::btree::BTree;
use crate::engine::Writer;
use crate::engine::registry;
use crate::run::Run;
use crate::{Engine, EngineError};

impl Transaction {
    /// Applies what was written to the pages and appends it to the log, all or nothing, and releases the locks. Does not
    /// wait for the flush: the commit is durable once [`Engine::confirmed`] has reached its LSN, and others with a new
    /// snapshot see it from then on.
    ///
    /// After an error nothing has happened and the transaction is rolled back.
    pub fn commit(mut self) -> Result<Commit, EngineError> {
        if self.writes.is_empty() && self.created.is_empty() && self.dropped.is_empty() {
            return Ok(Commit::NOTHING);
        }
        let engine = self.engine.clone();
        let commit = engine.commit(&self)?;
        self.created.clear();
        Ok(commit)
    }

    /// Applies everything to the pages of `run`.
    fn apply(&self, run: &mut Run<'_>) -> Result<(), EngineError> {
        for created in &self.created {
            if self.dropped.contains(&created.tree) {
                continue;
            }
            if !created.loaded {
                BTree::new(created.tree).create(run)?;
            }
            registry::add(run, created.tree)?;
        }
        for (tree, writes) in self.writes.trees().filter(|(tree, _)| !self.dropped.contains(tree)) {
            let tree = BTree::new(tree);
            for (key, value) in writes {
                match value {
                    Some(value) => tree.put(run, key, value)?,
                    None => tree.delete(run, key)?,
                };
            }
        }
        for &tree in &self.dropped {
            registry::remove(run, tree)?;
        }
        Ok(())
    }
}

impl Engine {
    fn commit(&self, transaction: &Transaction) -> Result<Commit, EngineError> {
        let mut writer = self.writer();
        let Writer { buffers, numbers } = &mut *writer;
        let mut run = Run::new(&self.pool, buffers);
        transaction.apply(&mut run)?;
        let commit = self.finish_run(run, numbers, &transaction.dropped);
        drop(writer);
        self.remove_dropped();
        Ok(commit)
    }
}
