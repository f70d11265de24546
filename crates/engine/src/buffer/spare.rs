//! Memory of pages that nobody holds any more, to be used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::page::Page;

/// How many pages are kept: few, so that what is taken was given up lately and is in the processor's cache.
const MAX: usize = 64;

/// A stack of pages. Taking one instead of allocating it halves the cost of copying a page, and spares the allocator
/// returning memory to the system and asking for it again.
#[derive(Debug, Default)]
pub(super) struct SparePages {
    pages: Mutex<Vec<Arc<Page>>>,
}

impl SparePages {
    /// A page with anything on it that nobody else holds.
    pub(super) fn take(&self) -> Arc<Page> {
        let spare = self.lock().pop();
        spare.unwrap_or_else(Page::zeroed_shared)
    }

    /// Empties `freed`, keeping what nobody else holds, as far as there is room.
    pub(super) fn put(&self, freed: &mut Vec<Arc<Page>>) {
        if freed.is_empty() {
            return;
        }
        let mut pages = self.lock();
        let room = MAX - pages.len();
        pages.extend(freed.extract_if(.., |page| Arc::strong_count(page) == 1).take(room));
        drop(pages);
        freed.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Page>>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
