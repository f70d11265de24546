//! Space set aside for whatever frees space: TRUNCATE makes a new, empty file before the old one can go.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, OpenMode};

/// Enough for the first pages of a dozen trees.
const SIZE: u64 = 256 << 10;

/// The file that holds the space: beside the directory of the pages' files, on the same disk. Its zeros are pages that
/// nobody has written to whoever takes it for a file of pages.
#[derive(Debug)]
pub(super) struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Reserve {
    pub(super) fn new(disk: Arc<dyn Disk>, data_dir: &Path) -> Self {
        Self { disk, path: data_dir.join("base").join("walship_reserve") }
    }

    /// Sets the space aside, if it is not and the disk has it.
    pub(super) fn keep(&self) -> io::Result<()> {
        if self.disk.metadata(&self.path).is_ok_and(|found| found.len >= SIZE) {
            return Ok(());
        }
        let file = self.disk.open(&self.path, OpenMode::Create)?;
        if let Err(error) = file.allocate(0, SIZE).and_then(|()| file.sync_all()) {
            let _ = self.disk.remove_file(&self.path);
            return Err(error);
        }
        self.path.parent().map_or(Ok(()), |dir| self.disk.sync_dir(dir))
    }

    /// Gives the space back to the disk. Whether there was any.
    pub(super) fn give_up(&self) -> bool {
        let is_kept = self.disk.metadata(&self.path).is_ok_and(|found| found.len > 0);
        is_kept && self.disk.remove_file(&self.path).is_ok()
    }
}
