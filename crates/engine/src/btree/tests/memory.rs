//! Pages in memory, as a writer's overlay and as a reader's snapshot.

use std::collections::{HashMap, HashSet};

use wal::Lsn;

use crate::page::{Page, SharedPage};
use crate::page_access::{PageReader, PageWriter};
use crate::{EngineError, PageId};

/// The latest pages. A clone is a snapshot: it shares them until they change.
#[derive(Clone, Default)]
pub(super) struct Memory {
    pub(super) pages: HashMap<PageId, SharedPage>,
    /// Pages that have been changed or made since this was cleared.
    pub(super) touched: HashSet<PageId>,
    /// The state that these pages are of, if a test says so.
    pub(super) as_of: Option<Lsn>,
}

fn no_such_page(id: PageId) -> EngineError {
    EngineError::Damaged { page: id, reason: "no such page".to_owned() }
}

impl PageReader for Memory {
    fn page(&self, id: PageId) -> Result<SharedPage, EngineError> {
        self.pages.get(&id).cloned().ok_or_else(|| no_such_page(id))
    }

    fn as_of(&self) -> Option<Lsn> {
        self.as_of
    }
}

impl PageWriter for Memory {
    fn page(&mut self, id: PageId) -> Result<&Page, EngineError> {
        self.pages.get(&id).map(|page| &**page).ok_or_else(|| no_such_page(id))
    }

    fn page_mut(&mut self, id: PageId) -> Result<&mut Page, EngineError> {
        self.touched.insert(id);
        self.pages.get_mut(&id).map(SharedPage::make_mut).ok_or_else(|| no_such_page(id))
    }

    fn new_page(&mut self, id: PageId) -> Result<&mut Page, EngineError> {
        self.touched.insert(id);
        self.pages.insert(id, SharedPage::zeroed());
        self.page_mut(id)
    }
}
