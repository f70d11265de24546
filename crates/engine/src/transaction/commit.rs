//! Committing: from a write set to a run of WAL records.

use super::{Commit, Transaction};
use crate::btree::BTree;
use crate::engine::Writer;
use crate::engine::registry;
use crate::run::Run;
use crate::{Engine, EngineError};

/// Write sets from this size on, in bytes, take long enough to apply for others to notice.
const LARGE: u64 = 1 << 20;

impl Transaction {
    /// Whether anything was written that a commit would have to apply.
    pub fn has_written(&self) -> bool {
        !(self.writes.is_empty() && self.created.is_empty() && self.dropped.is_empty())
    }

    /// Whether its commit takes so long that it had better not hold up the thread at hand: see [`Engine::commit_aside`].
    pub fn is_large(&self) -> bool {
        self.writes.size() >= LARGE
    }

    /// Applies what was written to the pages and appends it to the log, all or nothing, and releases the locks. Does not
    /// wait for the flush: the commit is durable once [`Engine::confirmed`] has reached its LSN, and others with a new
    /// snapshot see it from then on.
    ///
    /// After an error nothing has happened and the transaction is rolled back.
    pub fn commit(mut self) -> Result<Commit, EngineError> {
        if !self.has_written() {
            return Ok(Commit::NOTHING);
        }
        let engine = self.engine.clone();
        let commit = engine.commit(&mut self)?;
        self.created.clear();
        Ok(commit)
    }

    /// Removes the files that were made for trees which this transaction, which has failed, has created.
    fn remove_empty_files(&self) {
        for created in self.created.iter().filter(|created| !created.loaded) {
            if let Err(error) = self.engine.pool.files().remove(created.tree) {
                tracing::debug!("the files of tree {} stay until the next start: {error}", created.tree);
            }
        }
    }

    /// Applies everything to the pages of `run`.
    fn apply(&mut self, run: &mut Run<'_>) -> Result<(), EngineError> {
        for created in &self.created {
            if self.dropped.contains(&created.tree) {
                continue;
            }
            if !created.loaded {
                BTree::new(created.tree).create(run)?;
            }
            registry::add(run, created.tree)?;
        }
        if self.is_large() {
            // Their memory is given back as the pages take more.
            for (tree, writes) in self.writes.take_trees() {
                if self.dropped.contains(&tree) {
                    continue;
                }
                for (key, value) in writes {
                    apply_write(run, BTree::new(tree), &key, value.as_deref())?;
                }
            }
        }
        for (tree, writes) in self.writes.trees().filter(|(tree, _)| !self.dropped.contains(tree)) {
            for (key, value) in writes {
                apply_write(run, BTree::new(tree), key, value.as_deref())?;
            }
        }
        for &tree in &self.dropped {
            registry::remove(run, tree)?;
        }
        Ok(())
    }
}

fn apply_write(
    run: &mut Run<'_>,
    tree: BTree,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<bool, EngineError> {
    match value {
        Some(value) => tree.put(run, key, value),
        None => tree.delete(run, key),
    }
}

impl Engine {
    fn commit(&self, transaction: &mut Transaction) -> Result<Commit, EngineError> {
        let frees = !transaction.dropped.is_empty();
        if !frees {
            self.pool.check_takes_changes()?;
        }
        let mut writer = self.writer();
        let Writer { buffers, numbers } = &mut *writer;
        let limit = self.options().max_transaction_size.saturating_mul(2);
        let mut run = Run::new(&self.pool, buffers).limited_to(limit);
        transaction.apply(&mut run)?;
        let commit =
            self.claim_space(&run, frees).and_then(|()| self.finish_run(run, numbers, &transaction.dropped));
        drop(writer);
        self.remove_dropped();
        if commit.is_err() {
            transaction.remove_empty_files();
        }
        commit
    }
}
