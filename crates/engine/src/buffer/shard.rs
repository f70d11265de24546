//! A part of the pool's table under one lock: frames found by page, and a clock's hand going round them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use runtime::sync::{Condvar, Mutex, MutexGuard};
use wal::Lsn;

use super::frame::Frame;
use crate::page::SharedPage;
use crate::{PageId, TreeId};

/// Frames that a shard should have at least, so that they spread evenly enough.
const MIN_FRAMES: usize = 64;

/// More would only cost memory: locks are held for tens of nanoseconds.
const MAX_SHARDS: usize = 64;

/// One part of the table. On cache lines of its own, lest its lock slow down its neighbours'.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Shard {
    frames: Mutex<Frames>,
    /// A read or a write of a page has ended.
    io_ended: Condvar,
}

/// What a shard's lock covers.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Where in `frames` a page is.
    table: HashMap<PageId, usize, BuildHasherDefault<PageHasher>>,
    frames: Vec<Frame>,
    /// The frame that the clock's hand points to; anything beyond the end means the first.
    hand: usize,
    /// Pages that a thread is reading from their files. None of them has a frame.
    loading: Vec<PageId>,
    /// Threads that wait for `io_ended`.
    waiting: usize,
    /// Lookups that found their page, and that did not.
    pub(super) hits: u64,
    pub(super) misses: u64,
}

impl Shard {
    /// How many shards a pool of `frames` frames has: a power of two.
    pub(super) fn count_for(frames: usize) -> usize {
        (frames / MIN_FRAMES).clamp(1, MAX_SHARDS + 1).next_power_of_two().min(MAX_SHARDS)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock()
    }

    /// Waits until some read or write of a page in this shard has ended.
    pub(super) fn wait<'a>(&'a self, mut frames: MutexGuard<'a, Frames>) -> MutexGuard<'a, Frames> {
        frames.waiting += 1;
        let mut frames = self.io_ended.wait(frames);
        assert!(frames.waiting > 0, "who has waited was counted");
        frames.waiting -= 1;
        frames
    }

    /// Wakes those that wait; without any it is not even a system call.
    pub(super) fn wake(&self, frames: MutexGuard<'_, Frames>) {
        if frames.waiting > 0 {
            self.io_ended.notify_all();
        }
    }
}

impl Frames {
    /// The newest version up to `lsn` of a page that has a frame: `Some(None)` if all of its versions are newer.
    #[allow(
        clippy::option_option,
        reason = "two questions: is the page here, and is there such a version of it"
    )]
    pub(super) fn find(&mut self, id: PageId, lsn: Lsn) -> Option<Option<SharedPage>> {
        let Some(&at) = self.table.get(&id) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        let frame = &mut self.frames[at];
        frame.referenced = true;
        Some(frame.version_at(lsn).cloned())
    }

    pub(super) fn get_mut(&mut self, id: PageId) -> Option<&mut Frame> {
        self.table.get(&id).map(|&at| &mut self.frames[at])
    }

    pub(super) fn contains(&self, id: PageId) -> bool {
        self.table.contains_key(&id)
    }

    pub(super) fn insert(&mut self, frame: Frame) {
        let replaced = self.table.insert(frame.id, self.frames.len());
        assert!(replaced.is_none(), "{} has one frame", frame.id);
        self.frames.push(frame);
    }

    pub(super) fn remove(&mut self, id: PageId) -> Option<Frame> {
        let at = self.table.remove(&id)?;
        let removed = self.frames.swap_remove(at);
        assert_eq!(removed.id, id, "a page is where the table says");
        assert!(!removed.writing, "the frame of {id} stays where it is while it is written");
        if let Some(moved) = self.frames.get(at) {
            self.table.insert(moved.id, at);
        }
        Some(removed)
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter()
    }

    /// The next frame under the clock's hand.
    pub(super) fn advance_hand(&mut self) -> Option<&mut Frame> {
        if self.hand >= self.frames.len() {
            self.hand = 0;
        }
        let frame = self.frames.get_mut(self.hand);
        self.hand += 1;
        frame
    }

    pub(super) fn is_loading(&self, id: PageId) -> bool {
        self.loading.contains(&id)
    }

    /// Whether a page of `tree` is being read.
    pub(super) fn is_loading_tree(&self, tree: TreeId) -> bool {
        self.loading.iter().any(|id| id.tree == tree)
    }

    pub(super) fn begin_loading(&mut self, id: PageId) {
        assert!(!self.is_loading(id), "one thread reads {id}");
        assert!(!self.contains(id), "{id}, which is being read, has no frame");
        self.loading.push(id);
    }

    pub(super) fn end_loading(&mut self, id: PageId) {
        assert!(self.is_loading(id), "{id} was being read");
        self.loading.retain(|&other| other != id);
    }
}

/// Bits that pick a page's shard, independent of those that find it in the shard's table.
pub(super) fn shard_hash(id: PageId) -> u64 {
    mix(u64::from(id.tree.as_u32()) << 32 | u64::from(id.block.as_u32())) >> 24
}

/// Spreads a page's number over 64 bits: both halves of a product with a large odd number, folded.
const fn mix(number: u64) -> u64 {
    let product = (number ^ 0x9E37_79B9_7F4A_7C15) as u128 * 0xD6E8_FEB8_6659_FD93;
    (product >> 64) as u64 ^ product as u64
}

/// Hashes a [`PageId`], whose numbers nobody outside chooses freely: fast, not keyed.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct PageHasher(u64);

impl Hasher for PageHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0 << 8 | u64::from(byte);
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = self.0 << 32 | u64::from(number);
    }

    fn finish(&self) -> u64 {
        mix(self.0)
    }
}
