//! How far followers are, for everybody who looks.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use wal::Lsn;

use super::{Acknowledgement, Rule};

/// What enough of the named followers have acknowledged; everything, where nobody is named.
#[derive(Debug)]
pub(super) struct Acknowledged {
    /// One for each [`Acknowledgement`]. Moved forward by the thread that watches, since what was acknowledged once stays
    /// so, whoever has gone since; and to the beginning or the end by a new rule.
    lsns: [AtomicU64; 3],
    /// How many of them, the first ones, everybody waits for who reads: 0 is the local flush alone.
    visible: AtomicU8,
}

impl Acknowledged {
    /// Nobody has been asked yet.
    pub(super) fn by_nobody(rule: &Rule) -> Self {
        let new = Self { lsns: Default::default(), visible: AtomicU8::new(0) };
        new.forget(rule);
        new
    }

    /// Others are asked from now on.
    pub(super) fn forget(&self, rule: &Rule) {
        let start = if rule.names.is_some() { 0 } else { u64::MAX };
        self.lsns.iter().for_each(|lsn| lsn.store(start, Ordering::SeqCst));
        self.visible.store(rule.visible.map_or(0, |what| 1 + what as u8), Ordering::SeqCst);
    }

    /// Notes that followers are at `lsn`; whether that is more than before.
    pub(super) fn advance(&self, what: Acknowledgement, lsn: Lsn) -> bool {
        self.lsns[what as usize].fetch_max(lsn.as_u64(), Ordering::SeqCst) < lsn.as_u64()
    }

    /// How far followers are.
    pub(super) fn of(&self, what: Acknowledgement) -> Lsn {
        Lsn::new(self.lsns[what as usize].load(Ordering::SeqCst))
    }

    /// What of followers decides what everybody sees; `None` is the local flush alone.
    pub(super) fn visible(&self) -> Option<Acknowledgement> {
        let count = self.visible.load(Ordering::SeqCst);
        Acknowledgement::ALL.get(usize::from(count).checked_sub(1)?).copied()
    }

    /// How far everybody may see.
    pub(super) fn of_visible(&self) -> Lsn {
        self.visible().map_or(Lsn::MAX, |what| self.of(what))
    }
}
