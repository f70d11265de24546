//! The pool as trees read it.

use wal::Lsn;

use super::BufferPool;
use crate::page::SharedPage;
use crate::page_access::PageReader;
use crate::snapshot::SnapshotGuard;
use crate::{EngineError, PageId};

/// Pages as of a snapshot.
#[derive(Clone, Copy)]
pub struct SnapshotView<'a> {
    /// Where the pages are.
    pub pool: &'a BufferPool,
    /// As of when.
    pub snapshot: &'a SnapshotGuard,
}

/// Pages as they were published last: for the holder of the writer lock, or of the locks on what it reads.
#[derive(Clone, Copy)]
pub struct LatestView<'a> {
    pool: &'a BufferPool,
}

/// Pages as they were published last.
pub const fn latest_view(pool: &BufferPool) -> LatestView<'_> {
    LatestView { pool }
}

impl PageReader for SnapshotView<'_> {
    fn page(&self, id: PageId) -> Result<SharedPage, EngineError> {
        self.pool.get_at(id, self.snapshot)
    }

    fn as_of(&self) -> Option<Lsn> {
        Some(self.snapshot.lsn())
    }
}

impl PageReader for LatestView<'_> {
    fn page(&self, id: PageId) -> Result<SharedPage, EngineError> {
        self.pool.latest(id)
    }
}
