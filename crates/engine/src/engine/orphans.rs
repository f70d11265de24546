//! Files of trees that do not exist: of transactions that created them and never committed, and of trees whose drop was
//! committed shortly before a crash.

use std::collections::HashSet;
use std::ops::Bound;

use tracing::info;

use super::Engine;
use super::registry::{FIRST_TREES, REGISTRY};
use crate::btree::{BTree, Cursor};
use crate::buffer::latest_view;
use crate::{EngineError, TreeId};

impl Engine {
    /// Removes the files of trees that are not registered. Only while no transaction has begun since recovery.
    pub(crate) fn remove_orphans(&self) -> Result<(), EngineError> {
        let registered = self.registered_trees()?;
        let waiting = self.dropped.trees();
        let mut removed = 0;
        for tree in self.pool.files().trees()? {
            // Dropped ones may still be read by older snapshots of a standby.
            let known = FIRST_TREES.contains(&tree) || waiting.contains(&tree);
            if tree.as_u32() < TreeId::FIRST_CREATED || known || registered.contains(&tree) {
                continue;
            }
            self.pool.forget_tree(tree);
            self.pool.files().remove(tree)?;
            removed += 1;
        }
        if removed > 0 {
            info!("removed the files of {removed} trees that were never committed or are dropped");
        }
        Ok(())
    }

    fn registered_trees(&self) -> Result<HashSet<TreeId>, EngineError> {
        let view = latest_view(&self.pool);
        let mut cursor = Cursor::new(BTree::new(REGISTRY), Bound::Unbounded, Bound::Unbounded);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut trees = HashSet::new();
        while cursor.next(&view, &mut key, &mut value)? {
            if let Some(number) = key.first_chunk() {
                trees.insert(TreeId::new(u32::from_be_bytes(*number)));
            }
        }
        Ok(trees)
    }
}
