//! Which commits readers see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::sync::RwLock;
use wal::Lsn;

use crate::buffer::BufferPool;
use crate::snapshot::Snapshots;

/// Moves the default snapshot: to where every commit is both applied to the pages and confirmed to be durable.
///
/// `snapshots.current() <= min(applied, durable)`, and equal to it when nobody is inside a call, unless memory for old
/// versions has run out (see [`Snapshots::mark`]). Each of the three only moves forward. The one exception is what a leader recovers without knowing whether it was ever confirmed: there are
/// no older pages than those, so snapshots begin there, but nothing counts as confirmed before all of that is.
pub(crate) struct Visibility {
    /// Below this nothing is confirmed; 0/0 if all that was recovered is.
    recovered: Lsn,
    /// The end of the last run whose pages are published. Moved by the one writer, or by replay.
    applied: AtomicU64,
    /// Up to where the durability rule holds. Moved by whoever learns of it; may run ahead of `applied`.
    durable: AtomicU64,
    pool: Arc<BufferPool>,
    /// Called after each move.
    observers: RwLock<Vec<Observer>>,
}

type Observer = Box<dyn Fn(Lsn) + Send + Sync>;

impl Visibility {
    /// Everything up to `start` is applied, and confirmed if `confirmed` says so.
    pub(crate) fn new(start: Lsn, confirmed: bool, pool: Arc<BufferPool>) -> Self {
        pool.snapshots().advance(start);
        let (recovered, durable) = if confirmed { (Lsn::INVALID, start) } else { (start, Lsn::INVALID) };
        Self {
            recovered,
            applied: AtomicU64::new(start.as_u64()),
            durable: AtomicU64::new(durable.as_u64()),
            pool,
            observers: RwLock::default(),
        }
    }

    /// The snapshots that readers take.
    pub(crate) fn snapshots(&self) -> &Snapshots {
        self.pool.snapshots()
    }

    /// The end of the last run whose pages are published.
    pub(crate) fn applied(&self) -> Lsn {
        Lsn::new(self.applied.load(Ordering::SeqCst))
    }

    /// The pages of the run that ends at `end` have been published. If a flush was faster and has confirmed it, it
    /// becomes visible here.
    pub(crate) fn set_applied(&self, end: Lsn) {
        let before = Lsn::new(self.applied.fetch_max(end.as_u64(), Ordering::SeqCst));
        assert!(self.snapshots().current() <= before.max(end), "readers see no run before its pages");
        self.advance();
    }

    /// The durability rule holds up to `lsn`.
    pub(crate) fn confirm(&self, lsn: Lsn) {
        let before = Lsn::new(self.durable.fetch_max(lsn.as_u64(), Ordering::SeqCst));
        if before < self.recovered && lsn >= self.recovered {
            // The snapshot may stay where it is, and counts from now on.
            self.tell(self.snapshots().current());
        }
        self.advance();
    }

    /// The LSN at which new readers read: the last confirmed commit's end. 0/0 while what was recovered is not confirmed.
    pub(crate) fn confirmed(&self) -> Lsn {
        if self.unconfirmed_recovery().is_some() { Lsn::INVALID } else { self.snapshots().current() }
    }

    /// The end of what was recovered, as long as it is not confirmed.
    pub(crate) fn unconfirmed_recovery(&self) -> Option<Lsn> {
        (self.recovered.is_valid() && self.durable.load(Ordering::SeqCst) < self.recovered.as_u64())
            .then_some(self.recovered)
    }

    /// Has `observer` called after each move of what readers see, on whatever thread moved it.
    pub(crate) fn observe(&self, observer: Observer) {
        self.observers.write().push(observer);
    }

    /// Of two threads that move the two positions at once, the later one sees both here.
    fn advance(&self) {
        let durable = self.durable.load(Ordering::SeqCst);
        let applied = self.applied.load(Ordering::SeqCst);
        let visible = Lsn::new(durable.min(applied));
        if visible > self.snapshots().current() {
            let before = self.snapshots().current();
            self.snapshots().advance(visible);
            let current = self.snapshots().current();
            assert!(before <= current, "what readers see never goes back: from {before} to {current}");
            if current > before {
                self.tell(current);
            }
        }
    }

    fn tell(&self, visible: Lsn) {
        for observer in self.observers.read().iter() {
            observer(visible);
        }
    }
}
