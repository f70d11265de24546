//! Which commits readers see.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use wal::Lsn;

use crate::buffer::BufferPool;
use crate::snapshot::Snapshots;

/// Moves the default snapshot: to where every commit is both applied to the pages and confirmed to be durable.
///
/// `snapshots.current() <= min(applied, durable)`, and equal to it when nobody is inside a call. Each of the three only
/// moves forward.
pub(crate) struct Visibility {
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
    /// Everything up to `start` is applied and confirmed.
    pub(crate) fn new(start: Lsn, pool: Arc<BufferPool>) -> Self {
        let position = || AtomicU64::new(start.as_u64());
        pool.snapshots().advance(start);
        Self { applied: position(), durable: position(), pool, observers: RwLock::default() }
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
        self.applied.fetch_max(end.as_u64(), Ordering::SeqCst);
        self.advance();
    }

    /// The durability rule holds up to `lsn`.
    pub(crate) fn confirm(&self, lsn: Lsn) {
        self.durable.fetch_max(lsn.as_u64(), Ordering::SeqCst);
        self.advance();
    }

    /// The LSN at which new readers read: the last confirmed commit's end.
    pub(crate) fn confirmed(&self) -> Lsn {
        self.snapshots().current()
    }

    /// Has `observer` called after each move of what readers see, on whatever thread moved it.
    pub(crate) fn observe(&self, observer: Observer) {
        self.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    /// Of two threads that move the two positions at once, the later one sees both here.
    fn advance(&self) {
        let durable = self.durable.load(Ordering::SeqCst);
        let visible = Lsn::new(durable.min(self.applied.load(Ordering::SeqCst)));
        if visible > self.snapshots().current() {
            self.snapshots().advance(visible);
            for observer in self.observers.read().unwrap_or_else(PoisonError::into_inner).iter() {
                observer(visible);
            }
        }
    }
}
