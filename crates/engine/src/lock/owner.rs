//! What one transaction holds.

use super::{LockName, OwnerId};

/// A holder of locks. Give it back to [`LockTable::release_all`](super::LockTable::release_all): dropping it releases
/// nothing.
#[derive(Debug)]
pub struct LockOwner {
    pub(super) id: OwnerId,
    /// Each lock once, in the order in which they were granted.
    pub(super) held: Vec<LockName>,
    /// The lock asked for last, if the answer was to wait. It may have been handed over meanwhile.
    pub(super) waiting: Option<LockName>,
}

impl LockOwner {
    pub(super) fn new(id: OwnerId) -> Self {
        Self { id, held: Vec::new(), waiting: None }
    }

    /// How many locks are held: a mark for [`LockTable::release_after`](super::LockTable::release_after).
    pub fn held(&self) -> usize {
        self.held.len()
    }
}
