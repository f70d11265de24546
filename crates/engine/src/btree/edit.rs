//! Changes to one node, each leaving the page complete and its hole zero.
//!
//! Changes move as few bytes as they can, since every byte that differs is logged: a removed cell stays where it is and is
//! counted as dead, a value of the same length is written over the old one, and cells are only moved together when the
//! hole has become too small although there is room.

use crate::page::{PAGE_SIZE, Page};
use crate::{EngineError, PageId};

use super::MAX_KEY;
use super::layout::{self, BODY_SIZE, HEADER_SIZE, Kind, SPECIAL, damaged, set_u16};
use super::node::{CELL_HEADER, Cell, IN_CHAIN, Node, SLOT_SIZE, Stored};

/// A node to be changed.
pub(super) struct NodeMut<'a> {
    page: &'a mut Page,
    id: PageId,
}

impl<'a> NodeMut<'a> {
    /// Makes `page` a node without entries.
    pub(super) fn format(page: &'a mut Page, id: PageId, level: u8) -> Self {
        layout::format(page, Kind::Node, level);
        Self { page, id }
    }

    #[inline]
    pub(super) fn open(page: &'a mut Page, id: PageId) -> Result<Self, EngineError> {
        Node::open(page, id)?;
        Ok(Self { page, id })
    }

