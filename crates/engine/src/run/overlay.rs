//! Private versions of pages over the latest ones.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use wal::Lsn;

use crate::buffer::BufferPool;
use crate::page::{Page, SharedPage};
use crate::{EngineError, PageId, TreeId};

/// Pages read and changed by one writer. A page is asked for from the pool once.
#[derive(Debug, Default)]
pub struct Overlay {
    /// Where each page is in `touched`, once there are more than [`FEW`].
    places: HashMap<PageId, usize, BuildHasherDefault<PageHasher>>,
    /// In the order in which they were first touched.
    touched: Vec<Touched>,
    /// How many of them are here twice: as they were, and as they are now.
    copied: usize,
}

/// So many pages are found by looking at all of them: what a commit of one row touches.
const FEW: usize = 16;

/// Spreads the two numbers that name a page; nobody chooses them to collide.
#[derive(Debug, Default)]
struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(byte.into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(32) ^ u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// A page in the overlay.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) id: PageId,
    /// What it was before; the same as `page` as long as it was only read.
    pub(super) before: Before,
    pub(super) page: SharedPage,
}

/// What a page was before it was changed.
#[derive(Debug)]
pub(super) enum Before {
    /// It was not changed.
    Same,
    /// Another version.
    Version(SharedPage),
    /// Nothing that matters: it is written anew.
    Nothing,
}

impl Overlay {
    /// How many pages are in it.
    pub fn len(&self) -> usize {
        self.touched.len()
    }

    /// How many pages it keeps in memory.
    pub(super) fn held(&self) -> usize {
        assert!(self.copied <= self.touched.len(), "a page is here twice at most");
        self.touched.len() + self.copied
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
        self.copied = 0;
    }

    pub(crate) fn page(&mut self, pool: &BufferPool, id: PageId) -> Result<&Page, EngineError> {
        let at = self.touch(pool, id)?;
        Ok(&self.touched[at].page)
    }

    pub(crate) fn page_mut(&mut self, pool: &BufferPool, id: PageId) -> Result<&mut Page, EngineError> {
        let at = self.touch(pool, id)?;
        Ok(self.changed(pool, at))
    }

    /// The page, to be changed by what ends at `lsn`; `None` if it is that new already. [`EngineError::NoTree`] if nothing was
    /// ever written there.
    pub(crate) fn older_page_mut(
        &mut self,
        pool: &BufferPool,
        id: PageId,
        lsn: Lsn,
    ) -> Result<Option<&mut Page>, EngineError> {
        let at = self.touch(pool, id)?;
        if self.touched[at].page.is_new() {
            // The file was extended to there, and the page never written.
            return Err(EngineError::NoTree(id.tree));
        }
        Ok((self.touched[at].page.lsn() < lsn).then(|| self.changed(pool, at)))
    }

    /// The page at `at` in `touched`, to be changed.
    fn changed(&mut self, pool: &BufferPool, at: usize) -> &mut Page {
        let touched = &mut self.touched[at];
        if matches!(touched.before, Before::Same) {
            let copy = pool.copy(&touched.page);
            touched.before = Before::Version(std::mem::replace(&mut touched.page, copy));
            self.copied += 1;
        }
        assert!(!matches!(touched.before, Before::Same), "a page that is changed is kept as it was");
        // Copies nothing: nobody else has the page.
        touched.page.make_mut()
    }

    pub(crate) fn new_page(&mut self, id: PageId) -> &mut Page {
        self.put_new(id, SharedPage::zeroed()).page.make_mut()
    }

    /// The page with anything on it, to be written anew from its first byte to its last.
    pub(crate) fn rewritten_page(&mut self, pool: &BufferPool, id: PageId) -> &mut Page {
        let touched = match self.find(id) {
            Some(at) if !matches!(self.touched[at].before, Before::Same) => &mut self.touched[at],
            _ => self.put_new(id, pool.spare_page()),
        };
        // Copies nothing: nobody else has the page.
        touched.page.make_mut()
    }

    /// Puts in `page`, whatever was there before.
    pub(super) fn put_new(&mut self, id: PageId, page: SharedPage) -> &mut Touched {
        let at = match self.find(id) {
            Some(at) => {
                self.touched[at].page = page;
                at
            }
            None => self.insert(id, page),
        };
        let touched = &mut self.touched[at];
        touched.before = Before::Nothing;
        touched
    }

    /// Where the page is in `touched`.
    fn touch(&mut self, pool: &BufferPool, id: PageId) -> Result<usize, EngineError> {
        match self.find(id) {
            Some(at) => Ok(at),
            None => Ok(self.insert(id, pool.latest(id)?)),
        }
    }

    fn find(&self, id: PageId) -> Option<usize> {
        if self.touched.len() <= FEW {
            return self.touched.iter().position(|touched| touched.id == id);
        }
        self.places.get(&id).copied()
    }

    fn insert(&mut self, id: PageId, page: SharedPage) -> usize {
        let at = self.touched.len();
        self.touched.push(Touched { id, before: Before::Same, page });
        match at {
            0..FEW => {}
            FEW => self.places.extend(self.touched.iter().enumerate().map(|(at, touched)| (touched.id, at))),
            _ => {
                self.places.insert(id, at);
            }
        }
        at
    }

    /// Keeps the pages for which `log` says that they differ, and leaves those out that were only read.
    ///
    /// # Errors
    /// The first of `log`'s; the overlay is of no more use then.
    pub(super) fn retain_changed(
        &mut self,
        mut log: impl FnMut(&Touched) -> Result<bool, EngineError>,
    ) -> Result<(), EngineError> {
        let mut outcome = Ok(());
        self.touched.retain(|touched| {
            if outcome.is_err() || matches!(touched.before, Before::Same) {
                return false;
            }
            log(touched).unwrap_or_else(|error| {
                outcome = Err(error);
                false
            })
        });
        self.places.clear();
        outcome
    }

    /// Trees that have pages here that are written anew, with how many blocks they need to have those. A tree may come more
    /// than once.
    pub(crate) fn ends_of_new_pages(&self) -> impl Iterator<Item = (TreeId, u32)> {
        let new = self.touched.iter().filter(|touched| matches!(touched.before, Before::Nothing));
        new.map(|touched| (touched.id.tree, touched.id.block.as_u32().saturating_add(1)))
    }

    /// The pages' last change ends at `lsn`, which is past all that they had before.
    pub(crate) fn set_lsn(&mut self, lsn: Lsn) {
        let lsn =
            if runtime::fault::is_wanted("end a run before what it changes") { Lsn::INVALID } else { lsn };
        for touched in &mut self.touched {
            let before = touched.page.lsn();
            assert!(before < lsn, "{} was changed up to {before}, and now by what ends at {lsn}", touched.id);
            touched.page.make_mut().set_lsn(lsn);
        }
    }

    /// Takes all pages out, and gives those that were changed.
    pub(crate) fn drain_changed(&mut self) -> impl Iterator<Item = (PageId, SharedPage)> {
        self.places.clear();
        let changed = self.touched.drain(..).filter(|touched| !matches!(touched.before, Before::Same));
        changed.map(|touched| (touched.id, touched.page))
    }

    /// Takes all pages out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (PageId, SharedPage)> {
        self.places.clear();
        self.touched.drain(..).map(|touched| (touched.id, touched.page))
    }
}
