//! All locks, in shards.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use runtime::sync::{Mutex, MutexGuard};

use super::graph::WaitGraph;
use super::queue::{Outcome, Queue};
use super::{LockMode, LockName, LockOwner, Locked, OwnerId};
use crate::{EngineError, TreeId};

const SHARDS: usize = 64;

/// Every lock that is held or waited for.
///
/// Order of mutexes: the graph before a shard; never two shards.
#[derive(Debug)]
pub struct LockTable {
    keys: RandomState,
    owners: AtomicU64,
    shards: Box<[Shard]>,
    graph: Mutex<WaitGraph>,
}

/// A share of the locks, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Locks>);

type Locks = HashMap<LockName, Queue, BuildHasherDefault<NameHasher>>;

/// Names are hashes already.
#[derive(Debug, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, name: u64) {
        self.0 = name;
    }
}

impl Default for LockTable {
    fn default() -> Self {
        Self::new()
    }
}

impl LockTable {
    /// A table without locks.
    pub fn new() -> Self {
        Self {
            keys: RandomState::new(),
            owners: AtomicU64::new(1),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            graph: Mutex::default(),
        }
    }

    /// A new holder of nothing.
    pub fn owner(&self) -> LockOwner {
        LockOwner::new(OwnerId(self.owners.fetch_add(1, Ordering::Relaxed)))
    }

    /// Asks for the row `key` of `tree`, exclusively.
    pub fn lock_row(
        &self,
        owner: &mut LockOwner,
        tree: TreeId,
        key: &[u8],
        waker: &Waker,
    ) -> Result<Locked, EngineError> {
        let name = LockName(self.keys.hash_one((tree, Some(key))));
        self.lock(owner, name, LockMode::Exclusive, waker)
    }

    /// Asks for a whole tree. Its rows are locked beside it: taking the tree keeps out only those who take it too.
    pub fn lock_tree(
        &self,
        owner: &mut LockOwner,
        tree: TreeId,
        mode: LockMode,
        waker: &Waker,
    ) -> Result<Locked, EngineError> {
        let name = LockName(self.keys.hash_one((tree, None::<&[u8]>)));
        self.lock(owner, name, mode, waker)
    }

    /// Takes the row `key` of `tree` if that can be had at once. Whether it is held; never for an owner that waits.
    pub fn try_lock_row(&self, owner: &mut LockOwner, tree: TreeId, key: &[u8]) -> bool {
        let name = LockName(self.keys.hash_one((tree, Some(key))));
        self.try_lock(owner, name, LockMode::Exclusive)
    }

    /// Takes a whole tree, or more of it than before, if that can be had at once. Whether it is held.
    pub fn try_lock_tree(&self, owner: &mut LockOwner, tree: TreeId, mode: LockMode) -> bool {
        let name = LockName(self.keys.hash_one((tree, None::<&[u8]>)));
        self.try_lock(owner, name, mode)
    }

    fn try_lock(&self, owner: &mut LockOwner, name: LockName, mode: LockMode) -> bool {
        if owner.waiting.is_some() {
            return false;
        }
        match self.request(owner.id, name, mode) {
            Outcome::Granted => owner.held.push(name),
            Outcome::Held => {}
            Outcome::Busy => return false,
        }
        true
    }

    fn lock(
        &self,
        owner: &mut LockOwner,
        name: LockName,
        mode: LockMode,
        waker: &Waker,
    ) -> Result<Locked, EngineError> {
        let waited = owner.waiting.is_some();
        if waited {
            self.settle_wait(owner, name);
        }
        match self.request(owner.id, name, mode) {
            Outcome::Granted => owner.held.push(name),
            // Handed over since the wait was settled: nobody has noted that it is held.
            Outcome::Held if waited && !owner.held.contains(&name) => owner.held.push(name),
            Outcome::Held => {}
            Outcome::Busy => return self.begin_wait(owner, name, mode, waker),
        }
        Ok(Locked::Granted)
    }

