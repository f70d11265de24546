//! Which WAL followers still need, for checkpoints to keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::{EngineError, KnownDurable, LogExtent, LogKeeper};
use replication::waldir::{SlotError, Slots, WalClaim, WalDir};
use wal::{Lsn, TimelineId};

use super::Shipping;
use super::slots::Lost;

/// Tells what slots hold back, and how much they may. Made before the engine is opened: recovery recycles WAL too.
#[derive(Debug)]
pub struct Retention {
    dir: WalDir,
    slots: Slots,
    shipping: Arc<Shipping>,
    /// `max_slot_wal_keep_size` in bytes; `u64::MAX` is no limit.
    most: AtomicU64,
}

impl Retention {
    /// Of the slots in `dir` and of `shipping`'s temporary ones. `most` is `max_slot_wal_keep_size` in bytes.
    pub fn new(dir: WalDir, shipping: Arc<Shipping>, most: Option<u64>) -> Arc<Self> {
        let most = AtomicU64::new(most.unwrap_or(u64::MAX));
        Arc::new(Self { slots: Slots::new(dir.clone()), dir, shipping, most })
    }

    /// `max_slot_wal_keep_size` in bytes, from now on.
    pub fn set_most(&self, most: Option<u64>) {
        self.most.store(most.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The oldest position that a slot needs and may hold back; `None` if there is none. A slot that cannot be read may
    /// need anything.
    ///
    /// # Errors
    /// Nobody can tell which slots there are: nothing may be removed.
    pub fn oldest_needed(&self, log: LogExtent) -> Result<Option<Lsn>, SlotError> {
        let names = self.slots.list()?;
        // A slot whose WAL is gone keeps nothing any more: what came after it would be of no use.
        let lost = Lost::look(&self.dir, log.segment_size);
        let lasting = names.iter().filter_map(|name| match self.slots.read(name) {
            Ok(slot) => slot?.restart_lsn.filter(|&restart| !lost.has(restart)),
            Err(error) => {
                tracing::error!("WAL is kept because replication slot \"{name}\" cannot be read: {error}");
                Some(Lsn::INVALID)
            }
        });
        let temporary = self.shipping.adopter().and_then(walsender::serve::Adopter::oldest_temporary_slot);
        let most = self.most.load(Ordering::Relaxed);
        Ok(lasting.chain(temporary).min().map(|oldest| bounded(oldest, log.end, most)))
    }
}

impl LogKeeper for Retention {
    fn keep(&self, log: LogExtent, remove: &mut dyn FnMut(Option<Lsn>)) {
        let claim = WalClaim::acquire(&self.dir);
        match claim.and_then(|claim| Ok((claim, self.oldest_needed(log)?))) {
            Ok((_claim, oldest)) => remove(oldest),
            Err(error) => {
                tracing::error!("WAL is kept because replication slots cannot be read: {error}");
            }
        }
    }

    fn known_durable(&self, timeline: TimelineId) -> Result<Option<KnownDurable>, EngineError> {
        let failed = |error: SlotError| EngineError::Directory(error.to_string());
        let mut furthest: Option<KnownDurable> = None;
        for name in self.slots.list().map_err(failed)? {
            // A damaged one tells nothing of the log's end.
            let Ok(Some(slot)) = self.slots.read(&name) else { continue };
            // What a slot says of an ancestor may lie past the point where that was left.
            let (Some(lsn), true) = (slot.restart_lsn, slot.timeline == Some(timeline)) else { continue };
            if furthest.as_ref().is_none_or(|found| lsn > found.lsn) {
                furthest = Some(KnownDurable { lsn, witness: format!("replication slot \"{name}\"") });
            }
        }
        Ok(furthest)
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
