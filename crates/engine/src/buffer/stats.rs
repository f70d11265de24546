//! What the pool has been doing.

use std::sync::atomic::Ordering;

use super::BufferPool;

/// Numbers about a pool: the first four as they are now, the others since it began.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PoolStats {
    /// Pages in the pool.
    pub pages: usize,
    /// Pages it may have.
    pub capacity: usize,
    /// Pages whose newest version is not in their files.
    pub dirty: usize,
    /// Older versions of pages.
    pub versions: usize,
    /// Lookups that found their page.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Pages read from their files.
    pub read: u64,
    /// Pages that left to make room.
    pub evicted: u64,
    /// Pages written to their files.
    pub written: u64,
    /// Snapshots cancelled to bound memory.
    pub cancelled: u64,
}

impl BufferPool {
    /// Pages it may have.
    pub(crate) fn capacity(&self) -> usize {
        self.frames_per_shard * self.shards.len()
    }

    /// Numbers about this pool, each right by itself.
    pub fn stats(&self) -> PoolStats {
        let mut stats = PoolStats {
            capacity: self.capacity(),
            dirty: self.dirty_count(),
            versions: self.versions.load(Ordering::Relaxed),
            read: self.read.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            cancelled: self.cancelled.load(Ordering::Relaxed),
            ..PoolStats::default()
        };
        for shard in &self.shards {
            let frames = shard.lock();
            stats.pages += frames.len();
            stats.hits += frames.hits;
            stats.misses += frames.misses;
        }
        stats
    }
}
