//! Trees in memory, against `BTreeMap`.

mod bulk;
mod changes;
mod corruption;
mod cursor;
mod memory;
mod model;
mod order;

use super::BTree;
use crate::TreeId;
use memory::Memory;

const TREE: BTree = BTree::new(TreeId::new(16384));

/// An empty tree.
fn empty() -> Memory {
    let mut memory = Memory::default();
    TREE.create(&mut memory).unwrap();
    memory
}
