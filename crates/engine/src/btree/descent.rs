//! The way from the root to a leaf.

use crate::page::{Page, SharedPage};
use crate::page_access::{PageReader, PageWriter};
use crate::{EngineError, PageId, TreeId};

use super::layout::{ROOT_BLOCK, damaged, page_id};
use super::node::Node;
use super::overflow::{self, Chain};

/// The highest level of a root. Pages hold four of the longest entries, and hundreds of usual ones, so that a tree runs out
/// of block numbers long before.
pub(super) const MAX_LEVEL: u8 = 24;

/// The inner nodes above a node, from the root down, and which entry of each leads on.
#[derive(Clone, Copy)]
pub(super) struct Path {
    steps: [Step; MAX_LEVEL as usize + 1],
    length: usize,
}

/// An inner node, and which of its entries leads on.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) block: u32,
    pub(super) index: u16,
}

impl Path {
    fn new() -> Self {
        Self { steps: [Step { block: 0, index: 0 }; MAX_LEVEL as usize + 1], length: 0 }
    }

    /// Levels are checked on the way down, so that there are never more steps than levels.
    pub(super) fn push(&mut self, step: Step) {
        self.steps[self.length] = step;
        self.length += 1;
    }

    /// The parent, which from now on is the end of the path. None above the root.
    pub(super) fn pop(&mut self) -> Option<Step> {
        self.length = self.length.checked_sub(1)?;
        Some(self.steps[self.length])
    }
}

/// The entry of the root, which may be at any level, or of a node at `level`.
pub(super) fn open<'a>(page: &'a Page, id: PageId, level: Option<u8>) -> Result<Node<'a>, EngineError> {
    let node = Node::open(page, id)?;
    let fits = match level {
        Some(level) => node.level() == level,
        None => node.level() <= MAX_LEVEL,
    };
    if fits {
        Ok(node)
    } else {
        Err(damaged(id, format!("its level {} does not fit its parent's", node.level())))
    }
}

/// Follows `key` down to its leaf: the leaf's block and the path to it.
#[inline]
pub(super) fn find_leaf<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    key: &[u8],
) -> Result<(u32, Path), EngineError> {
    let mut path = Path::new();
    let mut block = ROOT_BLOCK;
    let mut level = None;
    while level != Some(0) {
        let id = page_id(tree, block);
        let node = open(w.page(id)?, id, level)?;
        if node.level() == 0 {
            break;
        }
        let index = node.route(key)?;
        path.push(Step { block, index: index as u16 });
        block = node.child(index)?;
        level = Some(node.level() - 1);
    }
    Ok((block, path))
}

/// See [`super::BTree::get_with`].
#[inline]
pub(super) fn get_with<R: PageReader + ?Sized, T>(
    r: &R,
    tree: TreeId,
    key: &[u8],
    with: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>, EngineError> {
    let mut id = page_id(tree, ROOT_BLOCK);
    let mut level = None;
    loop {
        let page = r.page(id)?;
        let node = open(&page, id, level)?;
        if node.level() == 0 {
            let position = node.search(key)?;
            if !position.found {
                return Ok(None);
            }
            let stored = node.cell(position.index)?.stored;
            let Some(chain) = Chain::of(stored, id)? else { return Ok(Some(with(stored.bytes))) };
            let mut value = Vec::new();
            overflow::read(r, tree, chain, &mut value)?;
            return Ok(Some(with(&value)));
        }
        id = page_id(tree, node.child(node.route(key)?)?);
        level = Some(node.level() - 1);
    }
}

/// A leaf that a reader came to.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) id: PageId,
    pub(super) page: SharedPage,
}

/// Which leaf to go to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// The first.
    First,
    /// The last.
    Last,
    /// The one for this key.
    Containing(&'a [u8]),
    /// The last one whose keys are all below this separator.
    Below(&'a [u8]),
}

/// The separators around a leaf; none at the ends of the tree.
#[derive(Default, Debug)]
pub(super) struct Fences {
    low: Vec<u8>,
    has_low: bool,
    high: Vec<u8>,
    has_high: bool,
}

impl Fences {
    /// Keys of the leaf are not below it.
    pub(super) fn low(&self) -> Option<&[u8]> {
        self.has_low.then_some(&self.low)
    }

    /// Keys of the leaf are below it.
    pub(super) fn high(&self) -> Option<&[u8]> {
        self.has_high.then_some(&self.high)
    }
}

/// Goes to a leaf, leaving in `fences` the separators around it. `None`: no leaf is below that separator.
pub(super) fn seek_leaf<R: PageReader + ?Sized>(
    r: &R,
    tree: TreeId,
    target: Target<'_>,
    fences: &mut Fences,
) -> Result<Option<Leaf>, EngineError> {
    (fences.has_low, fences.has_high) = (false, false);
    let mut id = page_id(tree, ROOT_BLOCK);
    let mut level = None;
    loop {
        let page = r.page(id)?;
        let node = open(&page, id, level)?;
        if node.level() == 0 {
            return Ok(Some(Leaf { id, page }));
        }
        let index = match target {
            Target::First => 0,
            Target::Last => match node.count() {
                0 => return Err(node.bad("it leads nowhere")),
                count => count - 1,
            },
            Target::Containing(key) => node.route(key)?,
            Target::Below(separator) => match node.search(separator)?.index.checked_sub(1) {
                Some(index) => index,
                // Only an empty separator has nothing below it, and nobody goes below the first leaf.
                None => return Ok(None),
            },
        };
        if index > 0 {
            fences.low.clear();
            fences.low.extend_from_slice(node.key(index)?);
            fences.has_low = true;
        }
        if index + 1 < node.count() {
            fences.high.clear();
            fences.high.extend_from_slice(node.key(index + 1)?);
            fences.has_high = true;
        }
        let child = page_id(tree, node.child(index)?);
        level = Some(node.level() - 1);
        id = child;
    }
}
