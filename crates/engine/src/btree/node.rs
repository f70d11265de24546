//! A node as it is read: a sorted array of slots and the cells that they point to.
//!
//! The body starts with one `u16` per entry, in key order: where its cell is. `pd_lower` is the end of that array. Cells
//! lie between `pd_upper` and the special space in any order, the newest lowest. A cell:
//!
//! | bytes | field |
//! |---|---|
//! | 2 | length of the key |
//! | 2 | length of what is stored for it; bit 15: it is not the value but says where the value is |
//! | … | key |
//! | … | value; or length and first block of the overflow chain; or, in an inner node, the child's block |
//!
//! In an inner node entry *i* leads to the keys from its own key to before entry *i + 1*'s; the first entry's key is empty
//! and stands for whatever the parent says. Keys of inner nodes are cut to what tells their neighbours apart.

use std::cmp::Ordering;

use crate::page::Page;
use crate::{EngineError, PageId};

use super::layout::{self, HEADER_SIZE, Kind, ROOT_BLOCK, SPECIAL, damaged, u16_at};

/// Bytes before a cell's key.
pub(super) const CELL_HEADER: usize = 4;
/// Bytes of a slot.
pub(super) const SLOT_SIZE: usize = 2;
/// In a cell's second length: the value is in an overflow chain.
pub(super) const IN_CHAIN: u16 = 0x8000;

const ASTRAY: &str = "a slot points outside the page's cells";

/// What is stored for a key on its page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stored<'a> {
    /// The value, or what says where it is.
    pub(super) bytes: &'a [u8],
    /// Whether `bytes` only says where the value is.
    pub(super) in_chain: bool,
}

/// An entry of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell<'a> {
    pub(super) key: &'a [u8],
    pub(super) stored: Stored<'a>,
}

impl Cell<'_> {
    /// Bytes of page that an entry with such lengths takes, its slot included.
    pub(super) const fn space_for(key: usize, stored: usize) -> usize {
        SLOT_SIZE + CELL_HEADER + key + stored
    }

    /// Bytes of page that it takes, its slot included.
    pub(super) fn space(&self) -> usize {
        Self::space_for(self.key.len(), self.stored.bytes.len())
    }
}

/// Where a key is among a node's entries, or where it would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// The first entry whose key is not less.
    pub(super) index: usize,
    /// Whether that entry's key is the one.
    pub(super) found: bool,
}

/// A node whose header has been checked. Slots and cells are checked as they are used.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    page: &'a Page,
    id: PageId,
    count: usize,
}

impl<'a> Node<'a> {
    #[inline]
    pub(super) fn open(page: &'a Page, id: PageId) -> Result<Self, EngineError> {
        layout::expect(page, id, Kind::Node)?;
        let slots = layout::lower(page) - HEADER_SIZE;
        if !slots.is_multiple_of(SLOT_SIZE) || layout::dead(page) > SPECIAL - layout::upper(page) {
            return Err(damaged(id, "its numbers of slots and free bytes do not fit"));
        }
        Ok(Self { page, id, count: slots / SLOT_SIZE })
    }

    /// The node on a page whose header is known to be sound.
    #[inline(always)]
    pub(super) fn sound(page: &'a Page, id: PageId) -> Self {
        Self { page, id, count: (layout::lower(page) - HEADER_SIZE) / SLOT_SIZE }
    }

    /// How many entries it has.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// 0 for a leaf, one more than its children's otherwise.
    #[inline]
    pub(super) fn level(&self) -> u8 {
        layout::level(self.page)
    }

    pub(super) fn id(&self) -> PageId {
        self.id
    }

    /// Bytes that its entries take, slots included.
    pub(super) fn live(&self) -> usize {
        self.count * SLOT_SIZE + SPECIAL - layout::upper(self.page) - layout::dead(self.page)
    }

    /// Bytes between slots and cells.
    pub(super) fn hole(&self) -> usize {
        layout::upper(self.page) - layout::lower(self.page)
    }

    /// Where its newest cell starts: the lowest.
    pub(super) fn upper(&self) -> usize {
        layout::upper(self.page)
    }

    /// Where the cell of entry `index` starts, and the length of its key.
    #[inline(always)]
    fn cell_start(&self, index: usize) -> Result<(usize, usize), EngineError> {
        if index >= self.count {
            return Err(self.bad("it has fewer entries than expected"));
        }
        let at = usize::from(u16_at(self.page, HEADER_SIZE + index * SLOT_SIZE));
        if at < layout::upper(self.page) || at > SPECIAL - CELL_HEADER {
            return Err(self.bad(ASTRAY));
        }
        Ok((at, usize::from(u16_at(self.page, at))))
    }

