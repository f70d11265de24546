//! The buffer pool: pages in memory, each as of every LSN that somebody may read at.
//!
//! A page in the pool is a *frame*: its newest published version and, behind that, older ones that a snapshot may still
//! need. Published versions never change. Only the holder of the engine's writer lock publishes, always with a `pd_lsn`
//! above that of the version before; readers never wait for it.
//!
//! Invariants:
//! - A page is read from its file by one thread at a time, and only while it has no frame; it is written only while it
//!   has one. So a block is never read while it is written, nor written twice at once.
//! - What reaches a file is the newest version, with its checksum, after the log is durable up to its `pd_lsn`. A frame
//!   whose newest version is not in its file is *dirty* and stays in the pool.
//! - A frame leaves the pool only when it is clean and has no older version, so every version that an uncancelled
//!   snapshot may need is in the pool or is the one in the file.
//!
//! Locks are taken in this order: the superseded queue, one shard, the snapshots. None but the first is held during I/O.

mod beyond_log;
mod evict;
mod frame;
mod load;
mod publish;
mod shard;
mod spare;
mod stats;
mod superseded;
mod trouble;
mod view;
mod wal_before_data;
mod write_back;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use runtime::sync::Mutex;
use wal::Lsn;

use self::beyond_log::BeyondLog;
use self::shard::Shard;
use self::spare::SparePages;
pub use self::stats::PoolStats;
use self::superseded::Superseded;
use self::trouble::Trouble;
pub use self::view::{LatestView, SnapshotView, latest_view};
pub use self::wal_before_data::WalBeforeData;
use crate::page::{PAGE_SIZE, Page, SharedPage};
use crate::relation::RelationFiles;
use crate::snapshot::{SnapshotGuard, Snapshots};
use crate::{EngineError, PageId};

/// How much memory the pool may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolOptions {
    /// For pages, in bytes: `shared_buffers`. Exceeded only by pages that are in use or whose older versions are needed.
    pub capacity_bytes: u64,
    /// For older versions of pages, in bytes, on top of that. Beyond it the oldest snapshots are cancelled. Exceeded only
    /// by what the current snapshot itself needs, because commits are not confirmed yet: see [`BufferPool::is_crowded`].
    pub version_bytes: u64,
}

/// Pages in memory.
pub struct BufferPool {
    files: Arc<RelationFiles>,
    beyond: BeyondLog,
    wal: Arc<dyn WalBeforeData>,
    snapshots: Snapshots,
    shards: Box<[Shard]>,
    /// Frames that a shard may have before it evicts some.
    frames_per_shard: usize,
    superseded: Mutex<Superseded>,
    spare: SparePages,
    trouble: Trouble,
    /// Older versions that are kept, over all frames.
    versions: AtomicUsize,
    /// There are more of them than there may be, for commits that are not confirmed yet. Written under the lock on
    /// `superseded`.
    crowded: AtomicBool,
    /// Frames that are dirty.
    dirty: AtomicUsize,
    read: AtomicU64,
    evicted: AtomicU64,
    written: AtomicU64,
    cancelled: AtomicU64,
}

impl BufferPool {
    /// An empty pool over `files`. Its current snapshot is 0/0, which keeps no older versions, until
    /// [`Snapshots::advance`] says otherwise.
    pub fn new(files: Arc<RelationFiles>, wal: Arc<dyn WalBeforeData>, options: PoolOptions) -> Self {
        let pages = |bytes: u64| usize::try_from(bytes / PAGE_SIZE as u64).unwrap_or(usize::MAX);
        let frames = pages(options.capacity_bytes).max(1);
        let shards = Shard::count_for(frames);
        Self {
            files,
            beyond: BeyondLog::default(),
            wal,
            snapshots: Snapshots::new(Lsn::INVALID),
            shards: (0..shards).map(|_| Shard::default()).collect(),
            frames_per_shard: frames.div_ceil(shards),
            superseded: Mutex::new(Superseded::new(pages(options.version_bytes))),
            spare: SparePages::default(),
            trouble: Trouble::default(),
            versions: AtomicUsize::new(0),
            crowded: AtomicBool::new(false),
            dirty: AtomicUsize::new(0),
            read: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            written: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        }
    }

    /// The snapshots that the pool keeps versions for.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// The files that the pages are in.
    pub fn files(&self) -> &Arc<RelationFiles> {
        &self.files
    }

    /// The page as of `snapshot`: its newest version with a `pd_lsn` up to the snapshot's LSN.
    ///
    /// Fails with [`EngineError::SnapshotTooOld`] if that version was given up, with [`EngineError::Damaged`] if the page
    /// in the file is not one that was written or the file ends before it, with [`EngineError::PageBeyondLog`] if it is newer
    /// than the log, with [`EngineError::NoTree`] if there is no
    /// file, and with [`EngineError::File`] if reading failed.
    pub fn get_at(&self, id: PageId, snapshot: &SnapshotGuard) -> Result<SharedPage, EngineError> {
        let found = self.lookup(id, snapshot.lsn());
        // Asked after the lookup: what is given up on account of a cancelled snapshot, be it a version or the file of a
        // tree that was dropped since, is so after the cancelling.
        match found {
            Ok(Some(page)) if !snapshot.is_cancelled() => Ok(page),
            Err(error) if !snapshot.is_cancelled() => Err(error),
            _ => Err(EngineError::SnapshotTooOld(snapshot.lsn())),
        }
    }

    /// The page as it was published last. Errors as for [`BufferPool::get_at`].
    pub fn latest(&self, id: PageId) -> Result<SharedPage, EngineError> {
        match self.lookup(id, Lsn::MAX)? {
            Some(page) => Ok(page),
            None => unreachable!("the newest version of a page is never newer than the last LSN"),
        }
    }

    /// A page with anything on it that nobody else holds, to be written anew and published.
    pub(crate) fn spare_page(&self) -> SharedPage {
        self.spare.take()
    }

    /// A copy of `page` to be changed and published: in memory that a version given up before has left, if there is any.
    pub fn copy(&self, page: &Page) -> SharedPage {
        let mut copy = self.spare.take();
        match copy.get_mut() {
            Some(bytes) => bytes.copy_from(page),
            None => unreachable!("nobody else holds a spare page"),
        }
        copy
    }

    /// The newest version up to `lsn`, read from its file if need be; `None` if all versions there are are newer.
    fn lookup(&self, id: PageId, lsn: Lsn) -> Result<Option<SharedPage>, EngineError> {
        let shard = self.shard(id);
        loop {
            if let Some(found) = shard.lock().find(id, lsn) {
                return Ok(found);
            }
            // If another thread read it, it is looked up again: there may be newer versions by now.
            if let Some(page) = self.load(shard, id)? {
                return Ok((page.lsn() <= lsn).then_some(page));
            }
        }
    }

    fn shard(&self, id: PageId) -> &Shard {
        let at = shard::shard_hash(id) as usize & (self.shards.len() - 1);
        &self.shards[at]
    }
}

#[cfg(test)]
mod tests;
