//! The structural verifier.

use std::collections::HashSet;

use crate::page::Page;
use crate::page_access::PageReader;
use crate::{EngineError, PageId, TreeId};

use super::descent::open;
use super::layout::{self, BODY_SIZE, HEADER_SIZE, META_BLOCK, ROOT_BLOCK, SPECIAL, damaged, page_id};
use super::meta::{Meta, next_free};
use super::node::{Node, SLOT_SIZE};
use super::overflow::{self, Chain};
use super::{MAX_INLINE, MAX_KEY};

/// What a tree consists of.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TreeReport {
    /// Levels above the leaves.
    pub root_level: u8,
    /// Entries.
    pub entries: u64,
    /// Leaves, the root if it is one among them.
    pub leaves: u32,
    /// Inner nodes.
    pub inner_nodes: u32,
    /// Pages of overflow chains.
    pub overflow_pages: u32,
    /// Pages on the free list.
    pub free_pages: u32,
    /// Bytes that entries take in leaves, slots included.
    pub leaf_bytes: u64,
}

impl TreeReport {
    /// How full leaves are on average: 1.0 if there is not a byte left.
    pub fn leaf_fill(&self) -> f64 {
        self.leaf_bytes as f64 / (f64::from(self.leaves.max(1)) * BODY_SIZE as f64)
    }
}

/// See [`super::BTree::check`].
pub(super) fn check<R: PageReader + ?Sized>(r: &R, tree: TreeId) -> Result<TreeReport, EngineError> {
    let meta_id = page_id(tree, META_BLOCK);
    let meta = {
        let page = r.page(meta_id)?;
        check_hole(&page, meta_id)?;
        Meta::read(&page, meta_id)?
    };
    let mut check = Check { r, tree, meta, seen: HashSet::from([META_BLOCK]), report: TreeReport::default() };
    check.report.root_level = meta.root_level;
    check.subtree(ROOT_BLOCK, meta.root_level, None, None)?;
    check.free_list()?;
    if check.seen.len() != meta.high_water as usize {
        let lost = (0..meta.high_water).find(|block| !check.seen.contains(block)).unwrap_or_default();
        return Err(damaged(page_id(tree, lost), "nothing leads to it"));
    }
    Ok(check.report)
}

struct Check<'a, R: ?Sized> {
    r: &'a R,
    tree: TreeId,
    meta: Meta,
    seen: HashSet<u32>,
    report: TreeReport,
}

impl<R: PageReader + ?Sized> Check<'_, R> {
    /// Notes that something leads to `block`.
    fn reach(&mut self, block: u32) -> Result<PageId, EngineError> {
        let id = page_id(self.tree, block);
        if block >= self.meta.high_water {
            return Err(damaged(id, "it is beyond the tree's high-water mark"));
        }
        if !self.seen.insert(block) {
            return Err(damaged(id, "it is used twice"));
        }
        Ok(id)
    }

    /// Checks what is at and below `block`: its keys are not below `low` and below `high`.
    fn subtree(
        &mut self,
        block: u32,
        level: u8,
        low: Option<&[u8]>,
        high: Option<&[u8]>,
    ) -> Result<(), EngineError> {
        let id = self.reach(block)?;
        let page = self.r.page(id)?;
        let node = open(&page, id, Some(level))?;
        check_hole(&page, id)?;
        check_cells(&page, &node)?;
        if node.count() == 0 && (block != ROOT_BLOCK || level > 0) {
            return Err(damaged(id, "it is empty"));
        }
        if level == 0 {
            return self.leaf(&node, low, high);
        }
        self.report.inner_nodes += 1;
        if !node.key(0)?.is_empty() {
            return Err(damaged(id, "its first entry is not for the lowest keys"));
        }
        for index in 0..node.count() {
            let own_low = if index == 0 { low } else { Some(node.key(index)?) };
            let own_high = if index + 1 == node.count() { high } else { Some(node.key(index + 1)?) };
            if index > 0 {
                check_between(&node, index, low, high)?;
            }
            self.subtree(node.child(index)?, level - 1, own_low, own_high)?;
        }
        Ok(())
    }

    fn leaf(&mut self, node: &Node<'_>, low: Option<&[u8]>, high: Option<&[u8]>) -> Result<(), EngineError> {
        self.report.leaves += 1;
        self.report.entries += node.count() as u64;
        self.report.leaf_bytes += node.live() as u64;
        for index in 0..node.count() {
            check_between(node, index, low, high)?;
            let cell = node.cell(index)?;
            match Chain::of(cell.stored, node.id())? {
                None if cell.key.len() + cell.stored.bytes.len() > MAX_INLINE => {
                    return Err(node.bad("a long value is not on overflow pages"));
                }
                None => {}
                Some(chain) => self.chain(chain)?,
            }
        }
        Ok(())
    }

    fn chain(&mut self, chain: Chain) -> Result<(), EngineError> {
        let (mut left, mut block) = (chain.length, chain.first);
        while left > 0 {
            let id = self.reach(block)?;
            let page = self.r.page(id)?;
            check_hole(&page, id)?;
            let (held, next) = overflow::part(&page, id, left)?;
            self.report.overflow_pages += 1;
            left -= held.len();
            block = next;
        }
        Ok(())
    }

    fn free_list(&mut self) -> Result<(), EngineError> {
        let mut block = self.meta.free_head;
        while block != 0 {
            let id = self.reach(block)?;
            let page = self.r.page(id)?;
            check_hole(&page, id)?;
            self.report.free_pages += 1;
            block = next_free(&page, id)?;
        }
        if self.report.free_pages != self.meta.free_count {
            let id = page_id(self.tree, META_BLOCK);
            return Err(damaged(id, "its number of free pages is not that of the free list"));
        }
        Ok(())
    }
}

/// Entry `index` is above the one before, not below `low`, and below `high`.
fn check_between(
    node: &Node<'_>,
    index: usize,
    low: Option<&[u8]>,
    high: Option<&[u8]>,
) -> Result<(), EngineError> {
    let key = node.key(index)?;
    if key.len() > MAX_KEY {
        return Err(node.bad("a key is longer than keys may be"));
    }
    if low.is_some_and(|low| key < low) || high.is_some_and(|high| key >= high) {
        return Err(node.bad("a key is not between the separators that lead to it"));
    }
    if index > 0 && key <= node.key(index - 1)? {
        return Err(node.bad("its keys are out of order"));
    }
    Ok(())
}

/// Cells do not overlap, and what they leave over is counted as dead.
fn check_cells(page: &Page, node: &Node<'_>) -> Result<(), EngineError> {
    let mut cells = Vec::with_capacity(node.count());
    for index in 0..node.count() {
        let (start, _, end) = node.extent(index)?;
        cells.push((start, end));
    }
    cells.sort_unstable();
    if cells.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err(node.bad("cells overlap"));
    }
    let used: usize = cells.iter().map(|(start, end)| end - start).sum();
    if used + node.count() * SLOT_SIZE != node.live()
        || SPECIAL - layout::upper(page) - layout::dead(page) != used
    {
        return Err(node.bad("its count of free bytes is wrong"));
    }
    Ok(())
}

/// The log leaves holes out, so there must be nothing in them.
fn check_hole(page: &Page, id: PageId) -> Result<(), EngineError> {
    let (lower, upper) = (layout::lower(page), layout::upper(page));
    match page.bytes().get(lower..upper) {
        Some(hole) if lower >= HEADER_SIZE && hole.iter().all(|&byte| byte == 0) => Ok(()),
        _ => Err(damaged(id, "there is something in its hole")),
    }
}
