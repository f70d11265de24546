//! Files that cannot be written: said once, and bounded in memory.
//!
//! Pages whose space was claimed before they were logged can be written however full the disk is. What is left is a disk that
//! refuses, or a file system that could not keep its word. Dirty pages stay in the pool then. Readers go on with the rest
//! of it, and with clean pages beyond that which displace each other; changes go on until so many pages are dirty that no
//! room would be left for readers, and are refused from then on, but for those that drop trees. Each change that is
//! refused tries again first whether the page at fault can be written by now.

use std::sync::atomic::{AtomicBool, Ordering};

use runtime::sync::{Mutex, MutexGuard};

use super::BufferPool;
use crate::{EngineError, PageId, TreeId};

/// Dirty pages that there may be while none can be written: this part of all.
const DIRTY_PART: usize = 2;

/// The page that could not be written, if there is one.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Mirrors whether `page` is something, for those who only look.
    is_there: AtomicBool,
    page: Mutex<Option<(PageId, EngineError)>>,
}

impl Trouble {
    pub(super) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(PageId, EngineError)>> {
        self.page.lock()
    }

    /// `page` could not be written. Said in the log if it is the first.
    pub(super) fn enter(&self, page: PageId, error: &EngineError) {
        let Some(again) = error.again() else { return };
        let mut first = self.lock();
        if first.is_none() {
            tracing::error!(
                "pages cannot be written to their files: {}; they are kept in memory, and changes are refused once half of \
                 shared_buffers is full of them",
                error.chain()
            );
            *first = Some((page, again));
            self.is_there.store(true, Ordering::Release);
        }
    }

    /// `page` was written, or needs not be any more.
    pub(super) fn leave(&self, page: PageId) {
        self.leave_if(|found| found == page);
    }

    /// No page of `tree` needs to be written any more.
    pub(super) fn leave_tree(&self, tree: TreeId) {
        self.leave_if(|found| found.tree == tree);
    }

    fn leave_if(&self, is_it: impl Fn(PageId) -> bool) {
        if !self.is_there() {
            return;
        }
        let mut first = self.lock();
        if first.as_ref().is_some_and(|&(page, _)| is_it(page)) {
            *first = None;
            self.is_there.store(false, Ordering::Release);
            tracing::info!("pages can be written to their files again");
        }
    }

    fn page(&self) -> Option<PageId> {
        self.lock().as_ref().map(|&(page, _)| page)
    }

    fn error(&self) -> Option<EngineError> {
        self.lock().as_ref().and_then(|(_, error)| error.again())
    }
}

impl BufferPool {
    /// Whether more pages may be changed.
    ///
    /// # Errors
    /// Why pages could not be written and still cannot, once so many are dirty that no more may become so.
    pub(crate) fn check_takes_changes(&self) -> Result<(), EngineError> {
        let Some(page) = self.trouble.is_there().then(|| self.trouble.page()).flatten() else {
            return Ok(());
        };
        if self.write_back(page).is_ok() {
            // It may have left the pool unwritten, dropped.
            self.trouble.leave(page);
            return Ok(());
        }
        if self.dirty_count() < self.capacity() / DIRTY_PART {
            return Ok(());
        }
        self.trouble.error().map_or(Ok(()), Err)
    }
}
