//! Reading a range of a tree in either direction.

use std::ops::Bound;

use wal::Lsn;

use crate::page_access::PageReader;
use crate::{EngineError, TreeId};

use super::BTree;
use super::descent::{Fences, Leaf, Target, seek_leaf};
use super::layout::damaged;
use super::node::Node;
use super::overflow::{self, Chain};

/// A place between two neighbouring entries of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap<'a> {
    /// Before the range's first entry.
    Start,
    /// After the range's last entry.
    End,
    /// Right before this key, be it there or not.
    Before(&'a [u8]),
    /// Right after this key, be it there or not.
    After(&'a [u8]),
}

/// A place in a range of a tree, to be moved over one entry at a time.
///
/// A cursor owns all that it knows, and is handed the pages with every call. It stands between two keys, not on a page: if
/// it is handed pages of another LSN than the last time, or the latest ones, it goes on from where it is among the keys that
/// are there now. One call must be handed the pages of one state of the tree.
#[derive(Debug)]
pub struct Cursor {
    tree: TreeId,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    side: Side,
    /// The key that it stands beside, if `side` says so.
    key: Vec<u8>,
    /// Where on which leaf it stands, as of the last call.
    leaf: Option<Held>,
    /// What the leaf lies between, as of when it was gone to.
    fences: Fences,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Start,
    End,
    Before,
    After,
}

/// Which way a cursor moves.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// To greater keys.
    Up,
    /// To lesser keys.
    Down,
}

#[derive(Debug)]
struct Held {
    leaf: Leaf,
    /// How many of the leaf's entries are before the cursor.
    index: usize,
    /// What the pages were as of, if that is one state for good.
    as_of: Option<Lsn>,
}

impl Cursor {
    /// A cursor at the start of the keys of `tree` between two bounds.
    pub fn new(tree: BTree, lower: Bound<Vec<u8>>, upper: Bound<Vec<u8>>) -> Self {
        let (key, leaf, fences) = (Vec::new(), None, Fences::default());
        Self { tree: tree.id(), lower, upper, side: Side::Start, key, leaf, fences }
    }

    /// Goes to `gap`, be it in the range or not. Costs nothing until the next move.
    pub fn seek(&mut self, gap: Gap<'_>) {
        self.leaf = None;
        self.key.clear();
        let (side, key): (_, &[u8]) = match gap {
            Gap::Start => (Side::Start, &[]),
            Gap::End => (Side::End, &[]),
            Gap::Before(key) => (Side::Before, key),
            Gap::After(key) => (Side::After, key),
        };
        self.side = side;
        self.key.extend_from_slice(key);
    }

