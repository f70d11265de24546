//! Reading ranges: the pages' entries with the transaction's own writes over them.

use std::cmp::Ordering;
use std::ops::Bound;

use super::Transaction;
use super::write_set::first_within;
use crate::btree::{BTree, Cursor, Gap};
use crate::{EngineError, TreeId};

/// Which way a scan goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// A range being read, entry by entry. Owns all it knows: between two calls the transaction may read, write and begin
/// statements; the scan goes on after the last key it gave. Entries that its own transaction writes before it gets there
/// are among those it gives.
#[derive(Debug)]
pub struct Scan {
    tree: TreeId,
    direction: Direction,
    /// What is left of the range: moved to the last key given.
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    /// Over the pages; stands after `ahead`, if that is full.
    cursor: Cursor,
    /// The pages' next entry, read while an own write came before it.
    ahead: Option<Entry>,
    /// Buffers for `ahead`, while it is empty.
    spare: Entry,
}

#[derive(Debug, Default)]
struct Entry {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Transaction {
    /// A scan of the keys of `tree` within the bounds. Reads nothing yet.
    pub fn scan(&self, tree: TreeId, bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>), direction: Direction) -> Scan {
        let (lower, upper) = bounds;
        let mut cursor = Cursor::new(BTree::new(tree), lower.clone(), upper.clone());
        if direction == Direction::Backward {
            cursor.seek(Gap::End);
        }
        Scan { tree, direction, lower, upper, cursor, ahead: None, spare: Entry::default() }
    }
}

impl Scan {
    /// Puts the next entry into `key` and `value`. False if there is none.
    pub fn next(
        &mut self,
        transaction: &Transaction,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, EngineError> {
        let own_writes = transaction.writes.writes(self.tree).filter(|writes| !writes.is_empty());
        let Some(own_writes) = own_writes else {
            let found = self.next_on_pages(transaction, key, value)?;
            if found {
                self.passed(key);
            }
            return Ok(found);
        };
        loop {
            self.read_ahead(transaction)?;
            let (lower, upper) = (as_slices(&self.lower), as_slices(&self.upper));
            let own = first_within(own_writes, lower, upper, self.direction == Direction::Backward);
            let order = match (&own, &self.ahead) {
                (None, None) => return Ok(false),
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some((own, _)), Some(ahead)) => self.order(own, &ahead.key),
            };
            match own {
                Some((own_key, own_value)) if order != Ordering::Greater => {
                    key.clear();
                    key.extend_from_slice(own_key);
                    if order == Ordering::Equal {
                        self.spare = self.ahead.take().unwrap_or_default();
                    }
                    self.passed(key);
                    if let Some(own_value) = own_value {
                        value.clear();
                        value.extend_from_slice(own_value);
                        return Ok(true);
                    }
                }
                _ => {
                    let found = self.next_on_pages(transaction, key, value)?;
                    if found {
                        self.passed(key);
                    }
                    return Ok(found);
                }
            }
        }
    }

    /// Which of two keys comes first in the scan's direction.
    fn order(&self, one: &[u8], other: &[u8]) -> Ordering {
        match self.direction {
            Direction::Forward => one.cmp(other),
            Direction::Backward => other.cmp(one),
        }
    }

    /// The pages' next entry, whether it was read ahead or not.
    fn next_on_pages(
        &mut self,
        transaction: &Transaction,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, EngineError> {
        if let Some(ahead) = &mut self.ahead {
            std::mem::swap(&mut ahead.key, key);
            std::mem::swap(&mut ahead.value, value);
            self.spare = self.ahead.take().unwrap_or_default();
            return Ok(true);
        }
        let Some(view) = transaction.view(self.tree) else { return Ok(false) };
        match self.direction {
            Direction::Forward => self.cursor.next(&view, key, value),
            Direction::Backward => self.cursor.prev(&view, key, value),
        }
    }

    fn read_ahead(&mut self, transaction: &Transaction) -> Result<(), EngineError> {
        if self.ahead.is_none() {
            let mut entry = std::mem::take(&mut self.spare);
            if self.next_on_pages(transaction, &mut entry.key, &mut entry.value)? {
                self.ahead = Some(entry);
            } else {
                self.spare = entry;
            }
        }
        Ok(())
    }

    /// `key` was given or skipped: own writes up to it are not looked at any more.
    fn passed(&mut self, key: &[u8]) {
        let bound = match self.direction {
            Direction::Forward => &mut self.lower,
            Direction::Backward => &mut self.upper,
        };
        match bound {
            Bound::Excluded(last) => {
                last.clear();
                last.extend_from_slice(key);
            }
            _ => *bound = Bound::Excluded(key.to_vec()),
        }
    }
}

fn as_slices(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}
