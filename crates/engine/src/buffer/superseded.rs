//! Giving up older versions: when nobody needs them, and when they take too much memory.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::thread;

use runtime::sync::MutexGuard;
use wal::Lsn;

use super::BufferPool;
use crate::PageId;
use crate::page::SharedPage;
use crate::snapshot::Needed;

/// Entries that publishing one page may work off: more than it adds, so that a backlog shrinks, and few, so that no
/// single commit pays for it.
const WORK_OFF: usize = 4;

/// Entries that [`BufferPool::trim`] works off before it lets the writer in.
const TRIM_AT_ONCE: usize = 64;

/// Entries that the queue may have on top of four for each version before the useless ones are looked for.
const SLACK: usize = 4096;

/// Which versions have been superseded, and by when.
#[derive(Debug)]
pub(super) struct Superseded {
    /// A version with this LSN of this page was published over another one. What is behind it may be gone by now; but every
    /// older version has its successor's entry here.
    ///
    /// Calls of [`BufferPool::publish`] come in the order of the log: no entry is older than one of an earlier call. Those of
    /// one call come in any order, because replay publishes many runs at once, lane by lane. So an entry may wait behind a newer
    /// one of its call, but for no longer than until the snapshots have all passed that call: none lies between its runs,
    /// and what is behind an entry is looked up by page when its turn comes.
    queue: VecDeque<(Lsn, PageId)>,
    /// The newest version that was published since older ones are kept.
    newest: Lsn,
    /// Older versions that there may be.
    limit: usize,
    /// Beyond the limit with no snapshot to cancel: how many it takes before all pages are looked at again.
    sweep_above: usize,
    /// Pages to be dropped once no shard is locked.
    pub(super) freed: Vec<SharedPage>,
}

impl Superseded {
    pub(super) fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), newest: Lsn::INVALID, limit, sweep_above: limit, freed: Vec::new() }
    }

    /// The newest version of any page that earlier calls have published, since older ones are kept.
    pub(super) fn newest(&self) -> Lsn {
        self.newest
    }

    /// A call has published versions up to this one.
    pub(super) fn reached(&mut self, newest: Lsn) {
        self.newest = self.newest.max(newest);
    }

    pub(super) fn push(&mut self, lsn: Lsn, id: PageId) {
        self.queue.push_back((lsn, id));
    }

    /// The next entry whose predecessors no snapshot from `oldest` on needs.
    fn pop(&mut self, oldest: Lsn) -> Option<PageId> {
        match self.queue.front() {
            Some(&(lsn, id)) if lsn <= oldest => {
                self.queue.pop_front();
                Some(id)
            }
            _ => None,
        }
    }
}

impl BufferPool {
    /// Gives up every older version that became unneeded when snapshots ended or the current one moved. Publishing does
    /// so little by little; this is for when nothing is published for a while.
    pub fn trim(&self) {
        while self.work_off(&mut self.lock_superseded(), self.snapshots.oldest(), TRIM_AT_ONCE)
            == TRIM_AT_ONCE
        {
            // The writer may be waiting for the queue.
            thread::yield_now();
        }
    }

    pub(super) fn lock_superseded(&self) -> MutexGuard<'_, Superseded> {
        self.superseded.lock()
    }

    /// After `published` pages, the last commit of which ended at `newest`: works off some of the queue and bounds the memory
    /// that versions take.
    pub(super) fn trim_after_publish(
        &self,
        superseded: &mut Superseded,
        oldest: Lsn,
        published: usize,
        newest: Lsn,
    ) {
        self.work_off(superseded, oldest, WORK_OFF * published);
        let versions = self.versions.load(Ordering::Relaxed);
        if versions > superseded.limit {
            self.bound_versions(superseded, newest);
            self.note_crowding(superseded);
        }
        if superseded.queue.len() > 4 * versions + SLACK {
            self.sweep(superseded, None);
        }
    }

    /// Whether older versions take more memory than they may, all of them needed by the current snapshot: commits that are
    /// not confirmed yet. More of those had better wait.
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::SeqCst)
    }

    /// The current snapshot has moved: gives up what that has made superfluous. True if the pool is not crowded any more.
    pub(crate) fn relieve(&self) -> bool {
        let mut superseded = self.lock_superseded();
        self.bound_versions(&mut superseded, Lsn::INVALID);
        self.note_crowding(&superseded);
        !self.is_crowded()
    }

    fn note_crowding(&self, superseded: &Superseded) {
        let crowded = self.versions.load(Ordering::Relaxed) > superseded.limit;
        self.crowded.store(crowded, Ordering::SeqCst);
    }

    /// Trims the pages of at most `at_most` entries, and says of how many.
    fn work_off(&self, superseded: &mut Superseded, oldest: Lsn, at_most: usize) -> usize {
        let mut done = 0;
        while done < at_most
            && let Some(id) = superseded.pop(oldest)
        {
            done += 1;
            let before = superseded.freed.len();
            if let Some(frame) = self.shard(id).lock().get_mut(id) {
                frame.trim(oldest, &mut superseded.freed);
            }
            self.versions.fetch_sub(superseded.freed.len() - before, Ordering::Relaxed);
        }
        self.spare.put(&mut superseded.freed);
        done
    }

    /// Brings the number of versions below its limit, with some room: gives up what nobody needs, then what might have been
    /// needed between now and `newest`, then cancels snapshots, the oldest first. What the current snapshot needs stays.
    fn bound_versions(&self, superseded: &mut Superseded, newest: Lsn) {
        let target = superseded.limit - superseded.limit / 8;
        let versions = || self.versions.load(Ordering::Relaxed);
        self.work_off(superseded, self.snapshots.oldest(), usize::MAX);
        if versions() <= target {
            return;
        }
        // Looking at every page is worth it if there is a snapshot to be saved by it, or if much has gathered since the
        // last look.
        let can_cancel = self.snapshots.oldest() < self.snapshots.current();
        if !can_cancel && versions() <= superseded.sweep_above {
            return;
        }
        self.sweep(superseded, Some(&self.snapshots.needed()));
        if versions() > target {
            self.snapshots.mark(newest);
            self.sweep(superseded, Some(&self.snapshots.needed()));
        }
        if versions() > target && self.snapshots.thin_marks() {
            self.sweep(superseded, Some(&self.snapshots.needed()));
        }
        while versions() > target {
            let Some(cancelled) = self.snapshots.cancel_oldest() else { break };
            self.cancelled.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                "cancelled the snapshot as of {cancelled}: older versions of pages take too much memory"
            );
            self.work_off(superseded, self.snapshots.oldest(), usize::MAX);
        }
        let left = versions();
        superseded.sweep_above = left + left / 8;
    }

    /// Forgets the entries that have nothing behind them, after pruning the pages of all of them if `needed` is given.
    fn sweep(&self, superseded: &mut Superseded, needed: Option<&Needed>) {
        let Superseded { queue, freed, .. } = superseded;
        queue.retain(|&(lsn, id)| {
            let mut frames = self.shard(id).lock();
            let Some(frame) = frames.get_mut(id) else { return false };
            if let Some(needed) = needed {
                let before = freed.len();
                frame.prune(needed, freed);
                self.versions.fetch_sub(freed.len() - before, Ordering::Relaxed);
            }
            frame.has_predecessor(lsn)
        });
        self.spare.put(freed);
    }
}
