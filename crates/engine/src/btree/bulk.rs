//! Building a tree from ascending entries, bottom-up.

use crate::page::Page;
use crate::{EngineError, PageId};

use super::descent::MAX_LEVEL;
use super::edit::NodeMut;
use super::layout::{self, BODY_SIZE, Kind, META_BLOCK, ROOT_BLOCK, damaged, page_id};
use super::meta::Meta;
use super::node::{Cell, Node, Stored};
use super::overflow::{self, Chain};
use super::split::shortest_above;
use super::{BTree, MAX_INLINE, check_lengths};

/// Builds a tree from entries that come in ascending order, into full pages.
///
/// Holds one page for each level. Every finished page goes to the sink, once, and in an order in which a page's children are
/// always before it; blocks 1 and 0, the root and what describes the tree, come last. Until they have been written the tree is
/// what it was before, so a load may be logged in pieces.
pub struct BulkBuilder<S> {
    tree: BTree,
    sink: S,
    /// The node being filled of each level, from the leaves up.
    levels: Vec<Level>,
    /// The next block to give to a finished page.
    high_water: u32,
    /// Entries so far.
    entries: u64,
    last_key: Vec<u8>,
}

struct Level {
    page: Box<Page>,
    /// What leads to this node; empty for the first of its level.
    separator: Vec<u8>,
}

impl<S> BulkBuilder<S>
where
    S: FnMut(PageId, &Page) -> Result<(), EngineError>,
{
    /// Starts to build `tree`, in place of whatever it is. The sink takes each finished page to be block so-and-so; all
    /// but its LSN and its checksum is set.
    pub fn new(tree: BTree, sink: S) -> Self {
        let high_water = ROOT_BLOCK + 1;
        Self { tree, sink, levels: Vec::new(), high_water, entries: 0, last_key: Vec::new() }
    }

    /// Entries added so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Adds an entry. False, and nothing added, if `key` is not greater than the last one: such entries are to be put into
    /// the finished tree.
    ///
    /// # Errors
    /// As [`BTree::put`]'s, and the sink's.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<bool, EngineError> {
        check_lengths(key, value)?;
        if self.entries > 0 && key <= self.last_key.as_slice() {
            return Ok(false);
        }
        if key.len() + value.len() <= MAX_INLINE {
            self.add_to(0, key, Stored { bytes: value, in_chain: false })?;
        } else {
            let chain = self.write_chain(value)?.encode();
            self.add_to(0, key, Stored { bytes: &chain, in_chain: true })?;
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.entries += 1;
        Ok(true)
    }

    /// Hands out the last pages. Returns how many entries the tree has.
    pub fn finish(mut self) -> Result<u64, EngineError> {
        if self.levels.is_empty() {
            self.start_level()?;
        }
        let mut level = 0;
        while level + 1 < self.levels.len() {
            self.finish_node(level)?;
            level += 1;
        }
        let tree = self.tree.id();
        assert!(self.high_water > ROOT_BLOCK, "finished pages lie behind the root, which comes last");
        (self.sink)(page_id(tree, ROOT_BLOCK), &self.levels[level].page)?;
        let meta = Meta { root_level: level as u8, high_water: self.high_water, ..Meta::EMPTY };
        let mut page = Page::zeroed();
        meta.write(&mut page);
        (self.sink)(page_id(tree, META_BLOCK), &page)?;
        Ok(self.entries)
    }

    /// Adds an entry to the node of `level` that is being filled. If it is full it is finished, and another begun.
    fn add_to(&mut self, level: usize, key: &[u8], stored: Stored<'_>) -> Result<(), EngineError> {
        if level == self.levels.len() {
            self.start_level()?;
        }
        let id = self.next_page();
        let node = Node::open(&self.levels[level].page, id)?;
        let first = node.count() == 0;
        if node.hole() < Cell::space_for(key.len(), stored.bytes.len()) {
            self.finish_node(level)?;
            let separator = if level == 0 { shortest_above(&self.last_key, key) } else { key };
            let next = &mut self.levels[level];
            next.separator.clear();
            next.separator.extend_from_slice(separator);
            let mut node = NodeMut::format(&mut next.page, id, level as u8);
            return node.push(Cell { key: if level == 0 { key } else { &[] }, stored });
        }
        let key = if first && level > 0 { &[] } else { key };
        NodeMut::open(&mut self.levels[level].page, id)?.push(Cell { key, stored })
    }

    /// Hands out the node of `level` that is being filled, and adds it to its parent.
    fn finish_node(&mut self, level: usize) -> Result<(), EngineError> {
        let block = self.take_block()?;
        let node = &mut self.levels[level];
        (self.sink)(page_id(self.tree.id(), block), &node.page)?;
        let separator = std::mem::take(&mut node.separator);
        let child = block.to_le_bytes();
        self.add_to(level + 1, &separator, Stored { bytes: &child, in_chain: false })?;
        self.levels[level].separator = separator;
        Ok(())
    }

    fn start_level(&mut self) -> Result<(), EngineError> {
        let (id, level) = (self.next_page(), self.levels.len());
        if level > usize::from(MAX_LEVEL) {
            return Err(damaged(id, "the tree has too many levels"));
        }
        let mut page = Page::zeroed();
        NodeMut::format(&mut page, id, level as u8);
        self.levels.push(Level { page, separator: Vec::new() });
        Ok(())
    }

    fn write_chain(&mut self, value: &[u8]) -> Result<Chain, EngineError> {
        let first = self.high_water;
        let mut page = Page::zeroed();
        let mut chunks = value.chunks(BODY_SIZE).peekable();
        while let Some(chunk) = chunks.next() {
            let block = self.take_block()?;
            layout::format(&mut page, Kind::Overflow, 0);
            overflow::fill(&mut page, chunk, if chunks.peek().is_some() { block + 1 } else { 0 });
            (self.sink)(page_id(self.tree.id(), block), &page)?;
        }
        let pages = (self.high_water - first) as usize;
        assert_eq!(
            pages,
            value.len().div_ceil(BODY_SIZE),
            "a value's length tells how many pages its chain has"
        );
        Ok(Chain { length: value.len(), first })
    }

    fn take_block(&mut self) -> Result<u32, EngineError> {
        let block = self.high_water;
        if block == u32::MAX {
            return Err(damaged(page_id(self.tree.id(), META_BLOCK), "all block numbers are in use"));
        }
        self.high_water += 1;
        Ok(block)
    }

    /// The page that will be finished next, to be named in errors.
    fn next_page(&self) -> PageId {
        page_id(self.tree.id(), self.high_water)
    }
}
