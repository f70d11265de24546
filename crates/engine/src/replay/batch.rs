//! Pages changed by replay and not published yet.

use std::collections::HashMap;

use wal::Lsn;

use super::changes::{Change, What};
use crate::buffer::BufferPool;
use crate::page::SharedPage;
use crate::run::{Overlay, apply_fragments};
use crate::{EngineError, PageId, TreeId};

/// The effect of whole runs on pages, gathered, or of pieces of a run: nobody reads at an LSN that far yet.
///
/// A page is in one record of its run, and gets the run's end as its `pd_lsn` with that record's change.
#[derive(Debug, Default)]
pub(super) struct Batch {
    overlay: Overlay,
    /// Pages that a record was to change and that do not exist. Their trees are dropped later in the log, or it is damaged.
    missing: HashMap<PageId, Lsn>,
}

impl Batch {
    /// Applies a change.
    pub(super) fn apply(&mut self, pool: &BufferPool, change: &Change<'_>) -> Result<(), EngineError> {
        let &Change { page: id, record_end, run_end, ref what } = change;
        let replay =
            |reason: String| EngineError::Replay { lsn: record_end, reason: format!("{id}: {reason}") };
        match what {
            What::Image(image) => {
                let page = self.overlay.rewritten_page(pool, id);
                image.restore_to(page.bytes_mut()).map_err(|error| replay(error.to_string()))?;
                page.set_lsn(run_end);
                self.missing.remove(&id);
            }
            What::Fragments(fragments) => {
                let page = match self.overlay.older_page_mut(pool, id, run_end) {
                    Ok(Some(page)) => page,
                    // Changed by this run or a later one before a crash.
                    Ok(None) => return Ok(()),
                    Err(error) if matches!(error, EngineError::NoTree(_)) || is_missing(pool, id) => {
                        self.missing.insert(id, record_end);
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                };
                apply_fragments(page, fragments)
                    .ok_or_else(|| replay("what it says is not a change of a page".to_owned()))?;
                page.set_lsn(run_end);
            }
        }
        Ok(())
    }

    /// How many pages are in it.
    pub(super) fn pages(&self) -> usize {
        self.overlay.len()
    }

    /// Trees that have pages here that are written anew, with how many blocks they need to have those.
    pub(super) fn ends_of_new_pages(&self) -> impl Iterator<Item = (TreeId, u32)> {
        self.overlay.ends_of_new_pages()
    }

    /// Takes the changed pages out, to be published.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (PageId, SharedPage)> {
        self.overlay.drain_changed()
    }

    /// `tree` is dropped.
    pub(super) fn forget_tree(&mut self, tree: TreeId) {
        self.missing.retain(|id, _| id.tree != tree);
    }

    /// A page that should have been there and was not, with the record that was to change it.
    pub(super) fn missing(&self) -> Option<(PageId, Lsn)> {
        self.missing.iter().map(|(&id, &lsn)| (id, lsn)).min_by_key(|&(_, lsn)| lsn)
    }
}

/// Whether the page's file is not there or ends before it.
fn is_missing(pool: &BufferPool, id: PageId) -> bool {
    pool.files().blocks(id.tree).is_ok_and(|blocks| id.block.as_u32() >= blocks)
}