    /// The node as it is now. Every change keeps its header sound.
    #[inline(always)]
    pub(super) fn read(&self) -> Node<'_> {
        Node::sound(self.page, self.id)
    }

    /// Puts an entry before entry `index`. False, and nothing changed, if there is no room.
    #[inline]
    pub(super) fn insert(&mut self, index: usize, cell: Cell<'_>) -> Result<bool, EngineError> {
        let node = self.read();
        if index > node.count() {
            return Err(node.bad("it has fewer entries than expected"));
        }
        if node.hole() < cell.space() {
            if BODY_SIZE - node.live() < cell.space() {
                return Ok(false);
            }
            self.compact()?;
            if self.read().hole() < cell.space() {
                return Err(damaged(self.id, "its count of free bytes is wrong"));
            }
        }
        let at = self.write_cell(cell);
        let lower = layout::lower(self.page);
        let slot = HEADER_SIZE + index * SLOT_SIZE;
        self.page.bytes_mut().copy_within(slot..lower, slot + SLOT_SIZE);
        set_u16(self.page, slot, at as u16);
        layout::set_lower(self.page, lower + SLOT_SIZE);
        assert!(layout::lower(self.page) <= layout::upper(self.page), "slots end before cells begin");
        Ok(true)
    }

    /// Puts an entry after all others; it has to fit.
    pub(super) fn push(&mut self, cell: Cell<'_>) -> Result<(), EngineError> {
        let count = self.read().count();
        self.insert_fitting(count, cell)
    }

    /// Puts an entry where the caller has made sure that it fits.
    pub(super) fn insert_fitting(&mut self, index: usize, cell: Cell<'_>) -> Result<(), EngineError> {
        if self.insert(index, cell)? { Ok(()) } else { Err(damaged(self.id, "it is fuller than it says")) }
    }

    /// Changes what is stored for entry `index`. False, and nothing changed, if there is no room.
    #[inline]
    pub(super) fn set_stored(&mut self, index: usize, stored: Stored<'_>) -> Result<bool, EngineError> {
        let node = self.read();
        let (at, stored_at, end) = node.extent(index)?;
        let (old, new) = (end - stored_at, stored.bytes.len());
        if new <= old {
            self.page.bytes_mut()[stored_at..stored_at + new].copy_from_slice(stored.bytes);
            set_u16(self.page, at + 2, length_field(stored));
            self.add_dead(old - new)?;
            return Ok(true);
        }
        let cell = Cell { key: node.cell(index)?.key, stored };
        let needed = cell.space() - SLOT_SIZE;
        if node.hole() >= needed {
            let (start, key_length) = (layout::upper(self.page) - needed, cell.key.len());
            assert!(start >= layout::lower(self.page), "a new cell lies in the hole");
            self.page.bytes_mut().copy_within(at..stored_at, start);
            let stored_at = start + CELL_HEADER + key_length;
            self.page.bytes_mut()[stored_at..stored_at + new].copy_from_slice(stored.bytes);
            set_u16(self.page, start + 2, length_field(stored));
            layout::set_upper(self.page, start);
            set_u16(self.page, HEADER_SIZE + index * SLOT_SIZE, start as u16);
            self.add_dead(end - at)?;
            return Ok(true);
        }
        if BODY_SIZE - node.live() + (end - at) < needed {
            return Ok(false);
        }
        let mut key = [0; MAX_KEY];
        let Some(key) = key.get_mut(..cell.key.len()) else {
            return Err(node.bad("a key is longer than keys may be"));
        };
        key.copy_from_slice(cell.key);
        self.remove(index)?;
        self.insert_fitting(index, Cell { key, stored })?;
        Ok(true)
    }

    /// Takes entry `index` away.
    pub(super) fn remove(&mut self, index: usize) -> Result<(), EngineError> {
        let (at, _, end) = self.read().extent(index)?;
        let lower = layout::lower(self.page);
        let slot = HEADER_SIZE + index * SLOT_SIZE;
        assert!(slot + SLOT_SIZE <= lower, "an entry that is taken away was one");
        let bytes = self.page.bytes_mut();
        bytes.copy_within(slot + SLOT_SIZE..lower, slot);
        bytes[lower - SLOT_SIZE..lower].fill(0);
        layout::set_lower(self.page, lower - SLOT_SIZE);
        if lower - SLOT_SIZE == HEADER_SIZE {
            self.give_back(SPECIAL);
            layout::set_dead(self.page, 0);
            Ok(())
        } else if at == layout::upper(self.page) {
            self.give_back(end);
            Ok(())
        } else {
            self.add_dead(end - at)
        }
    }

    /// Takes the entries from `start` to before `end` away.
    pub(super) fn remove_range(&mut self, start: usize, end: usize) -> Result<(), EngineError> {
        let count = self.read().count();
        if start > end || end > count {
            return Err(damaged(self.id, "it has fewer entries than expected"));
        }
        let lower = layout::lower(self.page);
        let slot = |index: usize| HEADER_SIZE + index * SLOT_SIZE;
        let bytes = self.page.bytes_mut();
        bytes.copy_within(slot(end)..lower, slot(start));
        bytes[lower - (end - start) * SLOT_SIZE..lower].fill(0);
        layout::set_lower(self.page, lower - (end - start) * SLOT_SIZE);

        let node = Node::sound(self.page, self.id);
        let (mut first, mut used) = (SPECIAL, 0);
        for index in 0..node.count() {
            let (at, _, end) = node.extent(index)?;
            first = first.min(at);
            used += end - at;
        }
        let Some(dead) = (SPECIAL - first).checked_sub(used) else {
            return Err(damaged(self.id, "cells overlap"));
        };
        self.give_back(first);
        layout::set_dead(self.page, dead);
        Ok(())
    }

    /// Gives entry `index` another key; it has to fit.
    pub(super) fn set_key(&mut self, index: usize, key: &[u8]) -> Result<(), EngineError> {
        let child = self.read().child(index)?.to_le_bytes();
        self.remove(index)?;
        self.insert_fitting(index, Cell { key, stored: Stored { bytes: &child, in_chain: false } })
    }

    /// Writes a cell at the lower end of the cells and tells where.
    #[inline]
    fn write_cell(&mut self, cell: Cell<'_>) -> usize {
        assert!(cell.space() <= self.read().hole(), "a new cell and its slot fit the hole");
        let start = layout::upper(self.page) - (cell.space() - SLOT_SIZE);
        let stored_at = start + CELL_HEADER + cell.key.len();
        set_u16(self.page, start, cell.key.len() as u16);
        set_u16(self.page, start + 2, length_field(cell.stored));
        let bytes = self.page.bytes_mut();
        bytes[start + CELL_HEADER..stored_at].copy_from_slice(cell.key);
        bytes[stored_at..stored_at + cell.stored.bytes.len()].copy_from_slice(cell.stored.bytes);
        layout::set_upper(self.page, start);
        start
    }

    /// Lets the hole reach up to `upper`.
    fn give_back(&mut self, upper: usize) {
        let old = layout::upper(self.page);
        assert!(
            layout::lower(self.page) <= upper && upper <= SPECIAL,
            "the hole ends before the special space"
        );
        if upper > old {
            self.page.bytes_mut()[old..upper].fill(0);
        }
        layout::set_upper(self.page, upper);
    }

    #[inline]
    fn add_dead(&mut self, bytes: usize) -> Result<(), EngineError> {
        if bytes == 0 {
            return Ok(());
        }
        let dead = layout::dead(self.page) + bytes;
        if dead > SPECIAL - layout::upper(self.page) {
            return Err(damaged(self.id, "its count of free bytes is wrong"));
        }
        layout::set_dead(self.page, dead);
        Ok(())
    }

    /// Moves the cells together, in the order of their keys from the special space down.
    fn compact(&mut self) -> Result<(), EngineError> {
        let node = Node::sound(self.page, self.id);
        let lower = layout::lower(self.page);
        let mut packed = [0; PAGE_SIZE];
        let mut start = SPECIAL;
        for index in 0..node.count() {
            let (at, _, end) = node.extent(index)?;
            let length = end - at;
            if start - lower < length {
                return Err(node.bad("cells overlap"));
            }
            start -= length;
            packed[start..start + length].copy_from_slice(&self.page.bytes()[at..end]);
            let slot = HEADER_SIZE + index * SLOT_SIZE;
            packed[slot..slot + SLOT_SIZE].copy_from_slice(&(start as u16).to_le_bytes());
        }
        self.page.bytes_mut()[HEADER_SIZE..SPECIAL].copy_from_slice(&packed[HEADER_SIZE..SPECIAL]);
        layout::set_upper(self.page, start);
        layout::set_dead(self.page, 0);
        assert!(lower <= start && start <= SPECIAL, "cells lie between slots and special space");
        Ok(())
    }
}

/// The second length of a cell's header.
#[inline]
fn length_field(stored: Stored<'_>) -> u16 {
    stored.bytes.len() as u16 | if stored.in_chain { IN_CHAIN } else { 0 }
}
