//! Runs: what one commit does to the pages, and the records that say so.
//!
//! A [`Run`] is a [`PageWriter`] over the latest pages: a page is copied when it is first changed, and nobody else sees
//! the copy. When everything is applied, [`Run::finish`] compares each page with what it was and appends the differences
//! as Generic records of up to four blocks, followed by the COMMIT record: one contiguous run of the log, since the
//! appender is held all the while. Then the pages are published, with `pd_lsn` the end of the COMMIT record.
//!
//! Nothing is appended before everything is applied, so that a run that fails half-way leaves no trace.
//! Invariant: the hole of every page is zero, here and on every node.

mod diff;
mod image;
mod overlay;
mod records;

pub use diff::{apply_fragments, diff};
pub use overlay::Overlay;

use wal::Lsn;
use wal::payload::RecordTime;
use wal::record::{ImageCompression, Xid};
use wal::writer::Placed;

use crate::buffer::BufferPool;
use crate::log::{Appender, Room, record};
use crate::page::{PAGE_SIZE, Page, SharedPage};
use crate::page_access::PageWriter;
use crate::{EngineError, PageId, TreeId};

use records::Records;

/// How pages are logged.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// How full-page images are compressed, if at all.
    pub compression: Option<ImageCompression>,
    /// Whether a page that is not newer than the redo position is logged whole.
    pub full_page_writes: bool,
}

/// Memory that runs use one after the other.
#[derive(Debug, Default)]
pub struct RunBuffers {
    overlay: Overlay,
    records: Records,
}

/// A run under way.
pub struct Run<'a> {
    pool: &'a BufferPool,
    buffers: &'a mut RunBuffers,
    /// The most memory for pages, in bytes.
    limit: u64,
}

impl<'a> Run<'a> {
    /// A run that has changed nothing yet. Its caller is the one writer.
    pub fn new(pool: &'a BufferPool, buffers: &'a mut RunBuffers) -> Self {
        buffers.overlay.clear();
        Self { pool, buffers, limit: u64::MAX }
    }

    /// Fails with [`EngineError::CommitTooLarge`] instead of taking more than `limit` bytes for pages: those that it has
    /// touched, and what they were before.
    pub(crate) fn limited_to(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    fn check_size(&self) -> Result<(), EngineError> {
        if self.buffers.overlay.held() as u64 * PAGE_SIZE as u64 > self.limit {
            return Err(EngineError::CommitTooLarge { limit: self.limit });
        }
        Ok(())
    }

    /// Adds a page that is written anew, as it is.
    pub(crate) fn add_new(&mut self, id: PageId, page: SharedPage) {
        self.buffers.overlay.put_new(id, page);
    }

    /// How many pages it has touched.
    pub fn pages(&self) -> usize {
        self.buffers.overlay.len()
    }

    /// Claims the space of the pages that are new, before anything of the run is in the log: what is logged can be written to
    /// the files then, however full the disk gets.
    ///
    /// # Errors
    /// [`EngineError::File`] if there is none.
    pub(crate) fn claim_space(&self) -> Result<(), EngineError> {
        self.buffers
            .overlay
            .ends_of_new_pages()
            .try_for_each(|(tree, blocks)| self.pool.files().claim(tree, blocks))
    }

    /// Appends the changes and the COMMIT of `xid`, which drops `dropped`. Gives the end of that record, which now is the
    /// `pd_lsn` of the pages left in the overlay, for [`Run::publish`]. `None`, and no record at all, if no page differs
    /// and nothing is dropped.
    ///
    /// # Errors
    /// There is no space for so much log. What was appended before is a run without its COMMIT, which nobody ever applies.
    pub fn finish(
        &mut self,
        appender: &mut Appender<'_>,
        options: RunOptions,
        xid: Xid,
        time: RecordTime,
        dropped: &[TreeId],
    ) -> Result<Option<Placed>, EngineError> {
        let RunBuffers { overlay, records } = &mut *self.buffers;
        let room = if dropped.is_empty() { Room::Ordinary } else { Room::Freeing };
        // Pages not newer than this have no image in the log since the last checkpoint began.
        let image_up_to = if options.full_page_writes { appender.redo() } else { Lsn::INVALID };
        records.begin(xid, room);
        overlay.retain_changed(|changed| records.add(changed, image_up_to, options.compression, appender))?;
        records.flush(appender)?;
        if overlay.is_empty() && dropped.is_empty() {
            return Ok(None);
        }
        let buffer = records.buffer();
        record::encode_commit(buffer, xid, time, dropped);
        let placed = appender.try_append(buffer, room)?;
        overlay.set_lsn(placed.end);
        Ok(Some(placed))
    }

    /// Gives the changed pages to the pool, for everybody who reads as of their `pd_lsn` or later.
    pub fn publish(self) {
        self.pool.publish(self.buffers.overlay.drain());
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.buffers.overlay.clear();
    }
}

impl PageWriter for Run<'_> {
    fn page(&mut self, id: PageId) -> Result<&Page, EngineError> {
        self.check_size()?;
        self.buffers.overlay.page(self.pool, id)
    }

    fn page_mut(&mut self, id: PageId) -> Result<&mut Page, EngineError> {
        self.check_size()?;
        self.buffers.overlay.page_mut(self.pool, id)
    }

    fn new_page(&mut self, id: PageId) -> Result<&mut Page, EngineError> {
        self.check_size()?;
        Ok(self.buffers.overlay.new_page(id))
    }
}
