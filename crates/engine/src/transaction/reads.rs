//! Reading single rows.

use std::cell::Cell;
use std::ops::Bound;

use wal::Lsn;

use super::{Isolation, Transaction};
use crate::btree::{BTree, Cursor};
use crate::buffer::BufferPool;
use crate::page::SharedPage;
use crate::page_access::PageReader;
use crate::snapshot::SnapshotGuard;
use crate::{EngineError, PageId, TreeId};

/// The pages that a transaction's reads of one tree go to.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    /// As of the snapshot.
    Snapshot(&'a BufferPool, &'a SnapshotGuard),
    /// The latest, of a tree that only this transaction knows.
    Own(&'a BufferPool),
}

impl PageReader for View<'_> {
    fn page(&self, id: PageId) -> Result<SharedPage, EngineError> {
        match self {
            Self::Snapshot(pool, snapshot) => pool.get_at(id, snapshot),
            Self::Own(pool) => pool.latest(id),
        }
    }

    fn as_of(&self) -> Option<Lsn> {
        match self {
            Self::Snapshot(_, snapshot) => Some(snapshot.lsn()),
            Self::Own(_) => None,
        }
    }
}

/// The latest pages, noting the newest change to any of those read.
struct Latest<'a> {
    pool: &'a BufferPool,
    newest: Cell<Lsn>,
}

impl PageReader for Latest<'_> {
    fn page(&self, id: PageId) -> Result<SharedPage, EngineError> {
        let page = self.pool.latest(id)?;
        self.newest.set(self.newest.get().max(page.lsn()));
        Ok(page)
    }
}

impl Transaction {
    /// Where reads of `tree` go; `None` if nothing of it is on any page yet.
    pub(super) fn view(&self, tree: TreeId) -> Option<View<'_>> {
        match self.created.iter().find(|created| created.tree == tree) {
            None => Some(View::Snapshot(&self.engine.pool, self.snapshot())),
            Some(created) if created.loaded => Some(View::Own(&self.engine.pool)),
            Some(_) => None,
        }
    }

    /// The value of `key`: as this transaction wrote it, or else as of its snapshot.
    pub fn get(&self, tree: TreeId, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.get_with(tree, key, <[u8]>::to_vec)
    }

    /// The same, without copying the value: `with` is called on it where it is.
    pub fn get_with<T>(
        &self,
        tree: TreeId,
        key: &[u8],
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, EngineError> {
        if let Some(own) = self.writes.get(tree, key) {
            return Ok(own.map(with));
        }
        match self.view(tree) {
            Some(view) => BTree::new(tree).get_with(&view, key, with),
            None => Ok(None),
        }
    }

    /// The value of a row that this transaction has locked: as it wrote it, or else the latest committed, confirmed or not
    /// (see [`Transaction::read_gate`]).
    ///
    /// # Errors
    /// [`EngineError::Serialization`] with repeatable read, if the row is not what the snapshot says it is.
    pub fn get_locked(&mut self, tree: TreeId, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        if let Some(own) = self.writes.get(tree, key) {
            return Ok(own.map(<[u8]>::to_vec));
        }
        if self.created.iter().any(|created| created.tree == tree) {
            return self.get(tree, key);
        }
        let (value, newest) = self.latest(tree, key)?;
        if newest > self.engine.confirmed().max(self.seen) {
            self.read_gate = self.read_gate.max(newest);
        }
        if self.isolation == Isolation::RepeatableRead && newest > self.snapshot_lsn() {
            let expected = value.as_deref();
            let pages = View::Snapshot(&self.engine.pool, self.snapshot());
            let seen = BTree::new(tree).get_with(&pages, key, |seen| Some(seen) == expected)?;
            if !seen.unwrap_or(expected.is_none()) {
                return Err(EngineError::Serialization);
            }
        }
        Ok(value)
    }

    /// Whether `tree`, which this transaction has locked exclusively and not created, is empty: as it wrote it and as the latest
    /// commits left it, confirmed or not.
    pub fn is_empty_locked(&self, tree: TreeId) -> Result<bool, EngineError> {
        if self.writes.writes(tree).is_some_and(|writes| !writes.is_empty()) {
            return Ok(false);
        }
        self.engine.publishing.read(|| {
            let pages = Latest { pool: &self.engine.pool, newest: Cell::new(Lsn::INVALID) };
            let mut cursor = Cursor::new(BTree::new(tree), Bound::Unbounded, Bound::Unbounded);
            let (mut key, mut value) = (Vec::new(), Vec::new());
            Ok(!cursor.next(&pages, &mut key, &mut value)?)
        })
    }

    /// The latest value, and the newest change to any page on the way to it.
    fn latest(&self, tree: TreeId, key: &[u8]) -> Result<(Option<Vec<u8>>, Lsn), EngineError> {
        self.engine.publishing.read(|| {
            let pages = Latest { pool: &self.engine.pool, newest: Cell::new(Lsn::INVALID) };
            let value = BTree::new(tree).get(&pages, key)?;
            Ok((value, pages.newest.get()))
        })
    }
}
