//! Which LSNs somebody reads at.
//!
//! A snapshot is an LSN at a commit boundary. The *current* one is the default that new readers get; the engine moves it
//! forward as commits are confirmed. Registering and deciding what nobody needs are atomic: both happen under one lock,
//! and only the current LSN, or one that is still held, can be registered. So whatever [`Snapshots::needed`] or
//! [`Snapshots::oldest`] does not ask for, no later registration will.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wal::Lsn;

/// One LSN that is, or was, current. Held by the table and by each of its readers; a reader leaves by dropping its
/// reference, without a lock.
#[derive(Debug)]
struct Point {
    lsn: Lsn,
    /// Set under the table's lock, before any page version is given up on account of it.
    cancelled: AtomicBool,
}

/// The snapshots that are read at.
#[derive(Debug)]
pub struct Snapshots {
    /// The LSN of the last of `points`, moved with it: for those who only look.
    current: AtomicU64,
    /// Ascending; the last is the current one, the others are those that have readers, or had until recently.
    /// Never empty.
    points: Mutex<VecDeque<Arc<Point>>>,
}

/// The LSNs at which page versions are needed, at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Needed {
    /// Ascending, without duplicates; the last is the current snapshot's. Every version newer than that is needed too,
    /// since any commit boundary may become current.
    lsns: Vec<Lsn>,
}

/// A registered snapshot: until it is dropped, page versions as of its LSN are kept, unless it is cancelled.
#[derive(Clone, Debug)]
pub struct SnapshotGuard {
    point: Arc<Point>,
}

impl Snapshots {
    /// No readers; `current` is what they will get. While it is 0/0 nobody needs old versions, as during recovery.
    pub fn new(current: Lsn) -> Self {
        let points = VecDeque::from([Arc::new(Point::new(current))]);
        Self { current: AtomicU64::new(current.as_u64()), points: Mutex::new(points) }
    }

    /// The snapshot that new readers get.
    pub fn current(&self) -> Lsn {
        Lsn::new(self.current.load(Ordering::Acquire))
    }

    /// A snapshot at the current LSN.
    pub fn register_current(&self) -> SnapshotGuard {
        let points = self.lock();
        match points.back() {
            Some(point) => SnapshotGuard { point: Arc::clone(point) },
            None => unreachable!("the current snapshot is always there"),
        }
    }

    /// A snapshot at `lsn`, if that is the current one or somebody else still holds one there.
    pub fn register(&self, lsn: Lsn) -> Option<SnapshotGuard> {
        let mut points = self.lock();
        forget_unread(&mut points);
        let at = points.binary_search_by(|point| point.lsn.cmp(&lsn)).ok()?;
        points.get(at).map(|point| SnapshotGuard { point: Arc::clone(point) })
    }

    /// Moves the current snapshot to `lsn`, a commit boundary whose pages are published. Never backwards: an older LSN
    /// changes nothing.
    pub fn advance(&self, lsn: Lsn) {
        let mut points = self.lock();
        let Some(current) = points.back_mut() else { return };
        if lsn <= current.lsn {
            return;
        }
        match Arc::get_mut(current) {
            Some(unread) => unread.lsn = lsn,
            None => points.push_back(Arc::new(Point::new(lsn))),
        }
        self.current.store(lsn.as_u64(), Ordering::Release);
    }

    /// The oldest LSN that somebody reads at or may come to read at.
    pub fn oldest(&self) -> Lsn {
        let mut points = self.lock();
        pop_unread(&mut points);
        points.front().map_or(Lsn::INVALID, |point| point.lsn)
    }

    /// Every LSN that somebody reads at or may come to read at.
    pub fn needed(&self) -> Needed {
        let mut points = self.lock();
        forget_unread(&mut points);
        Needed { lsns: points.iter().map(|point| point.lsn).collect() }
    }

    /// Takes the oldest snapshot that is older than the current one away from its readers, and gives its LSN; `None` if
    /// there is none. Their next page read fails with [`crate::EngineError::SnapshotTooOld`].
    pub fn cancel_oldest(&self) -> Option<Lsn> {
        let mut points = self.lock();
        pop_unread(&mut points);
        if points.len() < 2 {
            return None;
        }
        let point = points.pop_front()?;
        point.cancelled.store(true, Ordering::Release);
        Some(point.lsn)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Point>>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Needed {
    /// Whether somebody needs a version with the LSN `version` that was superseded by one with the LSN `superseded_by`.
    pub fn needs(&self, version: Lsn, superseded_by: Lsn) -> bool {
        if version > self.current() {
            return true;
        }
        let first = self.lsns.partition_point(|&lsn| lsn < version);
        self.lsns.get(first).is_some_and(|&lsn| lsn < superseded_by)
    }

    /// The current snapshot's LSN.
    pub fn current(&self) -> Lsn {
        self.lsns.last().copied().unwrap_or(Lsn::INVALID)
    }

    /// The oldest of them.
    pub fn oldest(&self) -> Lsn {
        self.lsns.first().copied().unwrap_or(Lsn::INVALID)
    }
}

impl SnapshotGuard {
    /// Reads see every commit that ends here or before, and nothing of any other.
    pub fn lsn(&self) -> Lsn {
        self.point.lsn
    }

    /// Whether the versions it needs were given up to bound memory.
    pub fn is_cancelled(&self) -> bool {
        self.point.cancelled.load(Ordering::Acquire)
    }
}

impl Point {
    const fn new(lsn: Lsn) -> Self {
        Self { lsn, cancelled: AtomicBool::new(false) }
    }

    /// Whether only the table holds it. Under the table's lock it stays so.
    fn is_unread(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }
}

/// Forgets the oldest points that nobody reads at.
fn pop_unread(points: &mut VecDeque<Arc<Point>>) {
    while points.len() > 1 && points.front().is_some_and(Point::is_unread) {
        points.pop_front();
    }
}

/// Forgets every point that nobody reads at.
fn forget_unread(points: &mut VecDeque<Arc<Point>>) {
    let current = points.len() - 1;
    let mut at = 0;
    points.retain(|point| {
        at += 1;
        at > current || !point.is_unread()
    });
}

#[cfg(test)]
mod tests;
