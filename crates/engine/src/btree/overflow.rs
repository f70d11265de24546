//! Values too long for a leaf: chains of pages.
//!
//! Every page of a chain but the last is full, so a value's length tells how many there are, and no chain can be walked
//! for ever. The leaf keeps the length (4 bytes) and the first block (4 bytes).

use crate::page::Page;
use crate::page_access::{PageReader, PageWriter};
use crate::{EngineError, PageId, TreeId};

use super::MAX_VALUE;
use super::layout::{self, BODY_SIZE, HEADER_SIZE, Kind, ROOT_BLOCK, SPECIAL, damaged, page_id};
use super::meta::{allocate, release};
use super::node::Stored;

/// Memory taken at once on the word of a length that a page states; more only as the bytes arrive.
const TRUSTED: usize = 1 << 20;

/// Where a long value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chain {
    /// Length of the value in bytes.
    pub(super) length: usize,
    /// Its first block.
    pub(super) first: u32,
}

impl Chain {
    /// Bytes that a leaf stores for it.
    pub(super) const STORED: usize = 8;

    /// Which chain the leaf `id` means by `stored`; none if that is the value itself.
    pub(super) fn of(stored: Stored<'_>, id: PageId) -> Result<Option<Self>, EngineError> {
        if !stored.in_chain {
            return Ok(None);
        }
        if let Ok([a, b, c, d, e, f, g, h]) = <[u8; 8]>::try_from(stored.bytes) {
            let (length, first) =
                (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
            if (1..=MAX_VALUE).contains(&length) && first > ROOT_BLOCK {
                return Ok(Some(Self { length, first }));
            }
        }
        Err(damaged(id, "an entry does not say where its value is"))
    }

    /// What a leaf stores for it.
    pub(super) fn encode(&self) -> [u8; Self::STORED] {
        assert!((1..=MAX_VALUE).contains(&self.length), "a chain holds a value that trees take");
        let mut bytes = [0; Self::STORED];
        bytes[..4].copy_from_slice(&(self.length as u32).to_le_bytes());
        bytes[4..].copy_from_slice(&self.first.to_le_bytes());
        bytes
    }
}

/// Writes one page of a chain over what is on `page`: a full one, unless it is the last, which `next` 0 says.
pub(super) fn fill(page: &mut Page, chunk: &[u8], next: u32) {
    assert!(chunk.len() == BODY_SIZE || next == 0, "every page of a chain but the last is full");
    assert!(next != ROOT_BLOCK, "no chain leads to the root");
    let end = HEADER_SIZE + chunk.len();
    page.bytes_mut()[HEADER_SIZE..end].copy_from_slice(chunk);
    page.bytes_mut()[end..SPECIAL].fill(0);
    layout::set_lower(page, end);
    layout::set_next(page, next);
}

/// What a page of a chain holds, and the block after it. `left`: how much of the value is from here on.
pub(super) fn part(page: &Page, id: PageId, left: usize) -> Result<(&[u8], u32), EngineError> {
    layout::expect(page, id, Kind::Overflow)?;
    let (lower, next) = (layout::lower(page), layout::next(page));
    if lower - HEADER_SIZE != left.min(BODY_SIZE) {
        return Err(damaged(id, "it holds another part of a long value than expected"));
    }
    if (left <= BODY_SIZE) != (next == 0) || next == ROOT_BLOCK {
        return Err(damaged(id, "a chain of overflow pages is longer or shorter than its value"));
    }
    Ok((&page.bytes()[HEADER_SIZE..lower], next))
}

/// Appends the value of `chain` to `into`.
pub(super) fn read<R: PageReader + ?Sized>(
    r: &R,
    tree: TreeId,
    chain: Chain,
    into: &mut Vec<u8>,
) -> Result<(), EngineError> {
    into.reserve(chain.length.min(TRUSTED));
    let (mut left, mut block) = (chain.length, chain.first);
    while left > 0 {
        let id = page_id(tree, block);
        let page = r.page(id)?;
        let (bytes, next) = part(&page, id, left)?;
        into.extend_from_slice(bytes);
        left -= bytes.len();
        block = next;
    }
    Ok(())
}

/// Writes `value`, which is not empty, to a chain: on the pages of `old` as far as they reach, then on new ones. Pages of
/// `old` that are left over are given back.
pub(super) fn write<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    value: &[u8],
    old: Option<Chain>,
) -> Result<Chain, EngineError> {
    let mut old_left = old.map_or(0, |chain| chain.length);
    let first = match old {
        Some(chain) => chain.first,
        None => allocate(w, tree)?,
    };
    let mut chunks = value.chunks(BODY_SIZE).peekable();
    let mut block = first;
    while let Some(chunk) = chunks.next() {
        let id = page_id(tree, block);
        let is_old = old_left > 0;
        let mut next = 0;
        if is_old {
            let (held, follower) = part(w.page(id)?, id, old_left)?;
            old_left -= held.len();
            next = follower;
        }
        if chunks.peek().is_none() {
            free(w, tree, next, old_left)?;
            next = 0;
        } else if next == 0 {
            next = allocate(w, tree)?;
        }
        let page = if is_old {
            w.page_mut(id)?
        } else {
            let page = w.new_page(id)?;
            layout::format(page, Kind::Overflow, 0);
            page
        };
        fill(page, chunk, next);
        block = next;
    }
    Ok(Chain { length: value.len(), first })
}

/// Gives the pages of `chain` back.
pub(super) fn drop_chain<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    chain: Chain,
) -> Result<(), EngineError> {
    free(w, tree, chain.first, chain.length)
}

/// Gives back the pages of a chain from `block` on, which hold `left` bytes.
fn free<W: PageWriter + ?Sized>(
    w: &mut W,
    tree: TreeId,
    mut block: u32,
    mut left: usize,
) -> Result<(), EngineError> {
    while left > 0 {
        let id = page_id(tree, block);
        let (held, next) = part(w.page(id)?, id, left)?;
        left -= held.len();
        release(w, tree, block)?;
        block = next;
    }
    Ok(())
}
