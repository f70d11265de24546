//! Publishing what a run has changed.

use std::sync::atomic::Ordering;

use wal::Lsn;

use super::BufferPool;
use super::frame::Frame;
use super::load::Loading;
use super::shard::Shard;
use super::superseded::Superseded;
use crate::PageId;
use crate::page::SharedPage;
use crate::snapshot::Needed;

/// One call of [`BufferPool::publish`].
struct Publishing<'a> {
    pool: &'a BufferPool,
    superseded: &'a mut Superseded,
    /// Whether the versions that are superseded may be needed: not before the first snapshot, as during recovery.
    keeps_older: bool,
    /// The oldest snapshot when the call began.
    oldest: Lsn,
    /// The snapshots, once a frame has gathered so many versions that it is worth asking for all of them.
    needed: Option<Needed>,
}

impl BufferPool {
    /// Makes new versions of pages the newest ones, and dirty. Pages that were not there before are created.
    ///
    /// Only for the holder of the writer lock, or whoever replays. Every page carries the `pd_lsn` of the end of the run that
    /// changed it last: the same for all that a commit publishes, any of a batch's for replay's. None is below that of a page
    /// published by an earlier call, once there are snapshots; readers see the pages when a snapshot at that LSN or later is
    /// current, and none is between the runs of one call. Cannot fail: if no page can be written to make room for new ones, the
    /// pool grows instead (`BufferPool::check_takes_changes`).
    pub fn publish(&self, pages: impl IntoIterator<Item = (PageId, SharedPage)>) {
        let mut superseded = self.lock_superseded();
        let mut publishing = Publishing {
            pool: self,
            superseded: &mut superseded,
            keeps_older: self.snapshots.current().is_valid(),
            oldest: self.snapshots.oldest(),
            needed: None,
        };
        let (keeps_older, oldest) = (publishing.keeps_older, publishing.oldest);
        let before = publishing.superseded.newest();
        let (mut count, mut newest) = (0, Lsn::INVALID);
        for (id, page) in pages {
            let lsn = page.lsn();
            assert!(!keeps_older || before <= lsn, "{id} of {lsn} is published after pages of {before}");
            newest = newest.max(lsn);
            publishing.publish_one(id, page);
            count += 1;
        }
        if keeps_older {
            superseded.reached(newest);
        }
        self.trim_after_publish(&mut superseded, oldest, count, newest);
    }
}

impl Publishing<'_> {
    fn publish_one(&mut self, id: PageId, mut page: SharedPage) {
        let shard = self.pool.shard(id);
        loop {
            page = match self.supersede(shard, id, page) {
                None => return,
                Some(page) => page,
            };
            // The page has no frame: it is new, or was evicted after the run had read it. Nobody else gives it one
            // between these lines.
            if let Some(loading) = Loading::begin(shard, id) {
                return self.insert(shard, id, page, loading);
            }
        }
    }

    /// Puts `page` before the versions that its frame has; gives it back if it has no frame.
    fn supersede(&mut self, shard: &Shard, id: PageId, mut page: SharedPage) -> Option<SharedPage> {
        let mut frames = shard.lock();
        let Some(frame) = frames.get_mut(id) else { return Some(page) };
        frame.referenced = true;
        if !frame.dirty {
            frame.dirty = true;
            self.pool.dirty.fetch_add(1, Ordering::Relaxed);
        }
        let goes_back = runtime::fault::is_wanted("publish an older version of a page");
        if goes_back {
            page.make_mut().set_lsn(Lsn::INVALID);
        }
        let lsn = page.lsn();
        let freed = &mut self.superseded.freed;
        if !goes_back && (!self.keeps_older || !frame.can_be_superseded_at(lsn)) {
            let before = frame.newest_lsn();
            assert!(!self.keeps_older || before <= lsn, "{id} does not go back from {before} to {lsn}");
            freed.push(frame.replace(page));
            return None;
        }
        let before = frame.older();
        frame.supersede(page);
        frame.trim(self.oldest, freed);
        if frame.wants_pruning() {
            frame.prune(self.needed.get_or_insert_with(|| self.pool.snapshots.needed()), freed);
        }
        let after = frame.older();
        drop(frames);
        self.pool.versions.fetch_add(after, Ordering::Relaxed);
        self.pool.versions.fetch_sub(before, Ordering::Relaxed);
        self.superseded.push(lsn, id);
        None
    }

    /// Gives the page a frame, with the version in its file behind the new one if it may be needed.
    fn insert(&mut self, shard: &Shard, id: PageId, page: SharedPage, loading: Loading<'_>) {
        self.pool.make_room(shard);
        let lsn = page.lsn();
        let older = if self.keeps_older { self.read_older(id) } else { None };
        let mut frame = Frame::new(id, older.unwrap_or_else(|| page.clone()));
        if frame.can_be_superseded_at(lsn) {
            frame.supersede(page);
            self.pool.versions.fetch_add(1, Ordering::Relaxed);
            self.superseded.push(lsn, id);
        } else {
            frame.replace(page);
        }
        frame.dirty = true;
        self.pool.dirty.fetch_add(1, Ordering::Relaxed);
        shard.lock().insert(frame);
        drop(loading);
    }

    /// The page as its file has it, if it does.
    fn read_older(&self, id: PageId) -> Option<SharedPage> {
        let blocks = self.pool.files.blocks(id.tree).unwrap_or(0);
        if id.block.as_u32() >= blocks {
            return None;
        }
        let read = self.pool.read(id);
        read.inspect_err(|error| {
            tracing::error!("older snapshots cannot have a page that is being changed: {error}")
        })
        .ok()
    }
}
