//! The names and the making of segment files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, DiskFile, OpenMode};
use wal::{SegmentNo, SegmentSize, TimelineId};

use super::ArchiveError;

/// What a segment's file is called before it is a segment's length, before the segment's name. Servers remove files that
/// are called so when they start.
const TEMPORARY: &str = "xlogtemp.";

/// What an unfinished segment is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Naming {
    /// `NAME.partial`: in an archive a name promises a whole segment.
    Partial,
    /// As a finished one: in a server's `pg_wal`, where a segment may exist already and is gone on with.
    Final,
}

/// The segments of one timeline in one directory.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFiles {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) timeline: TimelineId,
    pub(crate) size: SegmentSize,
    pub(crate) naming: Naming,
}

/// An unfinished segment's file, open for writing.
#[derive(Debug)]
pub(crate) struct PartialFile {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    /// Whether its name came into being just now, and is not durable yet.
    pub(crate) is_new: bool,
}

impl SegmentFiles {
    pub(crate) fn finished_path(&self, segment: SegmentNo) -> PathBuf {
        self.dir.join(segment.file_name(self.timeline, self.size))
    }

    pub(crate) fn partial_path(&self, segment: SegmentNo) -> PathBuf {
        if self.naming == Naming::Final {
            return self.finished_path(segment);
        }
        self.dir.join(format!("{}.partial", segment.file_name(self.timeline, self.size)))
    }

    /// Opens `segment`'s unfinished file as it is, or makes one; either way it is a whole segment long afterwards, its
    /// space reserved, so that a full disk shows here and not in the middle of a record. A file that an earlier life left
    /// shorter is made a segment's length again.
    pub(crate) fn open_partial(&self, segment: SegmentNo) -> Result<PartialFile, ArchiveError> {
        let finished = self.finished_path(segment);
        let whole = u64::from(self.size.bytes());
        match self.disk.metadata(&finished) {
            // A file of another length is no segment; it goes when this one gets its name.
            Ok(found) if found.len == whole && self.naming == Naming::Partial => {
                return Err(ArchiveError::Finished(finished));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ArchiveError::on("look for", &finished)(error));
            }
            _ => {}
        }
        let path = self.partial_path(segment);
        let is_new = !self.disk.exists(&path).map_err(ArchiveError::on("look for", &path))?;
        if is_new && self.naming == Naming::Final {
            self.make_whole(&path, segment)?;
        }
        let file = self.disk.open(&path, OpenMode::Create).map_err(ArchiveError::making("open", &path))?;
        let len = file.len().map_err(ArchiveError::on("read the length of", &path))?;
        if len > whole {
            return Err(ArchiveError::WrongSize { path, found: len, expected: whole });
        }
        if len < whole {
            self.complete(&*file, &path, is_new)?;
        }
        Ok(PartialFile { file: file.into(), path, is_new })
    }

    /// Gives a file that is shorter a segment's length and space. One that has just been made goes if that cannot be.
    fn complete(&self, file: &dyn DiskFile, path: &Path, is_new: bool) -> Result<(), ArchiveError> {
        let completed = file.allocate(0, self.size.bytes().into());
        if completed.is_err() && is_new {
            let _ = self.disk.remove_file(path);
        }
        completed.map_err(ArchiveError::making("allocate", path))
    }

    /// Makes a file of a whole segment's length and space, and calls it `path` then: whoever finds that name, after a crash
    /// too, finds a segment. The name is not durable yet.
    fn make_whole(&self, path: &Path, segment: SegmentNo) -> Result<(), ArchiveError> {
        let temporary = self.dir.join(format!("{TEMPORARY}{}", segment.file_name(self.timeline, self.size)));
        let made = self.reserve(&temporary).and_then(|()| {
            self.disk.rename(&temporary, path).map_err(ArchiveError::making("rename", &temporary))
        });
        if made.is_err() {
            // Space is what is most likely missing.
            let _ = self.disk.remove_file(&temporary);
        }
        made
    }

    fn reserve(&self, path: &Path) -> Result<(), ArchiveError> {
        let file = self.disk.open(path, OpenMode::Create).map_err(ArchiveError::making("create", path))?;
        file.set_len(0).map_err(ArchiveError::making("truncate", path))?;
        file.allocate(0, self.size.bytes().into()).map_err(ArchiveError::making("allocate", path))?;
        file.sync_all().map_err(ArchiveError::making("fsync", path))
    }

    /// Whether there is space for a segment at the moment: makes one's file, and removes it again. Nobody else is making any.
    pub(crate) fn has_space(&self) -> Result<bool, ArchiveError> {
        let temporary = self.dir.join(format!("{TEMPORARY}space"));
        let made = self.reserve(&temporary);
        match self.disk.remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ArchiveError::on("remove", &temporary)(error));
            }
            _ => {}
        }
        match made {
            Ok(()) => Ok(true),
            Err(ArchiveError::NoSpace { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what an earlier life left of files that never got their names. Nobody is making any.
    pub(crate) fn remove_temporaries(&self) -> Result<(), ArchiveError> {
        let entries = self.disk.read_dir(&self.dir).map_err(ArchiveError::on("list", &self.dir))?;
        for entry in entries.iter().filter(|entry| !entry.is_dir && entry.name.starts_with(TEMPORARY)) {
            let path = self.dir.join(&entry.name);
            self.disk.remove_file(&path).map_err(ArchiveError::on("remove", &path))?;
        }
        Ok(())
    }

    pub(crate) fn sync_dir(&self) -> Result<(), ArchiveError> {
        sync_dir(&*self.disk, &self.dir)
    }
}

pub(crate) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), ArchiveError> {
    disk.sync_dir(dir).map_err(ArchiveError::on("fsync", dir))
}
