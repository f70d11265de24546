//! A position that several threads read.

use std::sync::atomic::{AtomicU64, Ordering};

use wal::Lsn;

/// A position that one thread at a time moves.
#[derive(Debug)]
pub(super) struct AtomicLsn(AtomicU64);

impl AtomicLsn {
    pub(super) const fn new(lsn: Lsn) -> Self {
        Self(AtomicU64::new(lsn.as_u64()))
    }

    /// Sees all that happened before the position was stored.
    pub(super) fn load(&self) -> Lsn {
        Lsn::new(self.0.load(Ordering::Acquire))
    }

    pub(super) fn store(&self, lsn: Lsn) {
        self.0.store(lsn.as_u64(), Ordering::Release);
    }
}
