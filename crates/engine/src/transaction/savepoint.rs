//! Savepoints: places to go back to.

use super::Transaction;
use super::trees::Created;
use crate::TreeId;

/// A place in a transaction, as long as neither it nor one set before it was released or gone back before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Savepoint(usize);

/// What the transaction was like at a savepoint.
#[derive(Debug)]
pub(super) struct Mark {
    undo: usize,
    locks: usize,
    created: Vec<Created>,
    dropped: Vec<TreeId>,
}

impl Transaction {
    /// Sets a savepoint.
    pub fn savepoint(&mut self) -> Savepoint {
        self.savepoints.push(Mark {
            undo: self.writes.mark(),
            locks: self.locks.held(),
            created: self.created.clone(),
            dropped: self.dropped.clone(),
        });
        Savepoint(self.savepoints.len() - 1)
    }

    /// How many savepoints there are.
    pub fn savepoints(&self) -> usize {
        self.savepoints.len()
    }

    /// Undoes what was written, created, dropped and locked since `savepoint`, which stays; those set after it are gone.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        self.savepoints.truncate(savepoint.0 + 1);
        let Some(mark) = self.savepoints.last() else { return };
        self.writes.undo_to(mark.undo);
        self.engine.locks.release_after(&mut self.locks, mark.locks);
        let kept = mark.created.clone();
        self.dropped.clone_from(&mark.dropped);
        self.undo_creations(kept);
    }

    /// Forgets `savepoint` and those set after it; what was written stays.
    pub fn release(&mut self, savepoint: Savepoint) {
        self.savepoints.truncate(savepoint.0);
        if self.savepoints.is_empty() {
            self.writes.forget_undo();
        }
    }
}
