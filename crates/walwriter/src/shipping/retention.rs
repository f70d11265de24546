//! Which WAL followers still need, for checkpoints to keep; and up to where the log was durable here once, by what stands in
//! its directory beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::{EngineError, KnownDurable, LogExtent, LogKeeper};
use replication::waldir::{
    Published, STATUS_FILE, SlotError, SlotInfo, SlotName, Slots, StatusReader, WalClaim, WalDir,
};
use wal::{Lsn, TimelineId};

use super::slots::Lost;

/// Tells what slots hold back, and how much they may. Made before the engine is opened: recovery recycles WAL too.
#[derive(Debug)]
pub struct Retention {
    dir: WalDir,
    slots: Slots,
    /// `max_slot_wal_keep_size` in bytes; `u64::MAX` is no limit.
    most: AtomicU64,
}

impl Retention {
    /// Of the slots in `dir`, whichever process made them. `most` is `max_slot_wal_keep_size` in bytes.
    pub fn new(dir: WalDir, most: Option<u64>) -> Arc<Self> {
        let most = AtomicU64::new(most.unwrap_or(u64::MAX));
        Arc::new(Self { slots: Slots::new(dir.clone()), dir, most })
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
        let (names, temporary) = (self.slots.list()?, self.slots.list_temporary()?);
        // A slot whose WAL is gone keeps nothing any more: what came after it would be of no use.
        let lost = Lost::look(&self.dir, log.segment_size);
        let needed = |name: &SlotName, read: Result<Option<SlotInfo>, SlotError>| match read {
            Ok(slot) => slot?.restart_lsn.filter(|&restart| !lost.has(restart)),
            Err(error) => {
                tracing::error!("WAL is kept because replication slot \"{name}\" cannot be read: {error}");
                Some(Lsn::INVALID)
            }
        };
        let lasting = names.iter().filter_map(|name| needed(name, self.slots.read(name)));
        let temporary = temporary.iter().filter_map(|name| needed(name, self.slots.read_temporary(name)));
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
        let mut furthest = published(&self.dir, timeline);
        for name in self.slots.list().map_err(failed)? {
            let slot = match self.slots.read(&name) {
                Ok(Some(slot)) => slot,
                // A damaged one tells nothing of the log's end.
                Ok(None) | Err(SlotError::Damaged(_)) => continue,
                Err(error) => return Err(failed(error)),
            };
            // What a slot says of an ancestor may lie past the point where that was left.
            let (Some(lsn), true) = (slot.restart_lsn, slot.timeline == Some(timeline)) else { continue };
            // Of a follower more can be had than a position.
            if furthest.as_ref().is_none_or(|found| lsn >= found.lsn) {
                furthest = Some(KnownDurable { lsn, witness: format!("replication slot \"{name}\"") });
            }
        }
        Ok(furthest)
    }
}

/// What the last server here has published as durable of its log on `timeline`; `None` if nothing is known.
///
/// The status file is mapped and never synced, and is a lower bound all the same: a position gets into it only after the sync
/// that it tells of has returned, so whatever of it is found, and however old that is, was durable then. After the death of
/// the process alone it is the last one. All of it lies in one sector of the disk, so that timeline and position belong
/// together, and it counts only without a writer that lives.
///
/// What a receiver has published is none: that may lie inside a record, and ends before it where the directory becomes a
/// leader's; its leader sends that again. A receiver has heard of somebody, a log's writer has not.
fn published(dir: &WalDir, timeline: TimelineId) -> Option<KnownDurable> {
    let reader = StatusReader::open(dir).inspect_err(
        |error| tracing::warn!(directory = %dir.path().display(), %error, "could not look what was published as durable"),
    );
    let Published::Stale(status) = reader.ok()??.read() else { return None };
    let is_ours = status.timeline == timeline && status.flush.is_valid();
    let is_written_here = status.last_byte_at.is_none() && !status.server_end.is_valid();
    let witness = format!("the server's last status, in \"{}\",", dir.path().join(STATUS_FILE).display());
    (is_ours && is_written_here).then_some(KnownDurable { lsn: status.flush, witness })
}

/// `oldest`, but at most `most` bytes behind `end`.
fn bounded(oldest: Lsn, end: Lsn, most: u64) -> Lsn {
    oldest.max(Lsn::new(end.as_u64().saturating_sub(most)))
}

#[cfg(test)]
mod tests {
    use replication::waldir::{SlotInfo, SlotName, Status, StatusWriter, UnixMicros};

    use super::*;

    #[test]
    fn what_a_server_has_published_was_durable_and_what_a_receiver_has_is_no_bound() {
        let root = tempfile::tempdir().unwrap();
        let dir = WalDir::on_os(root.path());
        let (first, second) = (TimelineId::FIRST, TimelineId::new(2));
        assert_eq!(published(&dir, first), None, "nobody has published");
        let (write, flush) = (Lsn::new(900), Lsn::new(900));
        let status = Status { write, flush, ..Status::new() };
        let writer = StatusWriter::create(&dir, status).unwrap();
        assert_eq!(published(&dir, first), None, "it lives, and goes on");
        drop(writer);
        assert_eq!(published(&dir, first).unwrap().lsn, flush);
        assert_eq!(published(&dir, second), None);

        let retention = Retention::new(dir.clone(), None);
        let known = || retention.known_durable(first).unwrap().unwrap();
        assert!(known().lsn == flush && known().witness.contains("walship.status"), "{:?}", known());
        let slot = SlotName::new("s").unwrap();
        Slots::new(dir.clone()).create(&slot, SlotInfo::at(Lsn::new(800), first)).unwrap();
        assert_eq!(known().lsn, flush, "the furthest counts");
        Slots::new(dir.clone())
            .create(&SlotName::new("t").unwrap(), SlotInfo::at(Lsn::new(950), first))
            .unwrap();
        assert!(known().lsn == Lsn::new(950) && known().witness.contains("\"t\""), "{:?}", known());

        for received in [
            Status { last_byte_at: UnixMicros::new(1), ..status },
            Status { server_end: Lsn::new(1000), ..status },
        ] {
            drop(StatusWriter::create(&dir, received).unwrap());
            assert_eq!(published(&dir, first), None, "{received:?}");
        }
    }

    #[test]
    fn slots_hold_back_no_more_than_they_may() {
        let (end, old) = (Lsn::new(1000), Lsn::new(100));
        assert_eq!(bounded(old, end, u64::MAX), old);
        assert_eq!(bounded(old, end, 900), old);
        assert_eq!(bounded(old, end, 300), Lsn::new(700));
        assert_eq!(bounded(end, end, 0), end);
    }
}
