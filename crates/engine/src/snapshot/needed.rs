//! Which page versions snapshots need.

use wal::Lsn;

/// The LSNs at which page versions are needed, at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Needed {
    /// Ascending, without duplicates: those of the snapshots up to the current one, then the marks, with the snapshots
    /// between them.
    pub(super) lsns: Vec<Lsn>,
    /// The current snapshot's.
    pub(super) current: Lsn,
    /// The last mark, or the current snapshot if there is none. Every version newer than that is needed too, since any
    /// commit boundary there may become current.
    pub(super) open_from: Lsn,
}

impl Needed {
    /// Whether somebody needs a version with the LSN `version` that was superseded by one with the LSN `superseded_by`.
    pub fn needs(&self, version: Lsn, superseded_by: Lsn) -> bool {
        if version > self.open_from {
            return true;
        }
        let first = self.lsns.partition_point(|&lsn| lsn < version);
        self.lsns.get(first).is_some_and(|&lsn| lsn < superseded_by)
    }

    /// The current snapshot's LSN.
    pub fn current(&self) -> Lsn {
        self.current
    }

    /// The oldest of them.
    pub fn oldest(&self) -> Lsn {
        self.lsns.first().copied().unwrap_or(Lsn::INVALID)
    }
}
