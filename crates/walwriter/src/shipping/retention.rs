//! Which WAL followers still need, for checkpoints to keep.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use engine::Engine;
use replication::waldir::{Slots, WalDir};
use wal::Lsn;

use super::Shipping;

/// Tells what slots hold back, and how much they may.
#[derive(Debug)]
pub struct Retention {
    dir: WalDir,
    slots: Slots,
    shipping: Arc<Shipping>,
    engine: Weak<Engine>,
    /// `max_slot_wal_keep_size` in bytes; `u64::MAX` is no limit.
    most: AtomicU64,
}

impl Retention {
    /// Of the slots in `dir` and of `shipping`'s temporary ones. `most` is `max_slot_wal_keep_size` in bytes.
    pub fn new(dir: WalDir, shipping: Arc<Shipping>, engine: &Arc<Engine>, most: Option<u64>) -> Arc<Self> {
        let retention = Arc::new(Self {
            slots: Slots::new(dir.clone()),
            dir,
            shipping,
            engine: Arc::downgrade(engine),
            most: AtomicU64::new(most.unwrap_or(u64::MAX)),
        });
        let asked = Arc::clone(&retention);
        engine.set_oldest_needed(move || asked.oldest_needed());
        retention
    }

    /// `max_slot_wal_keep_size` in bytes, from now on.
    pub fn set_most(&self, most: Option<u64>) {
        self.most.store(most.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The oldest position that a slot needs and may hold back; `None` if there is none. If slots cannot be read, nothing
    /// may be removed.
    pub fn oldest_needed(&self) -> Option<Lsn> {
        let engine = self.engine.upgrade()?;
        let names = match self.slots.list() {
            Ok(names) => names,
            Err(error) => {
                tracing::error!("WAL is kept because replication slots cannot be read: {error}");
                return Some(Lsn::INVALID);
            }
        };
        // A slot whose WAL is gone keeps nothing any more: what came after it would be of no use.
        let log = engine.log();
        let lost = super::slots::Lost::look(&self.dir, log.segment_size());
        let lasting = names.iter().filter_map(|name| match self.slots.read(name) {
            Ok(slot) => slot?.restart_lsn.filter(|&restart| !lost.has(restart)),
            Err(error) => {
                tracing::error!("WAL is kept because replication slot \"{name}\" cannot be read: {error}");
                Some(Lsn::INVALID)
            }
        });
        let temporary = self.shipping.adopter().and_then(walsender::serve::Adopter::oldest_temporary_slot);
        let oldest = lasting.chain(temporary).min()?;
        let most = self.most.load(Ordering::Relaxed);
        Some(bounded(oldest, log.flushed(), most))
    }
}

/// `oldest`, but at most `most` bytes behind `end`.
fn bounded(oldest: Lsn, end: Lsn, most: u64) -> Lsn {
    oldest.max(Lsn::new(end.as_u64().saturating_sub(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_hold_back_no_more_than_they_may() {
        let (end, old) = (Lsn::new(1000), Lsn::new(100));
        assert_eq!(bounded(old, end, u64::MAX), old);
        assert_eq!(bounded(old, end, 900), old);
        assert_eq!(bounded(old, end, 300), Lsn::new(700));
        assert_eq!(bounded(end, end, 0), end);
    }
}
