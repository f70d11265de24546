//! The pages of the trees that a directory begins with, which no log has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use disk::{Disk, OpenMode};
use wal::Lsn;

use crate::engine::registry;
use crate::page::{PAGE_SIZE, Page};
use crate::page_access::PageWriter;
use crate::{EngineError, PageId, TreeId};

/// Where the files of trees are.
pub(super) fn directory(dir: &Path) -> PathBuf {
    dir.join("base").join(TreeId::DATABASE.to_string())
}

/// Writes the files of the trees, empty, over whatever is there, and syncs them. Their names are durable once the
/// [`directory`] is. The pages say that they are as of `lsn`.
pub(super) fn write(disk: &dyn Disk, dir: &Path, lsn: Lsn) -> Result<(), EngineError> {
    let mut pages = Pages::default();
    registry::create(&mut pages)?;
    // The catalogue last: by its first page an unmarked directory is known.
    for tree in registry::FIRST_TREES {
        let path = dir.join(tree.to_string());
        let write = || {
            let file = disk.open(&path, OpenMode::Create)?;
            for (id, page) in pages.0.iter().filter(|(id, _)| id.tree == tree) {
                let mut page = page.clone();
                page.set_lsn(lsn);
                page.set_checksum(id.block.as_u32());
                file.write_all_at(page.bytes(), u64::from(id.block.as_u32()) * PAGE_SIZE as u64)?;
            }
            file.sync_all()
        };
        write().map_err(|source| EngineError::file("write", &path, source))?;
    }
    Ok(())
}

/// Pages in memory alone.
#[derive(Default)]
struct Pages(BTreeMap<PageId, Box<Page>>);

impl PageWriter for Pages {
    fn page(&mut self, id: PageId) -> Result<&Page, EngineError> {
        self.page_mut(id).map(|page| &*page)
    }

    fn page_mut(&mut self, id: PageId) -> Result<&mut Page, EngineError> {
        self.0.get_mut(&id).map(|page| &mut **page).ok_or(EngineError::NoTree(id.tree))
    }

    fn new_page(&mut self, id: PageId) -> Result<&mut Page, EngineError> {
        Ok(self.0.entry(id).insert_entry(Page::zeroed()).into_mut())
    }
}
