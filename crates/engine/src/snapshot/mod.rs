//! Which LSNs somebody reads at.
//!
//! A snapshot is an LSN at a commit boundary. The *current* one is the default that new readers get; the engine moves it
//! forward as commits are confirmed. Who has seen more than that, such as a session that was told of its own commit before
//! it was confirmed, reads *ahead* of it. Registering and deciding what nobody needs are atomic: both happen under one
//! lock, and only the current LSN, one that is still held, or one ahead can be registered. So whatever
//! [`Snapshots::needed`] or [`Snapshots::oldest`] does not ask for, no later registration will.
//!
//! Ahead of the current snapshot every boundary may become current, so every version is needed. When that takes too much
//! memory, because confirmation lags far behind, *marks* are set: up to the last of them the current snapshot moves from
//! mark to mark, and versions between them are given up.

mod needed;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use runtime::sync::{Mutex, MutexGuard};
use wal::Lsn;

pub use needed::Needed;

/// How many marks there may be. When there are more, every second one goes, but never the first: the current snapshot
/// always has one within reach.
const MOST_MARKS: usize = 8;

/// One LSN that is, was, or may become current. Held by the table and by each of its readers; a reader leaves by dropping
/// its reference, without a lock.
#[derive(Debug)]
struct Point {
    lsn: Lsn,
    /// Set under the table's lock, before any page version is given up on account of it.
    cancelled: AtomicBool,
}

