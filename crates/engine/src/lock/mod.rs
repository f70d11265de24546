//! Locks on rows and trees, held until a transaction ends.
//!
//! Queues are first come, first served; a lock is handed over by whoever releases it, and the new holder's [`Waker`] is
//! called. Nobody blocks here: `LockTable::lock` answers [`Locked::Wait`], and asking again after the wake-up answers
//! [`Locked::Granted`]. Locks are re-entrant, so a statement that waited is simply executed again.
//!
//! A row is known by a keyed 64-bit hash of its tree and key: locking allocates nothing for the key. Two rows that
//! share a hash share a lock, which can make somebody wait in vain, one pair of rows in 2^64, and is never wrong.
//!
//! Invariants: an owner waits for at most one lock; a lock that nobody holds has no queue; whoever waits is recorded in
//! the wait-for graph before it is looked at for circles, and both happen under one mutex, so that of the requests that
//! close a circle the last one sees it.

mod graph;
mod owner;
mod queue;
mod table;
#[cfg(test)]
mod tests;

pub use owner::LockOwner;
pub use table::LockTable;

#[cfg(doc)]
use std::task::Waker;

/// The answer to a request for a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Locked {
    /// The lock is held.
    Granted,
    /// Somebody else holds it: the waker is called when it has been handed over.
    Wait,
}

/// How much a lock excludes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LockMode {
    /// Held by many at once.
    Shared,
    /// Held by one.
    Exclusive,
}

/// What is locked, as a keyed hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct LockName(u64);

/// Who holds locks: one transaction. Never reused while the process lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct OwnerId(u64);