    /// Where the cell of entry `index` is: start, start of what is stored, end.
    #[inline]
    pub(super) fn extent(&self, index: usize) -> Result<(usize, usize, usize), EngineError> {
        let (at, key_length) = self.cell_start(index)?;
        let stored_at = at + CELL_HEADER + key_length;
        let end = stored_at + usize::from(u16_at(self.page, at + 2) & !IN_CHAIN);
        if end > SPECIAL {
            return Err(self.bad("a cell reaches beyond the page's cells"));
        }
        Ok((at, stored_at, end))
    }

    /// Entry `index`.
    #[inline]
    pub(super) fn cell(&self, index: usize) -> Result<Cell<'a>, EngineError> {
        let (at, stored_at, end) = self.extent(index)?;
        let bytes = self.page.bytes();
        let in_chain = u16_at(self.page, at + 2) & IN_CHAIN != 0;
        Ok(Cell {
            key: &bytes[at + CELL_HEADER..stored_at],
            stored: Stored { bytes: &bytes[stored_at..end], in_chain },
        })
    }

    /// The key of entry `index`.
    pub(super) fn key(&self, index: usize) -> Result<&'a [u8], EngineError> {
        Ok(self.cell(index)?.key)
    }

    /// The block that entry `index` of an inner node leads to.
    #[inline]
    pub(super) fn child(&self, index: usize) -> Result<u32, EngineError> {
        let stored = self.cell(index)?.stored;
        match <[u8; 4]>::try_from(stored.bytes) {
            Ok(block) if !stored.in_chain && u32::from_le_bytes(block) > ROOT_BLOCK => {
                Ok(u32::from_le_bytes(block))
            }
            _ => Err(self.bad("an entry does not lead to a child")),
        }
    }

    /// Where `key` is or would be.
    #[inline]
    pub(super) fn search(&self, key: &[u8]) -> Result<Position, EngineError> {
        let (bytes, upper) = (self.page.bytes(), layout::upper(self.page));
        let slots =
            bytes.get(HEADER_SIZE..layout::lower(self.page)).unwrap_or_default().as_chunks::<SLOT_SIZE>().0;
        let head = head_of(key);
        let (mut low, mut high) = (0, slots.len());
        while low < high {
            let middle = (low + high) / 2;
            let at = usize::from(u16::from_le_bytes(slots[middle]));
            // A cell starts four bytes or more before the special space: that much of its key is on the page.
            let start = match bytes.get(at..).and_then(<[u8]>::first_chunk::<{ CELL_HEADER + HEAD }>) {
                Some(start) if at >= upper => start,
                _ => return Err(self.bad(ASTRAY)),
            };
            let length = usize::from(u16::from_le_bytes([start[0], start[1]]));
            let own =
                u128::from_be_bytes(*start.last_chunk().unwrap_or(&[0; HEAD])) & HEAD_MASKS[length.min(HEAD)];
            let less = if own != head {
                own < head
            } else {
                match self.compare_beyond_head(at, length, key)? {
                    Ordering::Equal => return Ok(Position { index: middle, found: true }),
                    order => order == Ordering::Less,
                }
            };
            // Which way it goes cannot be foreseen: written so that no branch has to be.
            low = if less { middle + 1 } else { low };
            high = if less { high } else { middle };
        }
        Ok(Position { index: low, found: false })
    }

    /// The entry of an inner node that leads to `key`.
    #[inline]
    pub(super) fn route(&self, key: &[u8]) -> Result<usize, EngineError> {
        let position = self.search(key)?;
        match position.index.checked_sub(usize::from(!position.found)) {
            Some(index) => Ok(index),
            None => Err(self.bad("its first entry is not for the lowest keys")),
        }
    }

    /// How the key of the cell at `at` compares with `key`, if their heads are the same.
    #[inline]
    fn compare_beyond_head(&self, at: usize, length: usize, key: &[u8]) -> Result<Ordering, EngineError> {
        if length <= HEAD && key.len() <= HEAD {
            return Ok(length.cmp(&key.len()));
        }
        let start = at + CELL_HEADER;
        match self.page.bytes().get(start..start + length) {
            Some(own) => Ok(own.cmp(key)),
            None => Err(self.bad(ASTRAY)),
        }
    }

    #[cold]
    pub(super) fn bad(&self, reason: &str) -> EngineError {
        damaged(self.id, reason)
    }
}

/// Bytes at the start of a key that are compared as one number. Most comparisons need no more.
const HEAD: usize = 16;

/// Keep of the bytes at a key's start those that belong to it, by its length.
const HEAD_MASKS: [u128; HEAD + 1] = {
    let mut masks = [u128::MAX; HEAD + 1];
    let mut length = 0;
    while length < HEAD {
        masks[length] = !(u128::MAX >> (8 * length));
        length += 1;
    }
    masks
};

/// The start of `key` as a number that sorts as it does, zeros after its end.
#[inline]
fn head_of(key: &[u8]) -> u128 {
    let mut head = [0; HEAD];
    let length = key.len().min(HEAD);
    head[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(head)
}
