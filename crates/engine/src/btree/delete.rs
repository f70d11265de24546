//! Taking an entry away.

use crate::page_access::PageWriter;
use crate::{EngineError, TreeId};

use super::descent;
use super::edit::NodeMut;
use super::layout::page_id;
use super::node::Node;
use super::overflow::{self, Chain};
use super::rebalance::{self, SPARSE};

/// See [`super::BTree::delete`].
pub(super) fn delete<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    key: &[u8],
) -> Result<bool, EngineError> {
    let (block, path) = descent::find_leaf(w, tree, key)?;
    let id = page_id(tree, block);
    let node = Node::open(w.page(id)?, id)?;
    let position = node.search(key)?;
    if !position.found {
        return Ok(false);
    }
    let chain = Chain::of(node.cell(position.index)?.stored, id)?;
    let mut leaf = NodeMut::open(w.page_mut(id)?, id)?;
    leaf.remove(position.index)?;
    let sparse = leaf.read().live() < SPARSE;
    if let Some(chain) = chain {
        overflow::drop_chain(w, tree, chain)?;
    }
    if sparse {
        rebalance::rebalance(w, tree, block, path)?;
    }
    Ok(true)
}