/// The snapshots that are read at.
#[derive(Debug)]
pub struct Snapshots {
    /// The LSN of the current one, moved with it: for those who only look.
    current: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    /// Ascending; the last is the current one, the others are those that have readers, or had until recently.
    /// Never empty.
    points: VecDeque<Arc<Point>>,
    /// Ascending, all past the current one: read at by those who have seen more than is confirmed.
    ahead: VecDeque<Arc<Point>>,
    /// Ascending, all past the current one: the only LSNs up to the last of them that may become current.
    marks: Vec<Lsn>,
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
        let table = Table { points, ahead: VecDeque::new(), marks: Vec::new() };
        Self { current: AtomicU64::new(current.as_u64()), table: Mutex::new(table) }
    }

    /// The snapshot that new readers get.
    pub fn current(&self) -> Lsn {
        Lsn::new(self.current.load(Ordering::Acquire))
    }

    /// A snapshot at the current LSN.
    pub fn register_current(&self) -> SnapshotGuard {
        SnapshotGuard { point: Arc::clone(self.lock().current()) }
    }

    /// A snapshot at `lsn`, or at the current LSN if that is later. `lsn` is a commit boundary whose pages are published;
    /// between marks it is the next of them.
    pub fn register_at_least(&self, lsn: Lsn) -> SnapshotGuard {
        let mut table = self.lock();
        if lsn <= table.current().lsn {
            return SnapshotGuard { point: Arc::clone(table.current()) };
        }
        table.ahead.retain(|point| !point.is_unread());
        let held = |table: &Table, lsn| table.ahead.binary_search_by(|point| point.lsn.cmp(&lsn));
        let lsn = match held(&table, lsn) {
            Ok(_) => lsn,
            Err(_) => table.marks.iter().copied().find(|&mark| mark >= lsn).unwrap_or(lsn),
        };
        let at = held(&table, lsn).unwrap_or_else(|at| {
            table.ahead.insert(at, Arc::new(Point::new(lsn)));
            at
        });
        let neighbours =
            [at.checked_sub(1), at.checked_add(1)].map(|at| table.ahead.get(at?).map(|point| point.lsn));
        assert!(neighbours[0].is_none_or(|before| before < lsn), "snapshots ahead ascend");
        assert!(neighbours[1].is_none_or(|after| lsn < after), "snapshots ahead ascend");
        assert!(table.current().lsn < lsn, "snapshots ahead lie past the current one");
        match table.ahead.get(at) {
            Some(point) => SnapshotGuard { point: Arc::clone(point) },
            None => unreachable!("it was found or put there"),
        }
    }

    /// A snapshot at `lsn`, if that is the current one or somebody else still holds one there.
    pub fn register(&self, lsn: Lsn) -> Option<SnapshotGuard> {
        let mut table = self.lock();
        forget_unread(&mut table.points);
        let at = table.points.binary_search_by(|point| point.lsn.cmp(&lsn)).ok()?;
        table.points.get(at).map(|point| SnapshotGuard { point: Arc::clone(point) })
    }

    /// Moves the current snapshot to `lsn`, a commit boundary whose pages are published, or to the last mark before it if
    /// there are marks behind it. Never backwards: an older LSN changes nothing.
    pub fn advance(&self, lsn: Lsn) {
        let mut table = self.lock();
        if lsn <= table.current().lsn {
            return;
        }
        let reached = table.marks.partition_point(|&mark| mark <= lsn);
        let last_reached = table.marks.drain(..reached).next_back();
        let lsn = match last_reached {
            Some(mark) if !table.marks.is_empty() => mark,
            None if !table.marks.is_empty() => return,
            _ => lsn,
        };
        let lsn =
            if runtime::fault::is_wanted("show readers an older snapshot") { Lsn::INVALID } else { lsn };
        table.move_current(lsn);
        assert!(self.current() < lsn, "the current snapshot never goes back");
        assert!(table.marks.first().is_none_or(|&mark| lsn < mark), "marks lie past the current snapshot");
        self.current.store(lsn.as_u64(), Ordering::Release);
    }

    /// Sets a mark at `lsn`, a commit boundary whose pages are published: until the current snapshot is there, versions that
    /// are needed at no mark and by no reader may be given up.
    pub fn mark(&self, lsn: Lsn) {
        let mut table = self.lock();
        let last = table.marks.last().copied().unwrap_or(table.current().lsn);
        if lsn <= last {
            return;
        }
        assert!(last >= table.current().lsn, "marks lie past the current snapshot");
        table.marks.push(lsn);
        if table.marks.len() > MOST_MARKS {
            let mut at = 0;
            table.marks.retain(|_| {
                at += 1;
                at % 2 == 1
            });
        }
    }

    /// Gives up all marks but the first and the last; whether there were any between.
    pub fn thin_marks(&self) -> bool {
        let mut table = self.lock();
        let last = table.marks.len().saturating_sub(1);
        last > 1 && table.marks.drain(1..last).next().is_some()
    }

    /// The oldest LSN that somebody reads at or may come to read at.
    pub fn oldest(&self) -> Lsn {
        let mut table = self.lock();
        pop_unread(&mut table.points);
        let oldest = table.points.front().map_or(Lsn::INVALID, |point| point.lsn);
        assert!(oldest <= table.current().lsn, "no snapshot is older than the oldest");
        oldest
    }

    /// Every LSN that somebody reads at or may come to read at.
    pub fn needed(&self) -> Needed {
        let mut table = self.lock();
        forget_unread(&mut table.points);
        table.ahead.retain(|point| !point.is_unread());
        let current = table.current().lsn;
        let open_from = table.marks.last().copied().unwrap_or(current);
        assert!(current <= open_from, "marks lie past the current snapshot");
        let between = table.ahead.iter().map(|point| point.lsn).filter(|&lsn| lsn < open_from);
        let mut lsns: Vec<Lsn> = table.points.iter().map(|point| point.lsn).collect();
        lsns.extend(between.chain(table.marks.iter().copied()));
        lsns.sort_unstable();
        lsns.dedup();
        Needed { lsns, current, open_from }
    }

    /// Takes the oldest snapshot that is older than the current one away from its readers, and gives its LSN; `None` if
    /// there is none. Their next page read fails with [`crate::EngineError::SnapshotTooOld`].
    pub fn cancel_oldest(&self) -> Option<Lsn> {
        let mut table = self.lock();
        pop_unread(&mut table.points);
        if table.points.len() < 2 {
            return None;
        }
        let point = table.points.pop_front()?;
        assert!(point.lsn < table.current().lsn, "the current snapshot is never taken away");
        point.cancelled.store(true, Ordering::Release);
        Some(point.lsn)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }
}

impl Table {
    fn current(&self) -> &Arc<Point> {
        match self.points.back() {
            Some(point) => point,
            None => unreachable!("the current snapshot is always there"),
        }
    }

    /// Makes `lsn` the current snapshot. Those who read between it and the one before are readers like all others now.
    fn move_current(&mut self, lsn: Lsn) {
        assert!(self.current().lsn < lsn, "snapshots ascend");
        if self.ahead.is_empty() {
            match self.points.back_mut().and_then(Arc::get_mut) {
                Some(unread) => unread.lsn = lsn,
                None => self.points.push_back(Arc::new(Point::new(lsn))),
            }
            return;
        }
        while let Some(point) = self.ahead.pop_front_if(|point| point.lsn <= lsn) {
            assert!(self.current().lsn < point.lsn, "snapshots ahead lie past the current one, and ascend");
            self.points.push_back(point);
        }
        if self.current().lsn != lsn {
            self.points.push_back(Arc::new(Point::new(lsn)));
        }
        forget_unread(&mut self.points);
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
    assert!(!points.is_empty(), "the current snapshot is always there");
    let current = points.len() - 1;
    let mut at = 0;
    points.retain(|point| {
        at += 1;
        at > current || !point.is_unread()
    });
}

#[cfg(test)]
mod tests;
