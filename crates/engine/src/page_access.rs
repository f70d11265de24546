//! How trees reach their pages, whoever reads or writes them.

use wal::Lsn;

use crate::page::{Page, SharedPage};
use crate::{EngineError, PageId};

/// Pages as of one LSN: a snapshot's, or the latest.
pub trait PageReader {
    /// The page, never half-changed. Stays as it is while the caller holds it.
    fn page(&self, id: PageId) -> Result<SharedPage, EngineError>;

    /// Which state these are the pages of, if each of them stays what it is for as long as there are readers as of that LSN:
    /// a snapshot's LSN. `None` for the latest pages. What holds a page from an earlier call need not ask for it again if
    /// this has not changed.
    fn as_of(&self) -> Option<Lsn> {
        None
    }
}

/// Pages that the one writer changes; nobody else sees the changes before the run that they belong to ends.
pub trait PageWriter {
    /// The page as this writer has left it.
    fn page(&mut self, id: PageId) -> Result<&Page, EngineError>;

    /// The same, to be changed. What differs when the run ends is what is logged.
    fn page_mut(&mut self, id: PageId) -> Result<&mut Page, EngineError>;

    /// A page that need not be read because everything on it is written anew: all zeros. Logged as a whole.
    fn new_page(&mut self, id: PageId) -> Result<&mut Page, EngineError>;
}
