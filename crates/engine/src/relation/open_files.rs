//! The files that are open, and how long each tree is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, OpenMode};

use super::found;
use super::segment::{BLOCKS_PER_FILE, BYTES_PER_FILE, SegmentFile, SegmentId};
use crate::page::PAGE_SIZE;
use crate::{EngineError, PageId, TreeId};

/// How many files are kept open, unless more are in use at once.
const MAX_OPEN: usize = 512;

/// The most space, in blocks, that is claimed beyond what is asked for: growing a large tree calls the system once for 4 MiB.
const MOST_AHEAD: u32 = 512;

/// What the lock of [`super::RelationFiles`] covers. Files are opened, measured and removed under it; reads, writes and
/// syncs of blocks happen outside.
#[derive(Debug)]
pub(super) struct OpenFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    open: HashMap<SegmentId, OpenFile>,
    /// Counts uses of open files.
    clock: u64,
    /// Lengths in blocks, of trees that somebody asked about. Moved after the write that extends a file, so never more
    /// than the files hold.
    blocks: HashMap<TreeId, u32>,
    /// Blocks, from the first on, for which space was claimed, of trees that have grown; at least those that their files
    /// hold.
    claimed: HashMap<TreeId, u32>,
    /// Whether names were created or removed since the directory was synced.
    names_changed: bool,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<SegmentFile>,
    last_use: u64,
}

