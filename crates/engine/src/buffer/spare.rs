//! Memory of pages that nobody holds any more, to be used again.

use runtime::sync::{Mutex, MutexGuard};

use crate::page::SharedPage;

/// How many pages are kept: few, so that what is taken was given up lately and is in the processor's cache.
const MAX: usize = 64;

/// A stack of pages. Taking the one given up last halves the cost of copying a page.
#[derive(Debug, Default)]
pub(super) struct SparePages {
    pages: Mutex<Vec<SharedPage>>,
}

impl SparePages {
    /// A page with anything on it that nobody else holds.
    pub(super) fn take(&self) -> SharedPage {
        let spare = self.lock().pop();
        spare.unwrap_or_else(SharedPage::of_anything)
    }

    /// Empties `freed`, keeping what nobody else holds, as far as there is room.
    pub(super) fn put(&self, freed: &mut Vec<SharedPage>) {
        if freed.is_empty() {
            return;
        }
        let mut pages = self.lock();
        let room = MAX - pages.len();
        pages.extend(freed.extract_if(.., |page| !page.is_shared()).take(room));
        drop(pages);
        freed.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SharedPage>> {
        self.pages.lock()
    }
}
