//! Pages from beyond the end of the log.
//!
//! A page reaches its file only once the log is durable up to its `pd_lsn`. So a page that was in its file when the engine
//! was opened and is newer than the log was then means that the log has lost its end. Such a page is never handed out: it
//! has changes of transactions that do not exist.
//!
//! Later the log goes on past that LSN, and pages are written that are rightly newer. So it is remembered which pages this
//! engine has written, a bit for each: what is not among them was there before. While the end of the log is not known,
//! during recovery and on a standby until it is consistent, pages may be newer than what is replayed; of those that are read
//! the newest is remembered, for when the end is known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::sync::Mutex;
use wal::Lsn;

use super::BufferPool;
use crate::page::Page;
use crate::{EngineError, PageId, TreeId};

/// Pages of which one allocation remembers whether they were written: 256 MiB of a tree in 4 KiB of memory.
const GROUP: u32 = 64 * WORDS as u32;
const WORDS: usize = 512;

/// A bit for each page of a group.
type Group = Box<[u64; WORDS]>;

/// What tells a page that was there when the engine was opened, and where the log ended then.
#[derive(Debug)]
pub(super) struct BeyondLog {
    /// Where the log ended when the engine was opened; [`Lsn::MAX`] until that is known. Set once.
    end: AtomicU64,
    /// The `pd_lsn` of the newest page read before that. Moves forward, under the lock on `page`.
    newest: AtomicU64,
    page: Mutex<Option<PageId>>,
    written: Mutex<HashMap<(TreeId, u32), Group>>,
}

impl Default for BeyondLog {
    fn default() -> Self {
        Self {
            end: AtomicU64::new(Lsn::MAX.as_u64()),
            newest: AtomicU64::new(0),
            page: Mutex::default(),
            written: Mutex::default(),
        }
    }
}

impl BeyondLog {
    /// The page is about to be written to its file.
    pub(super) fn note_written(&self, id: PageId) {
        let (group, word, bit) = place(id);
        let mut written = self.written.lock();
        let words = written.entry((id.tree, group)).or_insert_with(|| Box::new([0; WORDS]));
        if let Some(word) = words.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    fn was_written(&self, id: PageId) -> bool {
        let (group, word, bit) = place(id);
        let written = self.written.lock();
        let words = written.get(&(id.tree, group));
        words.and_then(|words| words.get(word)).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn note_read(&self, id: PageId, lsn: Lsn) {
        if lsn.as_u64() <= self.newest.load(Ordering::Relaxed) {
            return;
        }
        let mut page = self.page.lock();
        if lsn.as_u64() > self.newest.load(Ordering::Relaxed) {
            self.newest.store(lsn.as_u64(), Ordering::Relaxed);
            *page = Some(id);
        }
    }
}

/// In which group a page is, in which of its words, and which bit of that.
fn place(id: PageId) -> (u32, usize, u32) {
    let block = id.block.as_u32();
    (block / GROUP, (block % GROUP / 64) as usize, block % 64)
}

impl BufferPool {
    /// Insists that `page`, just read as `id`, is not newer than the log was when it was written.
    pub(super) fn check_lsn(&self, id: PageId, page: &Page) -> Result<(), EngineError> {
        let (lsn, end) = (page.lsn(), Lsn::new(self.beyond.end.load(Ordering::Acquire)));
        if end == Lsn::MAX {
            self.beyond.note_read(id, lsn);
        } else if lsn > end && !self.beyond.was_written(id) {
            return Err(self.beyond_log(id, lsn, end));
        }
        Ok(())
    }

    /// The log that was there when the engine was opened ends at `end`. An error if a page was read that is newer; from now
    /// on none is.
    pub(crate) fn log_ended_at(&self, end: Lsn) -> Result<(), EngineError> {
        let page = *self.beyond.page.lock();
        let newest = Lsn::new(self.beyond.newest.load(Ordering::Relaxed));
        match page {
            Some(id) if newest > end => Err(self.beyond_log(id, newest, end)),
            _ => {
                self.beyond.end.store(end.as_u64(), Ordering::Release);
                Ok(())
            }
        }
    }

    /// Reads every page of every tree once: an error if one is newer than `end`, where the log ends.
    pub(crate) fn check_all_pages(&self, end: Lsn) -> Result<(), EngineError> {
        for tree in self.files.trees()? {
            for block in 0..self.files.blocks(tree)? {
                self.read(PageId::new(tree, block))?;
            }
        }
        self.log_ended_at(end)
    }

    fn beyond_log(&self, page: PageId, lsn: Lsn, end: Lsn) -> EngineError {
        EngineError::PageBeyondLog { page, path: self.files.path_of(page), lsn, end }
    }
}