impl OpenFiles {
    /// The directory that all files are in.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        let (open, blocks, claimed) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { disk, dir, open, clock: 0, blocks, claimed, names_changed: false }
    }

    /// The file, if it exists.
    pub(super) fn existing(&mut self, segment: SegmentId) -> Result<Option<Arc<SegmentFile>>, EngineError> {
        if let Some(file) = self.cached(segment, false) {
            return Ok(Some(file));
        }
        let path = segment.path(&self.dir);
        match found(self.disk.open(&path, OpenMode::ReadWrite)) {
            Ok(Some(file)) => Ok(Some(self.keep(segment, SegmentFile::new(path, file, false)))),
            Ok(None) => Ok(None),
            Err(source) => Err(EngineError::file("open", path, source)),
        }
    }

    /// The file, created if need be, and every file before it full.
    pub(super) fn writable(&mut self, segment: SegmentId) -> Result<Arc<SegmentFile>, EngineError> {
        if let Some(file) = self.cached(segment, true) {
            return Ok(file);
        }
        if let Some(number) = segment.number.checked_sub(1) {
            self.fill_up(SegmentId { number, ..segment })?;
        }
        // One that is open for reading has been opened for both; only the files before it were not looked at.
        let path = segment.path(&self.dir);
        let file = match found(self.disk.open(&path, OpenMode::ReadWrite)) {
            Ok(Some(file)) => file,
            Ok(None) => {
                self.names_changed = true;
                let created = self.disk.open(&path, OpenMode::Create);
                created.map_err(|source| EngineError::file("create", &path, source))?
            }
            Err(source) => return Err(EngineError::file("open", path, source)),
        };
        Ok(self.keep(segment, SegmentFile::new(path, file, true)))
    }

    /// Extends a file that has successors to its full length.
    fn fill_up(&mut self, segment: SegmentId) -> Result<(), EngineError> {
        let file = self.writable(segment)?;
        let len = file
            .file()
            .len()
            .map_err(|source| EngineError::file("read the length of", file.path(), source))?;
        if len < BYTES_PER_FILE {
            let extended = file.file().set_len(BYTES_PER_FILE);
            file.mark_written();
            extended.map_err(|source| EngineError::file("extend", file.path(), source))?;
        }
        Ok(())
    }

    /// Sees to it that the first `blocks` blocks of `tree` have their space: with some more, as the tree is large, if there is
    /// that much.
    pub(super) fn claim(&mut self, tree: TreeId, blocks: u32) -> Result<(), EngineError> {
        let known = match self.claimed.get(&tree) {
            Some(&known) => known,
            None => self.blocks(tree)?,
        };
        if blocks <= known {
            return Ok(());
        }
        let ahead = blocks.saturating_add((blocks / 4).min(MOST_AHEAD));
        let reached = match self.claim_between(tree, known, ahead) {
            Ok(()) => ahead,
            Err(_) => self.claim_between(tree, known, blocks).map(|()| blocks)?,
        };
        assert!(known < reached, "what is claimed of {tree} only grows: from {known} to {reached}");
        self.claimed.insert(tree, reached);
        Ok(())
    }

    fn claim_between(&mut self, tree: TreeId, from: u32, to: u32) -> Result<(), EngineError> {
        let mut at = from;
        while at < to {
            let number = at / BLOCKS_PER_FILE;
            let first = number * BLOCKS_PER_FILE;
            let end = to.min(first.saturating_add(BLOCKS_PER_FILE));
            let file = self.writable(SegmentId { tree, number })?;
            let bytes = |blocks: u32| u64::from(blocks) * PAGE_SIZE as u64;
            let claimed = file.file().claim(bytes(at - first), bytes(end - at));
            // It may be longer now.
            file.mark_written();
            claimed.map_err(|source| EngineError::file("extend", file.path(), source))?;
            at = end;
        }
        Ok(())
    }

    pub(super) fn blocks(&mut self, tree: TreeId) -> Result<u32, EngineError> {
        if let Some(&blocks) = self.blocks.get(&tree) {
            return Ok(blocks);
        }
        let blocks = self.count_blocks(tree)?;
        self.blocks.insert(tree, blocks);
        Ok(blocks)
    }

    fn count_blocks(&self, tree: TreeId) -> Result<u32, EngineError> {
        let mut blocks = 0u32;
        for number in 0..=u32::MAX / BLOCKS_PER_FILE {
            let path = SegmentId { tree, number }.path(&self.dir);
            let metadata = found(self.disk.metadata(&path));
            let metadata =
                metadata.map_err(|source| EngineError::file("read the length of", path, source))?;
            let held = metadata.map_or(0, |metadata| metadata.len / PAGE_SIZE as u64);
            blocks = blocks.saturating_add(held.min(u64::from(BLOCKS_PER_FILE)) as u32);
            if held < u64::from(BLOCKS_PER_FILE) {
                break;
            }
        }
        Ok(blocks)
    }

    /// After a write of `page`.
    pub(super) fn note_written(&mut self, page: PageId) {
        if let Some(blocks) = self.blocks.get_mut(&page.tree) {
            *blocks = (*blocks).max(page.block.as_u32().saturating_add(1));
        }
    }

    /// What has to be synced now: files first, then the directory.
    #[allow(clippy::type_complexity, reason = "a pair that is taken apart where it is returned to")]
    pub(super) fn take_unsynced(&mut self) -> (Vec<Arc<SegmentFile>>, Option<(Arc<dyn Disk>, PathBuf)>) {
        let written = self.open.values().map(|open| &open.file).filter(|file| file.needs_sync());
        let written = written.map(Arc::clone).collect();
        let changed = std::mem::take(&mut self.names_changed);
        (written, changed.then(|| (Arc::clone(&self.disk), self.dir.clone())))
    }

    pub(super) fn remove(&mut self, tree: TreeId) -> Result<(), EngineError> {
        self.blocks.remove(&tree);
        self.claimed.remove(&tree);
        self.open.retain(|segment, _| segment.tree != tree);
        let mut paths = Vec::new();
        for number in 0..=u32::MAX / BLOCKS_PER_FILE {
            let path = SegmentId { tree, number }.path(&self.dir);
            match self.disk.exists(&path) {
                Ok(true) => paths.push(path),
                Ok(false) => break,
                Err(source) => return Err(EngineError::file("look for", path, source)),
            }
        }
        for path in paths.into_iter().rev() {
            self.names_changed = true;
            self.disk.remove_file(&path).map_err(|source| EngineError::file("remove", path, source))?;
        }
        Ok(())
    }

    pub(super) fn trees(&self) -> Result<Vec<TreeId>, EngineError> {
        let names = self.disk.read_dir(&self.dir);
        let names = names.map_err(|source| EngineError::file("list", &self.dir, source))?;
        let number = |name: &str| name.parse::<u32>().ok().filter(|number| number.to_string() == name);
        let mut trees: Vec<TreeId> = names
            .iter()
            .filter(|entry| !entry.is_dir)
            .filter_map(|entry| number(&entry.name))
            .map(TreeId::new)
            .collect();
        trees.sort_unstable();
        Ok(trees)
    }

    fn cached(&mut self, segment: SegmentId, writable: bool) -> Option<Arc<SegmentFile>> {
        self.clock += 1;
        let open = self.open.get_mut(&segment).filter(|open| open.file.writable || !writable)?;
        open.last_use = self.clock;
        Some(Arc::clone(&open.file))
    }

    fn keep(&mut self, segment: SegmentId, file: SegmentFile) -> Arc<SegmentFile> {
        if self.open.len() >= MAX_OPEN {
            self.close_one();
        }
        let file = Arc::new(file);
        let open = OpenFile { file: Arc::clone(&file), last_use: self.clock };
        let replaced = self.open.insert(segment, open);
        let is_synced = replaced.is_none_or(|replaced| !replaced.file.needs_sync());
        assert!(is_synced, "file \"{segment}\" stays open while it has writes that no sync covers");
        file
    }

    /// Closes the file that was not used for the longest time, one without unsynced writes if there is any; else it is
    /// synced first. One that a thread is using right now stays, lest its writes be forgotten.
    fn close_one(&mut self) {
        let unused = self.open.iter().filter(|(_, open)| Arc::strong_count(&open.file) == 1);
        let victim = unused
            .min_by_key(|(_, open)| (open.file.needs_sync(), open.last_use))
            .map(|(&segment, _)| segment);
        if let Some(closed) = victim.and_then(|segment| self.open.remove(&segment)) {
            closed.file.sync();
            assert!(!closed.file.needs_sync(), "a file that is closed has no writes that no sync covers");
        }
    }
}