    fn request(&self, owner: OwnerId, name: LockName, mode: LockMode) -> Outcome {
        match self.shard(name).entry(name) {
            Entry::Vacant(vacant) => {
                vacant.insert(Queue::held_by(owner, mode));
                Outcome::Granted
            }
            Entry::Occupied(mut occupied) => occupied.get_mut().request(owner, mode),
        }
    }

    /// Brings what `owner` knows about the lock that it waited for up to date. If it asks for another one now, it does
    /// not wait for the former any more.
    fn settle_wait(&self, owner: &mut LockOwner, asked: LockName) {
        let Some(waited) = owner.waiting.take() else { return };
        let mut woken = Vec::new();
        let mut graph = self.graph();
        let mut shard = self.shard(waited);
        let Some(queue) = shard.get_mut(&waited) else { return };
        if waited != asked {
            queue.stop_waiting(owner.id, &mut woken);
        }
        // Still waiting for the lock asked for again: begin_wait leaves its place in the queue alone.
        if queue.is_held_by(owner.id) && !owner.held.contains(&waited) {
            owner.held.push(waited);
        }
        graph.remove(owner.id);
        drop((shard, graph));
        wake(woken);
    }

    fn begin_wait(
        &self,
        owner: &mut LockOwner,
        name: LockName,
        mode: LockMode,
        waker: &Waker,
    ) -> Result<Locked, EngineError> {
        assert!(owner.waiting.is_none(), "an owner waits for one lock at a time");
        let mut graph = self.graph();
        let mut shard = self.shard(name);
        let queue = shard.entry(name).or_insert_with(|| Queue::held_by(owner.id, mode));
        // It may have been released since.
        match queue.request(owner.id, mode) {
            Outcome::Busy => queue.wait(owner.id, mode, waker),
            Outcome::Granted | Outcome::Held => {
                if !owner.held.contains(&name) {
                    owner.held.push(name);
                }
                return Ok(Locked::Granted);
            }
        }
        drop(shard);
        graph.add(owner.id, name);
        let circle = graph.has_circle_through(owner.id, |name, waiter, found| {
            if let Some(queue) = self.shard(name).get(&name) {
                queue.blockers(waiter, found);
            }
        });
        if !circle {
            owner.waiting = Some(name);
            return Ok(Locked::Wait);
        }
        graph.remove(owner.id);
        let mut woken = Vec::new();
        if let Some(queue) = self.shard(name).get_mut(&name) {
            queue.stop_waiting(owner.id, &mut woken);
        }
        drop(graph);
        wake(woken);
        Err(EngineError::Deadlock)
    }

    /// Releases everything, and stops waiting.
    pub fn release_all(&self, owner: &mut LockOwner) {
        self.release_after(owner, 0);
    }

    /// Releases all locks but the first `mark` that were granted, and stops waiting.
    pub fn release_after(&self, owner: &mut LockOwner, mark: usize) {
        if let Some(waited) = owner.waiting.take() {
            self.graph().remove(owner.id);
            let kept = owner.held.get(..mark).unwrap_or(&owner.held).contains(&waited);
            self.release(owner.id, waited, kept);
        }
        for name in owner.held.drain(mark.min(owner.held.len())..) {
            self.release(owner.id, name, false);
        }
    }

    fn release(&self, owner: OwnerId, name: LockName, only_waiting: bool) {
        let mut woken = Vec::new();
        let mut shard = self.shard(name);
        if let Entry::Occupied(mut occupied) = shard.entry(name) {
            let queue = occupied.get_mut();
            if only_waiting {
                queue.stop_waiting(owner, &mut woken);
            } else {
                queue.release(owner, &mut woken);
            }
            if queue.is_free() {
                occupied.remove();
            }
        }
        drop(shard);
        wake(woken);
    }

    fn shard(&self, name: LockName) -> MutexGuard<'_, Locks> {
        // The table inside a shard uses the lowest and the highest bits.
        let at = (name.0 >> 32) as usize % SHARDS;
        self.shards[at].0.lock()
    }

    fn graph(&self) -> MutexGuard<'_, WaitGraph> {
        self.graph.lock()
    }
}

fn wake(woken: Vec<Waker>) {
    for waker in woken {
        waker.wake();
    }
}
