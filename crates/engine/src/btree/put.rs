//! Writing an entry, and splitting the nodes that have no room for one more.

use crate::page::Page;
use crate::page_access::PageWriter;
use crate::{EngineError, TreeId};

use super::MAX_INLINE;
use super::descent::{self, MAX_LEVEL, Path, Step};
use super::edit::NodeMut;
use super::layout::{self, ROOT_BLOCK, damaged, page_id};
use super::meta;
use super::node::{Cell, Node, Position, Stored};
use super::overflow::{self, Chain};
use super::split::{self, Arrival};

/// See [`super::BTree::put`].
pub(super) fn put<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    key: &[u8],
    value: &[u8],
) -> Result<bool, EngineError> {
    let (block, path) = descent::find_leaf(w, tree, key)?;
    let id = page_id(tree, block);
    let mut leaf = NodeMut::open(w.page_mut(id)?, id)?;
    let node = leaf.read();
    let position = node.search(key)?;
    let old = match position.found {
        true => Chain::of(node.cell(position.index)?.stored, id)?,
        false => None,
    };
    if key.len() + value.len() <= MAX_INLINE {
        let stored = Stored { bytes: value, in_chain: false };
        let done = set(&mut leaf, position, Cell { key, stored })?;
        if let Some(chain) = old {
            overflow::drop_chain(w, tree, chain)?;
        }
        if !done {
            make_room(w, tree, block, path, position, Cell { key, stored })?;
        }
        return Ok(position.found);
    }

    let bytes = overflow::write(w, tree, value, old)?.encode();
    let cell = Cell { key, stored: Stored { bytes: &bytes, in_chain: true } };
    if !set(&mut NodeMut::open(w.page_mut(id)?, id)?, position, cell)? {
        make_room(w, tree, block, path, position, cell)?;
    }
    Ok(position.found)
}

/// Writes `cell` where it belongs if there is room.
#[inline]
fn set(leaf: &mut NodeMut<'_>, position: Position, cell: Cell<'_>) -> Result<bool, EngineError> {
    if position.found {
        leaf.set_stored(position.index, cell.stored)
    } else {
        leaf.insert(position.index, cell)
    }
}

/// Writes `cell` to a leaf that has to be split for it.
#[cold]
fn make_room<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    block: u32,
    path: Path,
    position: Position,
    cell: Cell<'_>,
) -> Result<(), EngineError> {
    if position.found {
        let id = page_id(tree, block);
        NodeMut::open(w.page_mut(id)?, id)?.remove(position.index)?;
    }
    insert(w, tree, block, path, position.index, cell)
}

/// Puts `cell` before entry `index` of the node at `block`, splitting it and those above as it takes.
pub(super) fn insert<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    mut block: u32,
    mut path: Path,
    mut index: usize,
    cell: Cell<'_>,
) -> Result<(), EngineError> {
    let Some(mut above) = insert_or_split(w, tree, &mut block, &mut path, index, cell)? else {
        return Ok(());
    };
    loop {
        let Some(parent) = path.pop() else {
            return Err(damaged(page_id(tree, block), "it was split, but has no parent"));
        };
        block = parent.block;
        index = usize::from(parent.index) + 1;
        let child = above.block.to_le_bytes();
        let cell = Cell { key: &above.separator, stored: Stored { bytes: &child, in_chain: false } };
        match insert_or_split(w, tree, &mut block, &mut path, index, cell)? {
            Some(next) => above = next,
            None => return Ok(()),
        }
    }
}

/// A node that its parent does not know yet.
struct Split {
    separator: Vec<u8>,
    block: u32,
}

/// Puts `cell` into the node at `block`. If there is no room, half of the node becomes a new one, which is returned. A root
/// first moves its entries down: `block` and `path` follow them.
fn insert_or_split<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    block: &mut u32,
    path: &mut Path,
    index: usize,
    cell: Cell<'_>,
) -> Result<Option<Split>, EngineError> {
    let id = page_id(tree, *block);
    if NodeMut::open(w.page_mut(id)?, id)?.insert(index, cell)? {
        return Ok(None);
    }
    if *block == ROOT_BLOCK {
        *block = push_root_down(w, tree)?;
        path.push(Step { block: ROOT_BLOCK, index: 0 });
    }
    split(w, tree, *block, index, cell).map(Some)
}

/// Moves what is in the root to a page of its own, the root's only child. Returns its block.
fn push_root_down<W: PageWriter + ?Sized>(w: &mut W, tree: TreeId) -> Result<u32, EngineError> {
    let root = page_id(tree, ROOT_BLOCK);
    let old = w.page(root)?.clone();
    let level = Node::open(&old, root)?.level() + 1;
    if level > MAX_LEVEL {
        return Err(damaged(root, "the tree has too many levels"));
    }
    let block = meta::allocate(w, tree)?;
    layout::replace(w.new_page(page_id(tree, block))?, &old);
    let child = block.to_le_bytes();
    NodeMut::format(w.page_mut(root)?, root, level)
        .push(Cell { key: &[], stored: Stored { bytes: &child, in_chain: false } })?;
    meta::set_root_level(w, tree, level)?;
    Ok(block)
}

/// Divides the entries of the node at `block` and `cell`, which goes before entry `index`, between it and a new node right of
/// it.
fn split<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    block: u32,
    index: usize,
    cell: Cell<'_>,
) -> Result<Split, EngineError> {
    let id = page_id(tree, block);
    let old: Page = w.page(id)?.clone();
    let node = Node::open(&old, id)?;
    let level = node.level();
    let mut cells = Vec::with_capacity(node.count() + 1);
    for index in 0..node.count() {
        cells.push(node.cell(index)?);
    }
    cells.insert(index, cell);
    let arrival = Arrival::at(&node, index)?;
    let Some(cut) = split::cut(&cells, level == 0, Some((index, arrival))) else {
        return Err(node.bad("its entries cannot be divided"));
    };

    let mut left = NodeMut::open(w.page_mut(id)?, id)?;
    left.remove_range(cut - usize::from(index < cut), node.count())?;
    if index < cut {
        left.insert_fitting(index, cell)?;
    }
    let in_left = left.read().count();
    let new = meta::allocate(w, tree)?;
    let new_id = page_id(tree, new);
    let mut right = NodeMut::format(w.new_page(new_id)?, new_id, level);
    for (index, cell) in cells[cut..].iter().enumerate() {
        // Its first separator moves up.
        let key = if level > 0 && index == 0 { &[] } else { cell.key };
        right.push(Cell { key, ..*cell })?;
    }
    let in_right = right.read().count();
    assert_eq!(in_left + in_right, cells.len(), "a node that is split loses no entry, and gets one");
    Ok(Split { separator: split::separator(&cells, cut, level == 0).to_vec(), block: new })
}
