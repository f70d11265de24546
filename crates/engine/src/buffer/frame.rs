//! One page in the pool, with the versions of it that are still needed.

use wal::Lsn;

use crate::PageId;
use crate::page::SharedPage;
use crate::snapshot::Needed;

/// How many older versions a frame may gather before those that nobody needs are looked for.
const PRUNE_FROM: usize = 4;

/// One published version.
#[derive(Debug)]
struct Version {
    /// The page's `pd_lsn`.
    lsn: Lsn,
    page: SharedPage,
}

/// A page in the pool.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) id: PageId,
    newest: Version,
    /// Those that were superseded and may still be needed, the oldest first, with ascending LSNs, all below the newest's.
    older: Vec<Version>,
    /// How many there may be before the next pruning: twice what the last one left, so that it costs little on average.
    prune_at: usize,
    /// Somebody asked for it since the clock's hand passed.
    pub(super) referenced: bool,
    /// The newest version is not in the file.
    pub(super) dirty: bool,
    /// A thread is writing a version of it to the file. The frame stays where it is meanwhile.
    pub(super) writing: bool,
}

impl Frame {
    pub(super) fn new(id: PageId, page: SharedPage) -> Self {
        let newest = Version { lsn: page.lsn(), page };
        Self {
            id,
            newest,
            older: Vec::new(),
            prune_at: PRUNE_FROM,
            referenced: true,
            dirty: false,
            writing: false,
        }
    }

    pub(super) fn newest(&self) -> &SharedPage {
        &self.newest.page
    }

    pub(super) fn newest_lsn(&self) -> Lsn {
        self.newest.lsn
    }

    /// The newest version up to `lsn`.
    pub(super) fn version_at(&self, lsn: Lsn) -> Option<&SharedPage> {
        if self.newest.lsn <= lsn {
            return Some(&self.newest.page);
        }
        self.older.iter().rev().find(|version| version.lsn <= lsn).map(|version| &version.page)
    }

    /// Whether a version with this LSN belongs before the newest one that there is now, which then stays behind it: not if that is
    /// an all-zero page, which nobody has written, nor if it is as new already.
    pub(super) fn can_be_superseded_at(&self, lsn: Lsn) -> bool {
        self.newest.lsn < lsn && !self.newest.page.is_new()
    }

    /// Makes `page` the newest version and gives back the one it was.
    pub(super) fn replace(&mut self, page: SharedPage) -> SharedPage {
        let newest = Version { lsn: page.lsn(), page };
        std::mem::replace(&mut self.newest, newest).page
    }

    /// Makes `page` the newest version and keeps the one it was behind it.
    pub(super) fn supersede(&mut self, page: SharedPage) {
        let newest = Version { lsn: page.lsn(), page };
        let (before, after) = (self.newest.lsn, newest.lsn);
        assert!(before < after, "the versions of {} ascend: {after} after {before}", self.id);
        assert!(
            self.older.last().is_none_or(|last| last.lsn < before),
            "the older versions of {} ascend, and lie below {before}",
            self.id
        );
        self.older.push(std::mem::replace(&mut self.newest, newest));
    }

    /// How many versions there are behind the newest.
    pub(super) fn older(&self) -> usize {
        self.older.len()
    }

    /// Whether so many versions have gathered that [`Frame::prune`] is due.
    pub(super) fn wants_pruning(&self) -> bool {
        self.older.len() >= self.prune_at
    }

    /// Whether the version with this LSN is here and has an older one behind it.
    pub(super) fn has_predecessor(&self, lsn: Lsn) -> bool {
        match self.older.first() {
            None => false,
            Some(oldest) if oldest.lsn >= lsn => false,
            Some(_) => self.newest.lsn == lsn || self.older.iter().any(|version| version.lsn == lsn),
        }
    }

    /// Moves the versions that no snapshot from `oldest` on can need to `freed`.
    pub(super) fn trim(&mut self, oldest: Lsn, freed: &mut Vec<SharedPage>) {
        // A version is needed up to the LSN of the next one.
        let successors = self.older.iter().map(|version| version.lsn).chain([self.newest.lsn]).skip(1);
        let unneeded = successors.take_while(|&successor| successor <= oldest).count();
        assert!(unneeded <= self.older.len(), "the newest version stays");
        freed.extend(self.older.drain(..unneeded).map(|version| version.page));
    }

    /// Moves the versions that none of the snapshots in `needed` needs to `freed`.
    pub(super) fn prune(&mut self, needed: &Needed, freed: &mut Vec<SharedPage>) {
        let mut at = self.older.len();
        let mut successor = self.newest.lsn;
        while let Some(before) = at.checked_sub(1) {
            let lsn = self.older[before].lsn;
            if !needed.needs(lsn, successor) {
                freed.push(self.older.remove(before).page);
            }
            successor = lsn;
            at = before;
        }
        self.prune_at = (2 * self.older.len()).max(PRUNE_FROM);
    }

    /// Moves all versions but the newest to `freed`.
    pub(super) fn give_up_older(&mut self, freed: &mut Vec<SharedPage>) {
        freed.extend(self.older.drain(..).map(|version| version.page));
    }

    /// Whether somebody outside the pool holds the newest version: then evicting it would free nothing.
    pub(super) fn in_use(&self) -> bool {
        self.newest.page.is_shared()
    }
}
