//! Who is told of each flush.

use std::fmt;

use runtime::sync::RwLock;
use wal::Lsn;

type Observer = Box<dyn Fn(Lsn) + Send + Sync>;

/// Everybody who subscribed; nobody ever leaves.
#[derive(Default)]
pub(super) struct Observers(RwLock<Vec<Observer>>);

impl Observers {
    pub(super) fn add(&self, observer: Observer) {
        self.0.write().push(observer);
    }

    pub(super) fn flushed(&self, lsn: Lsn) {
        for observer in self.0.read().iter() {
            observer(lsn);
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observers")
    }
}
