//! Reading the latest pages while the writer may be publishing newer ones.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A count of publications, odd while one is under way. A run's pages appear one after the other; who reads several of
/// the latest pages reads again if any appeared meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Publishing(AtomicU64);

impl Publishing {
    /// Publishes. One at a time: the caller holds the writer lock.
    pub(crate) fn publish(&self, publish: impl FnOnce()) {
        let before = self.0.fetch_add(1, Ordering::SeqCst);
        assert!(before.is_multiple_of(2), "one publishes at a time");
        publish();
        let during = self.0.fetch_add(1, Ordering::SeqCst);
        assert_eq!(during, before + 1, "one publishes at a time");
    }

    /// The outcome of a `read` during which nothing was published.
    pub(crate) fn read<T>(&self, mut read: impl FnMut() -> T) -> T {
        let mut tries = 0_u32;
        loop {
            let before = self.0.load(Ordering::SeqCst);
            if before.is_multiple_of(2) {
                let outcome = read();
                if self.0.load(Ordering::SeqCst) == before {
                    return outcome;
                }
            }
            tries += 1;
            if tries.is_multiple_of(64) {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
        }
    }
}
