//! B+trees of variable-length keys and values on pages.
//!
//! A tree is one relation: block 0 describes it (`meta`), block 1 is its root for good. Nodes (`node`, `edit`) have
//! no links to their siblings, so that a change touches as few pages as it can; a [`Cursor`] that leaves a leaf finds the
//! next one from the root. Values that do not fit a quarter of a page are in chains of `overflow` pages.
//!
//! Nothing here knows of the log, of locks or of snapshots: pages come from a [`PageReader`], and a [`PageWriter`] is told
//! which of them change. Invariants, all checked by [`BTree::check`]:
//! - Keys ascend within a node, and lie between the separators that lead to it.
//! - All leaves are at the same depth; a node's level is its parent's less one.
//! - Only the root may be empty.
//! - Every block below the high-water mark is in the tree, in one chain, or on the free list, exactly once.
//! - The hole of every page is zero.
//!
//! What is read from a page is checked before it is believed: a damaged page gives [`EngineError::Damaged`], never a panic
//! and never a walk without end.

mod bulk;
mod check;
mod cursor;
mod delete;
mod descent;
mod edit;
mod layout;
mod meta;
mod node;
mod overflow;
mod put;
mod rebalance;
mod split;
#[cfg(test)]
mod tests;

pub use bulk::BulkBuilder;
pub use check::TreeReport;
pub use cursor::{Cursor, Gap};

use crate::page_access::{PageReader, PageWriter};
use crate::{EngineError, TreeId};

use edit::NodeMut;
use layout::{BODY_SIZE, META_BLOCK, ROOT_BLOCK, page_id};
use meta::Meta;
use node::{CELL_HEADER, SLOT_SIZE};

/// The longest key in bytes.
pub const MAX_KEY: usize = 2000;

/// The longest value in bytes.
pub const MAX_VALUE: usize = 64 << 20;

/// Key and value together that a leaf takes; at least four entries fit a page. Longer values go to overflow pages.
const MAX_INLINE: usize = BODY_SIZE / 4 - SLOT_SIZE - CELL_HEADER;

/// A tree, by the files that its pages are in. Holds nothing: everything is on the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BTree {
    id: TreeId,
}

impl BTree {
    /// The tree in the files of `id`.
    pub const fn new(id: TreeId) -> Self {
        Self { id }
    }

    /// Which tree it is.
    pub const fn id(&self) -> TreeId {
        self.id
    }

    /// Makes it an empty tree, whatever was on its first two pages.
    pub fn create<W: PageWriter + ?Sized>(&self, w: &mut W) -> Result<(), EngineError> {
        Meta::EMPTY.write(w.new_page(page_id(self.id, META_BLOCK))?);
        let root = page_id(self.id, ROOT_BLOCK);
        NodeMut::format(w.new_page(root)?, root, 0);
        Ok(())
    }

    /// Calls `with` on the value of `key`, in place unless it is on overflow pages. `None` if there is no such key.
    pub fn get_with<R: PageReader + ?Sized, T>(
        &self,
        r: &R,
        key: &[u8],
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, EngineError> {
        descent::get_with(r, self.id, key, with)
    }

    /// The value of `key`, copied.
    pub fn get<R: PageReader + ?Sized>(&self, r: &R, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.get_with(r, key, <[u8]>::to_vec)
    }

    /// Gives `key` the value `value`; tells whether it had one before.
    ///
    /// # Errors
    /// [`EngineError::KeyTooLong`] beyond [`MAX_KEY`], [`EngineError::ValueTooLong`] beyond [`MAX_VALUE`], both before
    /// anything is changed.
    pub fn put<W: PageWriter + ?Sized>(
        &self,
        w: &mut W,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, EngineError> {
        check_lengths(key, value)?;
        put::put(w, self.id, key, value)
    }

    /// Takes `key` away; tells whether it was there.
    pub fn delete<W: PageWriter + ?Sized>(&self, w: &mut W, key: &[u8]) -> Result<bool, EngineError> {
        delete::delete(w, self.id, key)
    }

    /// Reads the whole tree and checks everything that has to hold for it.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] naming the page at which something does not.
    pub fn check<R: PageReader + ?Sized>(&self, r: &R) -> Result<TreeReport, EngineError> {
        check::check(r, self.id)
    }
}

/// Whether `key` and `value` can be stored at all.
fn check_lengths(key: &[u8], value: &[u8]) -> Result<(), EngineError> {
    if key.len() > MAX_KEY {
        return Err(EngineError::KeyTooLong { length: key.len(), limit: MAX_KEY });
    }
    if value.len() > MAX_VALUE {
        return Err(EngineError::ValueTooLong { length: value.len(), limit: MAX_VALUE });
    }
    Ok(())
}
