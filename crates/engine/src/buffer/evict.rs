//! Making room: which pages leave the pool when it is full.

use std::sync::atomic::Ordering;

use wal::Lsn;

use super::BufferPool;
use super::shard::{Frames, Shard};
use crate::PageId;
use crate::page::SharedPage;

/// How many pages one call makes leave at most: more than come in, so that a shard that grew too large shrinks again.
const AT_ONCE: usize = 4;

/// A frame that may leave the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victim {
    Clean(PageId),
    /// To be written first.
    Dirty(PageId),
}

impl BufferPool {
    /// Sees to it that `shard` has room for one more frame, writing back a page if need be. If every frame is in use, has
    /// versions that are needed, or is dirty while pages cannot be written, the shard becomes larger than it should be.
    pub(super) fn make_room(&self, shard: &Shard) {
        if shard.lock().len() < self.frames_per_shard {
            return;
        }
        let oldest = self.snapshots.oldest();
        // Dropped after the lock on the shard.
        let mut freed = Vec::new();
        for _ in 0..AT_ONCE {
            let mut frames = shard.lock();
            if frames.len() < self.frames_per_shard {
                break;
            }
            let older = freed.len();
            let writes = !self.trouble.is_there();
            let victim = choose_victim(&mut frames, self.wal.flushed(), oldest, writes, &mut freed);
            self.versions.fetch_sub(freed.len() - older, Ordering::Relaxed);
            match victim {
                None => break,
                Some(Victim::Clean(id)) => self.evict(frames, id, &mut freed),
                Some(Victim::Dirty(id)) => {
                    drop(frames);
                    // Otherwise the next one chosen is a clean one.
                    if self.write_back(id).is_ok() {
                        self.evict(shard.lock(), id, &mut freed);
                    }
                }
            }
        }
        self.spare.put(&mut freed);
    }

    /// Removes the frame, unless something has happened to it since it was chosen.
    fn evict(
        &self,
        mut frames: impl std::ops::DerefMut<Target = Frames>,
        id: PageId,
        freed: &mut Vec<SharedPage>,
    ) {
        let leaves =
            frames.get_mut(id).is_some_and(|frame| !frame.dirty && !frame.writing && frame.older() == 0);
        if leaves && let Some(frame) = frames.remove(id) {
            assert!(!frame.dirty && frame.older() == 0, "what leaves the pool, {id}, is in its file");
            self.evicted.fetch_add(1, Ordering::Relaxed);
            freed.push(frame.newest().clone());
        }
    }
}

/// Moves the hand on to a frame that nobody asked for since it passed last. Dirty frames whose run is not durable yet
/// come last, because writing them means waiting for the log; without `writes` no dirty one comes at all.
fn choose_victim(
    frames: &mut Frames,
    flushed: Lsn,
    oldest: Lsn,
    writes: bool,
    freed: &mut Vec<SharedPage>,
) -> Option<Victim> {
    let mut unflushed = None;
    // The first time round may do no more than take back every second chance.
    for _ in 0..2 * frames.len() {
        let frame = frames.advance_hand()?;
        if frame.writing || frame.in_use() {
            continue;
        }
        if std::mem::take(&mut frame.referenced) {
            continue;
        }
        frame.trim(oldest, freed);
        if frame.older() > 0 {
            continue;
        }
        if !frame.dirty {
            return Some(Victim::Clean(frame.id));
        }
        if !writes {
            continue;
        }
        if frame.newest_lsn() <= flushed {
            return Some(Victim::Dirty(frame.id));
        }
        unflushed = unflushed.or(Some(Victim::Dirty(frame.id)));
    }
    unflushed
}
