//! What becomes of nodes that have become sparse: they are merged with a sibling or take entries from it.
//!
//! A node with less than a quarter of a page is merged if the two then leave an eighth of the page free, so that the next
//! few inserts do not split it again; otherwise the two share their entries evenly. Only children of one parent are siblings
//! here; a node without any stays as it is until it is empty, but its parent is sparse itself and is dealt with.

use crate::page::Page;
use crate::page_access::PageWriter;
use crate::{EngineError, PageId, TreeId};

use super::descent::{Path, Step};
use super::edit::NodeMut;
use super::layout::{self, BODY_SIZE, ROOT_BLOCK, page_id};
use super::meta;
use super::node::{Cell, Node, Stored};
use super::split;

/// Nodes with fewer bytes of entries are sparse.
pub(super) const SPARSE: usize = BODY_SIZE / 4;

/// Nodes are merged if the result has no more bytes of entries.
const MERGED: usize = BODY_SIZE / 8 * 7;

/// Deals with the node at `block`, which entries were taken from, and with those above it.
#[cold]
pub(super) fn rebalance<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    mut block: u32,
    mut path: Path,
) -> Result<(), EngineError> {
    while let Some(parent) = path.pop() {
        let id = page_id(tree, block);
        let node = Node::open(w.page(id)?, id)?;
        if node.live() >= SPARSE {
            return Ok(());
        }
        if node.count() == 0 {
            remove_child(w, tree, parent.block, usize::from(parent.index))?;
            meta::release(w, tree, block)?;
        } else if !join_sibling(w, tree, &parent)? {
            return Ok(());
        }
        block = parent.block;
    }
    lower_root(w, tree)
}

/// Takes entry `index` from the node at `block`; what was before its successor's separator is then the successor's.
fn remove_child<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    block: u32,
    index: usize,
) -> Result<(), EngineError> {
    let id = page_id(tree, block);
    let mut node = NodeMut::open(w.page_mut(id)?, id)?;
    node.remove(index)?;
    if index == 0 && node.read().count() > 0 {
        node.set_key(0, &[])?;
    }
    Ok(())
}

/// Takes levels away from above a lone child; an inner root without children becomes an empty leaf.
fn lower_root<W: PageWriter + ?Sized>(w: &mut W, tree: TreeId) -> Result<(), EngineError> {
    let root = page_id(tree, ROOT_BLOCK);
    loop {
        let node = Node::open(w.page(root)?, root)?;
        let level = match (node.level(), node.count()) {
            (0, _) | (_, 2..) => return Ok(()),
            (_, 0) => {
                NodeMut::format(w.page_mut(root)?, root, 0);
                0
            }
            (level, 1) => {
                let child = node.child(0)?;
                let id = page_id(tree, child);
                let content: Page = w.page(id)?.clone();
                if Node::open(&content, id)?.level() + 1 != level {
                    return Err(layout::damaged(id, "its level does not fit its parent's"));
                }
                layout::replace(w.page_mut(root)?, &content);
                meta::release(w, tree, child)?;
                level - 1
            }
        };
        meta::set_root_level(w, tree, level)?;
    }
}

/// Joins the node that `parent` says with a sibling. True if the parent has lost an entry, or is sparse without it.
fn join_sibling<W: PageWriter + ?Sized>(w: &mut W, tree: TreeId, parent: &Step) -> Result<bool, EngineError> {
    let parent_id = page_id(tree, parent.block);
    let node = Node::open(w.page(parent_id)?, parent_id)?;
    // With the one before it if there is one: its cells then stay where they are.
    let index = match (usize::from(parent.index), node.count()) {
        (0, ..2) => return Ok(true),
        (index, _) => index.max(1),
    };
    let ids = [page_id(tree, node.child(index - 1)?), page_id(tree, node.child(index)?)];
    let parent_room = BODY_SIZE - node.live() + node.cell(index)?.space();
    let parent_key = node.key(index)?.to_vec();

    let pages: [Page; 2] = [w.page(ids[0])?.clone(), w.page(ids[1])?.clone()];
    let siblings = Siblings::of(&pages, ids, &parent_key)?;
    if siblings.cells.iter().map(Cell::space).sum::<usize>() <= MERGED {
        let mut left = NodeMut::open(w.page_mut(ids[0])?, ids[0])?;
        for cell in &siblings.cells[siblings.in_left..] {
            left.push(*cell)?;
        }
        assert_eq!(left.read().count(), siblings.cells.len(), "a merged node has the entries of both");
        remove_child(w, tree, parent.block, index)?;
        meta::release(w, tree, ids[1].block.as_u32())?;
        return Ok(true);
    }

    let Some(cut) = split::cut(&siblings.cells, siblings.leaf, None) else { return Ok(false) };
    let child = ids[1].block.as_u32().to_le_bytes();
    let stored = Stored { bytes: &child, in_chain: false };
    let entry = Cell { key: split::separator(&siblings.cells, cut, siblings.leaf), stored };
    if cut == siblings.in_left || entry.space() > parent_room {
        return Ok(false);
    }
    siblings.share(w, cut)?;
    let mut parent = NodeMut::open(w.page_mut(parent_id)?, parent_id)?;
    parent.remove(index)?;
    parent.insert_fitting(index, entry)?;
    Ok(false)
}

/// Two nodes next to each other, as they were.
struct Siblings<'a> {
    ids: [PageId; 2],
    leaf: bool,
    /// The entries of both. The first of an inner right one has the key that the parent has for it.
    cells: Vec<Cell<'a>>,
    /// How many of them are the left one's.
    in_left: usize,
}

impl<'a> Siblings<'a> {
    fn of(pages: &'a [Page; 2], ids: [PageId; 2], parent_key: &'a [u8]) -> Result<Self, EngineError> {
        let nodes = [Node::open(&pages[0], ids[0])?, Node::open(&pages[1], ids[1])?];
        if nodes[0].level() != nodes[1].level() {
            return Err(nodes[1].bad("its level is not its sibling's"));
        }
        let (leaf, in_left) = (nodes[0].level() == 0, nodes[0].count());
        let mut cells = Vec::with_capacity(in_left + nodes[1].count());
        for node in &nodes {
            for index in 0..node.count() {
                cells.push(node.cell(index)?);
            }
        }
        if let Some(first) = cells.get_mut(in_left)
            && !leaf
        {
            first.key = parent_key;
        }
        Ok(Self { ids, leaf, cells, in_left })
    }

    /// Moves entries so that the left one has the first `cut`.
    fn share<W: PageWriter + ?Sized>(&self, w: &mut W, cut: usize) -> Result<(), EngineError> {
        let Self { ids, leaf, ref cells, in_left } = *self;
        let mut left = NodeMut::open(w.page_mut(ids[0])?, ids[0])?;
        left.remove_range(cut.min(in_left), in_left)?;
        for cell in cells.get(in_left..cut).unwrap_or_default() {
            left.push(*cell)?;
        }
        assert_eq!(left.read().count(), cut, "the left one has what lies before the cut");
        let mut right = NodeMut::open(w.page_mut(ids[1])?, ids[1])?;
        right.remove_range(0, cut.saturating_sub(in_left))?;
        if !leaf {
            right.set_key(0, if cut < in_left { cells[in_left].key } else { &[] })?;
        }
        for (index, cell) in cells.get(cut..in_left).unwrap_or_default().iter().enumerate() {
            let key = if !leaf && index == 0 { &[] } else { cell.key };
            right.insert_fitting(index, Cell { key, ..*cell })?;
        }
        assert_eq!(right.read().count(), cells.len() - cut, "the right one has what lies behind the cut");
        Ok(())
    }
}