    /// Where it stands.
    pub fn gap(&self) -> Gap<'_> {
        match self.side {
            Side::Start => Gap::Start,
            Side::End => Gap::End,
            Side::Before => Gap::Before(&self.key),
            Side::After => Gap::After(&self.key),
        }
    }

    /// Moves over the next entry in ascending order, and copies it to `key` and `value`. False, and no move, if the range
    /// has none; there may be one the next time.
    pub fn next<R: PageReader + ?Sized>(
        &mut self,
        r: &R,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, EngineError> {
        self.advance(r, Way::Up, key, value)
    }

    /// Moves over the next entry in descending order, and copies it to `key` and `value`. False, and no move, if the range
    /// has none; there may be one the next time.
    pub fn prev<R: PageReader + ?Sized>(
        &mut self,
        r: &R,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, EngineError> {
        self.advance(r, Way::Down, key, value)
    }

    /// Each way is compiled by itself: nothing is decided anew for every entry.
    #[inline(always)]
    fn advance<R: PageReader + ?Sized>(
        &mut self,
        r: &R,
        way: Way,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, EngineError> {
        let mut fresh = self.settle(r)?;
        let mut left = false;
        loop {
            let Some(held) = &self.leaf else { return Ok(false) };
            let node = Node::open(&held.leaf.page, held.leaf.id)?;
            let next = match way {
                Way::Up => Some(held.index).filter(|index| *index < node.count()),
                Way::Down => held.index.checked_sub(1),
            };
            if let Some(index) = next {
                let beyond = self.is_beyond(way, node.key(index)?);
                if beyond && left {
                    // What may come to lie before it comes to the leaf that was left.
                    self.leaf = None;
                }
                return if beyond { Ok(false) } else { self.take(r, way, key, value) };
            }
            if !fresh {
                // The leaf is as it was, but what lies beside it need not be.
                self.leaf = None;
                fresh = self.settle(r)?;
                continue;
            }
            let Some(fence) = self.fence(way).map(<[u8]>::to_vec) else {
                self.leaf = None;
                return Ok(false);
            };
            left = true;
            let target = match way {
                Way::Up => Target::Containing(&fence),
                Way::Down => Target::Below(&fence),
            };
            let moved = self.go(r, target, |node| Ok(node.search(&fence)?.index))?;
            let further = self.fence(way).is_none_or(|next| match way {
                Way::Up => next > fence.as_slice(),
                Way::Down => next < fence.as_slice(),
            });
            if !moved || !further {
                return Err(self.circle());
            }
        }
    }

    /// Whether a key is behind the range's end.
    #[inline(always)]
    fn is_beyond(&self, way: Way, key: &[u8]) -> bool {
        match (way, &self.lower, &self.upper) {
            (Way::Up, _, Bound::Unbounded) | (Way::Down, Bound::Unbounded, _) => false,
            (Way::Up, _, Bound::Included(upper)) => key > upper.as_slice(),
            (Way::Up, _, Bound::Excluded(upper)) => key >= upper.as_slice(),
            (Way::Down, Bound::Included(lower), _) => key < lower.as_slice(),
            (Way::Down, Bound::Excluded(lower), _) => key <= lower.as_slice(),
        }
    }

    /// The end of the leaf's keys; none if there is no leaf beyond.
    fn fence(&self, way: Way) -> Option<&[u8]> {
        match way {
            Way::Up => self.fences.high(),
            Way::Down => self.fences.low(),
        }
    }

    /// Makes sure that `leaf` is where it stands in the tree as it is now. True if it went there anew.
    fn settle<R: PageReader + ?Sized>(&mut self, r: &R) -> Result<bool, EngineError> {
        let as_of = r.as_of();
        if let Some(held) = &self.leaf {
            let same_state = as_of.is_some() && as_of == held.as_of;
            if same_state || r.page(held.leaf.id)?.is_same(&held.leaf.page) {
                return Ok(false);
            }
        }
        let (before, key) = match (self.side, &self.lower, &self.upper) {
            (Side::Before, _, _) => (true, Some(self.key.clone())),
            (Side::After, _, _) => (false, Some(self.key.clone())),
            (Side::Start, Bound::Included(key), _) => (true, Some(key.clone())),
            (Side::Start, Bound::Excluded(key), _) => (false, Some(key.clone())),
            (Side::End, _, Bound::Included(key)) => (false, Some(key.clone())),
            (Side::End, _, Bound::Excluded(key)) => (true, Some(key.clone())),
            (Side::Start, Bound::Unbounded, _) => (true, None),
            (Side::End, _, Bound::Unbounded) => (false, None),
        };
        match &key {
            Some(key) => self.go(r, Target::Containing(key), |node| {
                let position = node.search(key)?;
                Ok(position.index + usize::from(position.found && !before))
            }),
            None if before => self.go(r, Target::First, |_| Ok(0)),
            None => self.go(r, Target::Last, |node| Ok(node.count())),
        }
    }

    /// Goes to a leaf and, there, behind as many entries as `index` says.
    fn go<R: PageReader + ?Sized>(
        &mut self,
        r: &R,
        target: Target<'_>,
        index: impl FnOnce(&Node<'_>) -> Result<usize, EngineError>,
    ) -> Result<bool, EngineError> {
        self.leaf = None;
        let Some(leaf) = seek_leaf(r, self.tree, target, &mut self.fences)? else { return Ok(false) };
        let index = index(&Node::open(&leaf.page, leaf.id)?)?;
        self.leaf = Some(Held { leaf, index, as_of: r.as_of() });
        Ok(true)
    }

    /// Copies the entry that comes next, and moves over it.
    fn take<R: PageReader + ?Sized>(
        &mut self,
        r: &R,
        way: Way,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, EngineError> {
        let Some(held) = &mut self.leaf else { return Ok(false) };
        let node = Node::open(&held.leaf.page, held.leaf.id)?;
        let (index, behind, side) = match way {
            Way::Up => (held.index, held.index + 1, Side::After),
            Way::Down => (held.index - 1, held.index - 1, Side::Before),
        };
        let cell = node.cell(index)?;
        let ordered = match (self.side, way) {
            (Side::Start | Side::End, _) => true,
            (Side::After, Way::Up) => cell.key > self.key.as_slice(),
            (Side::Before, Way::Up) => cell.key >= self.key.as_slice(),
            (Side::After, Way::Down) => cell.key <= self.key.as_slice(),
            (Side::Before, Way::Down) => cell.key < self.key.as_slice(),
        };
        if !ordered {
            return Err(node.bad("its keys are out of order"));
        }
        value.clear();
        match Chain::of(cell.stored, held.leaf.id)? {
            Some(chain) => overflow::read(r, self.tree, chain, value)?,
            None => value.extend_from_slice(cell.stored.bytes),
        }
        key.clear();
        key.extend_from_slice(cell.key);
        self.key.clear();
        self.key.extend_from_slice(cell.key);
        self.side = side;
        held.index = behind;
        Ok(true)
    }

    #[cold]
    fn circle(&self) -> EngineError {
        let page = super::page_id(self.tree, super::ROOT_BLOCK);
        damaged(page, "the nodes below it are out of order: a scan would never end")
    }
}
