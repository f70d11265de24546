//! One file of a tree.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use disk::DiskFile;

use crate::fatal::fatal;
use crate::page::PAGE_SIZE;
use crate::{PageId, TreeId};

/// Blocks in a file that is full: 1 GiB (`RELSEG_SIZE`).
pub const BLOCKS_PER_FILE: u32 = 131_072;

/// Bytes in a file that is full.
pub(super) const BYTES_PER_FILE: u64 = BLOCKS_PER_FILE as u64 * PAGE_SIZE as u64;

/// Which file of which tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct SegmentId {
    pub(super) tree: TreeId,
    /// 0 for the file without a suffix.
    pub(super) number: u32,
}

impl SegmentId {
    /// The file that holds a page, and the offset at which it does.
    pub(super) fn holding(page: PageId) -> (Self, u64) {
        let block = page.block.as_u32();
        let segment = Self { tree: page.tree, number: block / BLOCKS_PER_FILE };
        (segment, u64::from(block % BLOCKS_PER_FILE) * PAGE_SIZE as u64)
    }

    /// Its path, given the directory of all files.
    pub(super) fn path(self, dir: &Path) -> PathBuf {
        match self.number {
            0 => dir.join(self.tree.as_u32().to_string()),
            number => dir.join(format!("{}.{number}", self.tree.as_u32())),
        }
    }
}

impl fmt::Display for SegmentId {
    /// The path relative to the data directory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => write!(f, "{}", self.tree),
            number => write!(f, "{}.{number}", self.tree),
        }
    }
}

/// An open file of a tree. Not closed while it has writes that no sync covers: the error of a write that the kernel puts
/// off is reported to open handles.
#[derive(Debug)]
pub(super) struct SegmentFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Opened for writing.
    pub(super) writable: bool,
    /// Whether something was written since the last sync began.
    written: AtomicBool,
}

impl SegmentFile {
    pub(super) fn new(path: PathBuf, file: Box<dyn DiskFile>, writable: bool) -> Self {
        Self { path, file, writable, written: AtomicBool::new(false) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// To be called after a write, successful or not.
    pub(super) fn mark_written(&self) {
        self.written.store(true, Ordering::Release);
    }

    pub(super) fn needs_sync(&self) -> bool {
        self.written.load(Ordering::Acquire)
    }

    /// Makes everything written before this call durable, or ends the process.
    pub(super) fn sync(&self) {
        if self.written.swap(false, Ordering::AcqRel)
            && let Err(error) = self.file.sync_data()
        {
            fatal(format_args!("could not fsync file \"{}\": {error}", self.path.display()));
        }
    }
}
