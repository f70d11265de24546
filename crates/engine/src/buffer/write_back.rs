//! Writing pages to their files, and what checkpoints and dropped trees ask of the pool.

use std::sync::atomic::Ordering;

use wal::Lsn;

use super::BufferPool;
use super::shard::Shard;
use crate::page::{Page, SharedPage};
use crate::{EngineError, PageId, TreeId};

/// Says that a frame is being written, until it is dropped.
struct Writing<'a> {
    pool: &'a BufferPool,
    shard: &'a Shard,
    id: PageId,
    page: SharedPage,
    /// The file has `page` now.
    done: bool,
}

impl BufferPool {
    /// The pages that are dirty now, in the order of their files. Called after the redo point is taken and before another
    /// run is published: writing all of them back and syncing the files makes everything before the redo point durable.
    pub fn begin_checkpoint(&self) -> Vec<PageId> {
        let mut dirty = Vec::with_capacity(self.dirty_count());
        for shard in &self.shards {
            dirty.extend(shard.lock().iter().filter(|frame| frame.dirty).map(|frame| frame.id));
        }
        dirty.sort_unstable();
        assert!(dirty.windows(2).all(|two| two[0] < two[1]), "a page has one frame");
        dirty
    }

    /// Writes the page to its file if it is dirty, after making the log durable up to its `pd_lsn`. When this returns, the
    /// version that was the newest at the call, or a newer one, is in the file, though not synced. If a newer one is
    /// published meanwhile, the page stays dirty; after an error too.
    pub fn write_back(&self, id: PageId) -> Result<(), EngineError> {
        let shard = self.shard(id);
        let Some(mut writing) = Writing::begin(self, shard, id) else { return Ok(()) };
        let lsn = writing.page.lsn();
        self.before_files_show(lsn)?;
        let flushed = self.wal.flushed();
        let lsn = if runtime::fault::is_wanted("write a page before its log") { Lsn::MAX } else { lsn };
        assert!(
            lsn <= flushed,
            "{id} of {lsn} is written before the log, durable up to {flushed}, has its changes"
        );
        // Others read the page meanwhile, so the checksum goes to a copy.
        let mut copy = Page::clone(&writing.page);
        copy.set_checksum(id.block.as_u32());
        // Before it can be read again.
        self.beyond.note_written(id);
        self.files.write_block(id, &copy).inspect_err(|error| self.trouble.enter(id, error))?;
        self.trouble.leave(id);
        self.written.fetch_add(1, Ordering::Relaxed);
        writing.done = true;
        Ok(())
    }

    /// Makes sure of everything before `lsn` before a file is changed in a way that only that explains, other than by a
    /// page of it: see [`WalBeforeData`](super::WalBeforeData).
    pub(crate) fn before_files_show(&self, lsn: Lsn) -> Result<(), EngineError> {
        if lsn > self.wal.flushed() { self.wal.flush(lsn) } else { Ok(()) }
    }

    /// How many pages are dirty.
    pub fn dirty_count(&self) -> usize {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Forgets the pages of a tree that was dropped, and what was not written of them. When this returns nobody is
    /// reading or writing its files, and unless somebody asks for its pages again, nobody will.
    pub fn forget_tree(&self, tree: TreeId) {
        let mut freed = Vec::new();
        for shard in &self.shards {
            let mut frames = shard.lock();
            while frames.is_loading_tree(tree)
                || frames.iter().any(|frame| frame.id.tree == tree && frame.writing)
            {
                frames = shard.wait(frames);
            }
            let ids: Vec<PageId> = frames.iter().map(|frame| frame.id).filter(|id| id.tree == tree).collect();
            for id in ids {
                let Some(mut frame) = frames.remove(id) else { continue };
                self.versions.fetch_sub(frame.older(), Ordering::Relaxed);
                frame.give_up_older(&mut freed);
                let dirty = self.dirty.fetch_sub(usize::from(frame.dirty), Ordering::Relaxed);
                assert!(dirty >= usize::from(frame.dirty), "dirty frames are counted");
                freed.push(frame.newest().clone());
            }
            drop(frames);
            freed.clear();
        }
        self.trouble.leave_tree(tree);
    }
}

impl<'a> Writing<'a> {
    /// `None` if there is nothing to write, at once or after another thread has written it.
    fn begin(pool: &'a BufferPool, shard: &'a Shard, id: PageId) -> Option<Self> {
        let mut frames = shard.lock();
        loop {
            let frame = frames.get_mut(id).filter(|frame| frame.dirty)?;
            if !frame.writing {
                frame.writing = true;
                let page = frame.newest().clone();
                return Some(Self { pool, shard, id, page, done: false });
            }
            frames = shard.wait(frames);
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut frames = self.shard.lock();
        if let Some(frame) = frames.get_mut(self.id) {
            assert!(frame.writing, "one thread writes {}", self.id);
            frame.writing = false;
            if self.done && frame.newest().is_same(&self.page) {
                assert!(frame.dirty, "{} is dirty until it is written", self.id);
                frame.dirty = false;
                assert!(self.pool.dirty.fetch_sub(1, Ordering::Relaxed) > 0, "dirty frames are counted");
            }
        }
        self.shard.wake(frames);
    }
}
