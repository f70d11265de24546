//! Block 0: what describes a tree, and the pages that it may still take.
//!
//! Everything below `high_water` is this page, a node, part of an overflow chain, or on the free list, and only one of
//! these. Only what takes or gives back a page changes this page, so that most changes of a tree leave it alone.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 24 | 4 | magic, "WTRE" |
//! | 28 | 4 | version, 1 |
//! | 32 | 4 | the root's block, 1 |
//! | 36 | 4 | the root's level |
//! | 40 | 4 | high water: blocks ever taken |
//! | 44 | 4 | first block of the free list, 0 if there is none |
//! | 48 | 4 | blocks on the free list |

use crate::page::Page;
use crate::page_access::PageWriter;
use crate::{EngineError, PageId, TreeId};

use super::layout::{self, HEADER_SIZE, Kind, META_BLOCK, ROOT_BLOCK, damaged, page_id, set_u32, u32_at};

const MAGIC: u32 = u32::from_le_bytes(*b"WTRE");
const VERSION: u32 = 1;
const FIELDS: usize = 7;
/// Where the next free block's number is on a free page: its body holds nothing else.
const NEXT_FREE: usize = HEADER_SIZE;

/// What block 0 says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Meta {
    /// The root's level: 0 while the root is a leaf. Moved by whatever adds or takes away a level.
    pub(super) root_level: u8,
    /// Blocks ever taken; the next block to take when none is free. Never moves back.
    pub(super) high_water: u32,
    /// First block of the free list, 0 if there is none.
    pub(super) free_head: u32,
    /// Blocks on the free list.
    pub(super) free_count: u32,
}

impl Meta {
    /// What a tree of an empty leaf says.
    pub(super) const EMPTY: Self =
        Self { root_level: 0, high_water: ROOT_BLOCK + 1, free_head: 0, free_count: 0 };

    pub(super) fn read(page: &Page, id: PageId) -> Result<Self, EngineError> {
        layout::expect(page, id, Kind::Meta)?;
        let field = |number: usize| u32_at(page, HEADER_SIZE + number * 4);
        if layout::lower(page) != HEADER_SIZE + FIELDS * 4 || field(0) != MAGIC {
            return Err(damaged(id, "it does not describe a tree"));
        }
        if field(1) != VERSION || field(2) != ROOT_BLOCK {
            let (version, root) = (field(1), field(2));
            return Err(damaged(id, format!("version {version} with its root at {root} is not known here")));
        }
        let (Ok(root_level), high_water, free_head, free_count) =
            (u8::try_from(field(3)), field(4), field(5), field(6))
        else {
            return Err(damaged(id, "no tree is that high"));
        };
        if high_water <= ROOT_BLOCK
            || free_head >= high_water
            || free_count >= high_water
            || free_head == ROOT_BLOCK
            || (free_head == 0) != (free_count == 0)
        {
            return Err(damaged(id, "its free list cannot be"));
        }
        Ok(Self { root_level, high_water, free_head, free_count })
    }

    /// Makes `page` say this.
    pub(super) fn write(&self, page: &mut Page) {
        layout::format(page, Kind::Meta, 0);
        self.store(page);
    }

    /// Makes `page`, which describes a tree already, say this.
    fn store(&self, page: &mut Page) {
        let Self { high_water, free_head, free_count, .. } = *self;
        assert!(
            high_water > ROOT_BLOCK,
            "the root and what describes the tree lie below the high-water mark"
        );
        assert!(
            free_head < high_water,
            "free block {free_head} lies below the high-water mark, {high_water}"
        );
        assert!(
            free_count < high_water,
            "fewer blocks are free, {free_count}, than were taken, {high_water}"
        );
        assert_eq!(free_head == 0, free_count == 0, "the free list has a first block unless it has none");
        let root_level = u32::from(self.root_level);
        let fields: [u32; FIELDS] =
            [MAGIC, VERSION, ROOT_BLOCK, root_level, self.high_water, self.free_head, self.free_count];
        for (number, field) in fields.into_iter().enumerate() {
            set_u32(page, HEADER_SIZE + number * 4, field);
        }
        layout::set_lower(page, HEADER_SIZE + FIELDS * 4);
    }
}

/// Changes what block 0 of `tree` says.
fn update<W: PageWriter + ?Sized, R>(
    w: &mut W,
    tree: TreeId,
    change: impl FnOnce(&mut Meta) -> R,
) -> Result<R, EngineError> {
    let id = page_id(tree, META_BLOCK);
    let page = w.page_mut(id)?;
    let mut meta = Meta::read(page, id)?;
    let before = meta.high_water;
    let result = change(&mut meta);
    assert!(
        before <= meta.high_water,
        "the high-water mark never moves back: from {before} to {}",
        meta.high_water
    );
    meta.store(page);
    Ok(result)
}

/// Takes a block for use: a free one, or the next beyond the high-water mark. Its page is still to be made.
pub(super) fn allocate<W: PageWriter + ?Sized>(w: &mut W, tree: TreeId) -> Result<u32, EngineError> {
    let id = page_id(tree, META_BLOCK);
    let meta = Meta::read(w.page(id)?, id)?;
    if meta.free_head != 0 {
        let next = next_free(w.page(page_id(tree, meta.free_head))?, page_id(tree, meta.free_head))?;
        if next >= meta.high_water || (next == 0) != (meta.free_count == 1) {
            return Err(damaged(id, "its free list is longer or shorter than it says"));
        }
        update(w, tree, |meta| {
            meta.free_head = next;
            meta.free_count -= 1;
        })?;
        return Ok(meta.free_head);
    }
    if meta.high_water == u32::MAX {
        return Err(damaged(id, "all block numbers are in use"));
    }
    update(w, tree, |meta| meta.high_water += 1)?;
    Ok(meta.high_water)
}

/// Gives `block` back: nothing may lead to it any more. Neither the root nor what describes the tree is ever given back.
pub(super) fn release<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    block: u32,
) -> Result<(), EngineError> {
    assert!(block > ROOT_BLOCK, "block {block} of {tree} is the tree's for good");
    let id = page_id(tree, META_BLOCK);
    let Meta { high_water, free_count, .. } = Meta::read(w.page(id)?, id)?;
    if block >= high_water || free_count >= high_water - 1 {
        return Err(damaged(id, format!("it has {high_water} blocks, and {block} is led to")));
    }
    let next = update(w, tree, |meta| {
        meta.free_count += 1;
        std::mem::replace(&mut meta.free_head, block)
    })?;
    let page = w.page_mut(page_id(tree, block))?;
    layout::format(page, Kind::Free, 0);
    set_u32(page, NEXT_FREE, next);
    layout::set_lower(page, NEXT_FREE + 4);
    Ok(())
}

/// The block after this one on the free list, 0 after the last.
pub(super) fn next_free(page: &Page, id: PageId) -> Result<u32, EngineError> {
    layout::expect(page, id, Kind::Free)?;
    match u32_at(page, NEXT_FREE) {
        ROOT_BLOCK => Err(damaged(id, "the root is on the free list")),
        next => Ok(next),
    }
}

/// Notes that the root's level is now `level`.
pub(super) fn set_root_level<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    level: u8,
) -> Result<(), EngineError> {
    update(w, tree, |meta| meta.root_level = level)
}
