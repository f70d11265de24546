//! Who waits for which lock.

use std::collections::{HashMap, HashSet};

use super::{LockName, OwnerId};

/// The wait-for graph's first half: from owners to locks. The other half, from locks to those who keep others from
/// them, is in the queues. An owner whose lock was handed over stays until it asks again; its queue knows better.
#[derive(Debug, Default)]
pub(super) struct WaitGraph {
    waits: HashMap<OwnerId, LockName>,
}

impl WaitGraph {
    pub(super) fn add(&mut self, owner: OwnerId, name: LockName) {
        self.waits.insert(owner, name);
    }

    pub(super) fn remove(&mut self, owner: OwnerId) {
        self.waits.remove(&owner);
    }

    /// Whether following waiters to those they wait for leads from `start` back to it. `blockers` tells whom an owner
    /// waits for at a lock.
    pub(super) fn has_circle_through(
        &self,
        start: OwnerId,
        mut blockers: impl FnMut(LockName, OwnerId, &mut Vec<OwnerId>),
    ) -> bool {
        let mut seen = HashSet::new();
        let mut next = vec![start];
        let mut found = Vec::new();
        while let Some(owner) = next.pop() {
            let Some(&name) = self.waits.get(&owner) else { continue };
            blockers(name, owner, &mut found);
            for blocker in found.drain(..) {
                if blocker == start {
                    return true;
                }
                if seen.insert(blocker) {
                    next.push(blocker);
                }
            }
        }
        false
    }
}
