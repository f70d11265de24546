//! Relation files: the blocks of a tree on disk, 1 GiB a file.
//!
//! Owns the directory `base/5` of the data directory. Tree 16384 is `base/5/16384`, `base/5/16384.1` and so on, as
//! PostgreSQL has it: every file but the last is full, and blocks that were never written are zeros. Blocks may be
//! written in any order. Nothing is durable before [`RelationFiles::sync_dirty`].
//!
//! Who writes a block sees to it that nobody reads or writes the same block meanwhile.

mod open_files;
mod reserve;
mod segment;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use disk::Disk;
use runtime::sync::{Mutex, MutexGuard};

use self::open_files::OpenFiles;
use self::reserve::Reserve;
pub use self::segment::BLOCKS_PER_FILE;
use self::segment::SegmentId;
use crate::fatal::fatal;
use crate::page::{PAGE_SIZE, Page};
use crate::{EngineError, PageId, TreeId};

/// What syncing took, for a checkpoint's report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyncReport {
    /// How many files.
    pub files: usize,
    /// The longest of them.
    pub longest: Duration,
    /// All of them together, and their directory.
    pub total: Duration,
}

/// The files of all trees.
#[derive(Debug)]
pub struct RelationFiles {
    files: Mutex<OpenFiles>,
    reserve: Reserve,
}

impl RelationFiles {
    /// The trees of the data directory `data_dir`, whose `base/5` must exist by the time something is written.
    pub fn new(disk: Arc<dyn Disk>, data_dir: &Path) -> Self {
        let dir = data_dir.join("base").join(TreeId::DATABASE.to_string());
        let reserve = Reserve::new(Arc::clone(&disk), data_dir);
        Self { files: Mutex::new(OpenFiles::new(disk, dir)), reserve }
    }

    /// Sets space aside for whatever frees space on a full disk. Nothing is wrong with a disk that has none at the moment.
    pub fn keep_reserve(&self) {
        if let Err(error) = self.reserve.keep() {
            tracing::debug!("no space is set aside for a full disk: {error}");
        }
    }

    /// Gives back what was set aside. Whether there was anything.
    pub fn give_up_reserve(&self) -> bool {
        self.reserve.give_up()
    }

    /// Reads a block into `page`, as it is: whoever needs it right calls [`Page::verify`]. A block that its file does not
    /// hold in full is [`EngineError::Damaged`]; a tree without any file is [`EngineError::NoTree`].
    pub fn read_block(&self, id: PageId, page: &mut Page) -> Result<(), EngineError> {
        let (segment, offset) = SegmentId::holding(id);
        let damaged = |reason| EngineError::Damaged { page: id, reason };
        let Some(file) = self.lock().existing(segment)? else {
            return Err(match segment.number {
                0 => EngineError::NoTree(id.tree),
                _ => damaged(format!("file \"{segment}\" does not exist")),
            });
        };
        let buffer = page.bytes_mut();
        let mut filled = 0;
        while filled < PAGE_SIZE {
            let count = file
                .file()
                .read_at(&mut buffer[filled..], offset + filled as u64)
                .map_err(|source| EngineError::file("read", file.path(), source))?;
            if count == 0 {
                if segment.number == 0 && filled == 0 && file.file().len().is_ok_and(|len| len == 0) {
                    // Space was claimed for it, and nothing written yet.
                    return Err(EngineError::NoTree(id.tree));
                }
                return Err(damaged(match filled {
                    0 => format!("file \"{segment}\" ends before it"),
                    _ => format!("file \"{segment}\" ends after {filled} of its {PAGE_SIZE} bytes"),
                }));
            }
            filled += count;
        }
        Ok(())
    }

    /// Writes a block, as `page` is: its checksum must be set. Creates and extends files as needed.
    pub fn write_block(&self, id: PageId, page: &Page) -> Result<(), EngineError> {
        let (segment, offset) = SegmentId::holding(id);
        let file = self.lock().writable(segment)?;
        let outcome = file.file().write_all_at(page.bytes(), offset);
        // Only now: a sync that took note of the file before the write would not cover it.
        file.mark_written();
        outcome.map_err(|source| EngineError::file("write", file.path(), source))?;
        self.lock().note_written(id);
        Ok(())
    }

    /// The file that a page is in, whether it is there or not.
    pub fn path_of(&self, id: PageId) -> PathBuf {
        SegmentId::holding(id).0.path(self.lock().dir())
    }

    /// Claims the space that the first `blocks` blocks of `tree` take: writing them cannot run out of space then. Creates files
    /// as needed; those that are there end where they did, where the file system can claim without extending.
    pub fn claim(&self, tree: TreeId, blocks: u32) -> Result<(), EngineError> {
        self.lock().claim(tree, blocks)
    }

    /// How many blocks the files of `tree` hold; 0 if there are none.
    pub fn blocks(&self, tree: TreeId) -> Result<u32, EngineError> {
        self.lock().blocks(tree)
    }

    /// Makes every block written and every file created or removed so far durable: each file first, then the directory
    /// with their names. A sync that fails ends the process.
    pub fn sync_dirty(&self) -> SyncReport {
        let (written, directory) = self.lock().take_unsynced();
        let began = Instant::now();
        let mut report = SyncReport { files: written.len(), ..SyncReport::default() };
        for file in written {
            let began = Instant::now();
            file.sync();
            report.longest = report.longest.max(began.elapsed());
        }
        if let Some((disk, dir)) = directory
            && let Err(error) = disk.sync_dir(&dir)
        {
            fatal(format_args!("could not fsync directory \"{}\": {error}", dir.display()));
        }
        report.total = began.elapsed();
        report
    }

    /// Removes the files of `tree`, the last first, so that what a crash leaves is found again. Durable after
    /// [`RelationFiles::sync_dirty`]. Not having any is fine.
    pub fn remove(&self, tree: TreeId) -> Result<(), EngineError> {
        self.lock().remove(tree)
    }

    /// The trees that have a first file, ascending.
    pub fn trees(&self) -> Result<Vec<TreeId>, EngineError> {
        self.lock().trees()
    }

    fn lock(&self) -> MutexGuard<'_, OpenFiles> {
        self.files.lock()
    }
}

/// `None` if there is no such file.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
