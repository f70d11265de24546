//! Private versions of pages over the latest ones.

use std::collections::HashMap;
use std::sync::Arc;

use wal::Lsn;

use crate::page::Page;
use crate::{EngineError, PageId};

/// Where pages come from that are not in the overlay yet.
pub(crate) trait PageSource {
    /// The page as it was published last.
    fn latest(&self, id: PageId) -> Result<Arc<Page>, EngineError>;
}

/// Pages read and changed by one writer. A page is asked for from the source once.
#[derive(Debug, Default)]
pub struct Overlay {
    places: HashMap<PageId, usize>,
    /// In the order in which they were first touched.
    touched: Vec<Touched>,
}

/// A page in the overlay.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) id: PageId,
    /// What it was before; the same as `page` as long as it was only read.
    pub(super) before: Before,
    pub(super) page: Arc<Page>,
}

/// What a page was before it was changed.
#[derive(Debug)]
pub(super) enum Before {
    /// It was not changed.
    Same,
    /// Another version.
    Version(Arc<Page>),
    /// Nothing that matters: it is written anew.
    Nothing,
}

impl Overlay {
    /// How many pages are in it.
    pub fn len(&self) -> usize {
        self.touched.len()
    }

    /// Whether no page is in it.
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Forgets all pages.
    pub fn clear(&mut self) {
        if !self.touched.is_empty() {
            self.touched.clear();
            self.places.clear();
        }
    }

    pub(crate) fn page(&mut self, source: &impl PageSource, id: PageId) -> Result<&Page, EngineError> {
        let touched = self.touch(source, id)?;
        Ok(&touched.page)
    }

    pub(crate) fn page_mut(
        &mut self,
        source: &impl PageSource,
        id: PageId,
    ) -> Result<&mut Page, EngineError> {
        let touched = self.touch(source, id)?;
        if matches!(touched.before, Before::Same) {
            touched.before = Before::Version(Arc::clone(&touched.page));
        }
        // Copies the page now if somebody else has it, and at no later time.
        Ok(Arc::make_mut(&mut touched.page))
    }

    pub(crate) fn new_page(&mut self, id: PageId) -> &mut Page {
        Arc::make_mut(&mut self.put_new(id, Page::zeroed_shared()).page)
    }

    /// Puts in `page`, whatever was there before.
    pub(super) fn put_new(&mut self, id: PageId, page: Arc<Page>) -> &mut Touched {
        let at = match self.places.get(&id) {
            Some(&at) => {
                self.touched[at].page = page;
                at
            }
            None => self.insert(id, page),
        };
        let touched = &mut self.touched[at];
        touched.before = Before::Nothing;
        touched
    }

    fn touch(&mut self, source: &impl PageSource, id: PageId) -> Result<&mut Touched, EngineError> {
        let at = match self.places.get(&id) {
            Some(&at) => at,
            None => self.insert(id, source.latest(id)?),
        };
        Ok(&mut self.touched[at])
    }

    fn insert(&mut self, id: PageId, page: Arc<Page>) -> usize {
        let at = self.touched.len();
        self.places.insert(id, at);
        self.touched.push(Touched { id, before: Before::Same, page });
        at
    }

    /// Keeps the pages for which `log` says that they differ, and leaves those out that were only read.
    pub(super) fn retain_changed(&mut self, mut log: impl FnMut(&Touched) -> bool) {
        self.touched.retain(|touched| !matches!(touched.before, Before::Same) && log(touched));
        self.places.clear();
    }

    /// The pages' last change ends at `lsn`.
    pub(crate) fn set_lsn(&mut self, lsn: Lsn) {
        for touched in &mut self.touched {
            Arc::make_mut(&mut touched.page).set_lsn(lsn);
        }
    }

    /// Takes all pages out, and gives those that were changed.
    pub(crate) fn drain_changed(&mut self) -> impl Iterator<Item = (PageId, Arc<Page>)> {
        self.places.clear();
        let changed = self.touched.drain(..).filter(|touched| !matches!(touched.before, Before::Same));
        changed.map(|touched| (touched.id, touched.page))
    }

    /// Takes all pages out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (PageId, Arc<Page>)> {
        self.places.clear();
        self.touched.drain(..).map(|touched| (touched.id, touched.page))
    }
}
