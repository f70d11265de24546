//! Where things are on a tree's pages.
//!
//! Every page is a standard PostgreSQL page: what is used lies below `pd_lower` and from `pd_upper` on, and **the hole
//! between them is all zeros**, because the log leaves it out. The last 16 bytes say what the page is:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 8176 | 2 | magic, `0x7EB7` |
//! | 8178 | 1 | kind |
//! | 8179 | 1 | level: 0 is a leaf |
//! | 8180 | 2 | nodes: bytes between `pd_upper` and here that belong to no cell |
//! | 8184 | 4 | overflow and free pages: the next block, 0 after the last |
//!
//! `pd_lsn` belongs to whoever logs the page, `pd_checksum` to whoever writes it; nothing here touches them.

use wal::record::BlockNumber;

use crate::page::{self, PAGE_SIZE, Page};
use crate::{EngineError, PageId, TreeId};

/// Bytes before the body: PostgreSQL's page header.
pub(super) const HEADER_SIZE: usize = page::HEADER_SIZE;
/// Where the special space starts.
pub(super) const SPECIAL: usize = PAGE_SIZE - SPECIAL_SIZE;
/// Bytes of body.
pub(super) const BODY_SIZE: usize = SPECIAL - HEADER_SIZE;
/// The block that describes the tree.
pub(super) const META_BLOCK: u32 = 0;
/// The block of the root, for good: what is in it moves down when the tree grows.
pub(super) const ROOT_BLOCK: u32 = 1;

const SPECIAL_SIZE: usize = 16;
const MAGIC: u16 = 0x7EB7;
const KIND: usize = SPECIAL + 2;
const LEVEL: usize = SPECIAL + 3;
const DEAD: usize = SPECIAL + 4;
const NEXT: usize = SPECIAL + 8;

/// What a page is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// Describes the tree.
    Meta = 1,
    /// Leaf or inner node.
    Node = 2,
    /// Part of a long value.
    Overflow = 3,
    /// On the free list.
    Free = 4,
}

pub(super) fn page_id(tree: TreeId, block: u32) -> PageId {
    PageId { tree, block: BlockNumber::new(block) }
}

pub(super) fn damaged(page: PageId, reason: impl Into<String>) -> EngineError {
    EngineError::Damaged { page, reason: reason.into() }
}

/// Two bytes at `at`, which the caller knows to lie on the page.
#[inline(always)]
pub(super) fn u16_at(page: &Page, at: usize) -> u16 {
    let bytes = page.bytes();
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
pub(super) fn set_u16(page: &mut Page, at: usize, value: u16) {
    page.bytes_mut()[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn u32_at(page: &Page, at: usize) -> u32 {
    let bytes = page.bytes();
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn set_u32(page: &mut Page, at: usize, value: u32) {
    page.bytes_mut()[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Makes `page` an empty one of `kind`; its LSN stays.
pub(super) fn format(page: &mut Page, kind: Kind, level: u8) {
    let lsn = page.lsn();
    page.init(SPECIAL_SIZE as u16);
    page.set_lsn(lsn);
    set_u16(page, SPECIAL, MAGIC);
    page.bytes_mut()[KIND] = kind as u8;
    page.bytes_mut()[LEVEL] = level;
}

/// Makes `page` hold what `from` does; its LSN stays.
pub(super) fn replace(page: &mut Page, from: &Page) {
    let lsn = page.lsn();
    page.copy_from(from);
    page.set_lsn(lsn);
}

/// Checks that `page` is one of `kind` and that `24 <= pd_lower <= pd_upper <= pd_special`.
#[inline]
pub(super) fn expect(page: &Page, id: PageId, kind: Kind) -> Result<(), EngineError> {
    if u16_at(page, SPECIAL) != MAGIC || page.bytes()[KIND] != kind as u8 {
        return Err(not_that_kind(page, id, kind));
    }
    let (lower, upper) = (lower(page), upper(page));
    if lower < HEADER_SIZE || lower > upper || upper > SPECIAL || usize::from(page.special()) != SPECIAL {
        return Err(damaged(id, format!("its header says lower {lower}, upper {upper}")));
    }
    Ok(())
}

#[cold]
fn not_that_kind(page: &Page, id: PageId, kind: Kind) -> EngineError {
    let found = page.bytes()[KIND];
    if u16_at(page, SPECIAL) != MAGIC {
        damaged(id, "it is not a page of a tree")
    } else {
        damaged(
            id,
            format!("it is a page of kind {found} where one of kind {} ({kind:?}) belongs", kind as u8),
        )
    }
}

#[inline(always)]
pub(super) fn lower(page: &Page) -> usize {
    usize::from(page.lower())
}

#[inline(always)]
pub(super) fn set_lower(page: &mut Page, lower: usize) {
    page.set_lower(lower as u16);
}

#[inline(always)]
pub(super) fn upper(page: &Page) -> usize {
    usize::from(page.upper())
}

#[inline(always)]
pub(super) fn set_upper(page: &mut Page, upper: usize) {
    page.set_upper(upper as u16);
}

#[inline(always)]
pub(super) fn level(page: &Page) -> u8 {
    page.bytes()[LEVEL]
}

#[inline(always)]
pub(super) fn dead(page: &Page) -> usize {
    usize::from(u16_at(page, DEAD))
}

#[inline(always)]
pub(super) fn set_dead(page: &mut Page, dead: usize) {
    set_u16(page, DEAD, dead as u16);
}

pub(super) fn next(page: &Page) -> u32 {
    u32_at(page, NEXT)
}

pub(super) fn set_next(page: &mut Page, next: u32) {
    set_u32(page, NEXT, next);
}
