//! Segments as files under their final names, as pg_basebackup leaves them in `pg_wal`.
//!
//! No `.partial` names, no lock and no status file: whoever makes a backup throws all of it away if it fails, and a
//! server is to find nothing here that PostgreSQL would not have left.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, DiskFile, OpenMode, durable_write};
use wal::{SegmentNo, SegmentSize, TimelineId};

use super::{SinkError, WalSink};

/// How [`DirectorySink`] keeps what it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryOptions {
    /// Make each segment durable when it ends.
    pub sync: bool,
    /// Leave an empty `archive_status/NAME.done` for each complete segment and history file, so that a server started
    /// from here does not archive it again. `archive_status` must exist.
    pub mark_done: bool,
}

/// Writes segments into a directory that must exist.
#[derive(Debug)]
pub struct DirectorySink {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: DirectoryOptions,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    name: String,
    path: PathBuf,
    size: SegmentSize,
    file: Box<dyn DiskFile>,
}

impl DirectorySink {
    /// A sink into `dir`.
    pub fn new(disk: Arc<dyn Disk>, dir: impl Into<PathBuf>, options: DirectoryOptions) -> Self {
        Self { disk, dir: dir.into(), options, current: None }
    }

    fn mark_done(&self, name: &str) -> Result<(), SinkError> {
        if !self.options.mark_done {
            return Ok(());
        }
        let path = self.dir.join("archive_status").join(format!("{name}.done"));
        let file = self.disk.open(&path, OpenMode::Create).map_err(SinkError::on("create", &path))?;
        if self.options.sync {
            file.sync_all().map_err(SinkError::on("fsync", &path))?;
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), SinkError> {
        if self.options.sync { self.disk.sync_dir(dir).map_err(SinkError::on("fsync", dir)) } else { Ok(()) }
    }
}

impl WalSink for DirectorySink {
    fn begin(
        &mut self,
        timeline: TimelineId,
        segment: SegmentNo,
        size: SegmentSize,
    ) -> Result<(), SinkError> {
        let name = segment.file_name(timeline, size);
        let (path, temporary) = (self.dir.join(&name), self.dir.join(format!("xlogtemp.{name}")));
        let file = self.disk.open(&temporary, OpenMode::Create).map_err(SinkError::on("create", &path))?;
        // Only what has a segment's length is called one.
        let made = file.set_len(0).and_then(|()| file.allocate(0, u64::from(size.bytes())));
        made.map_err(SinkError::on("allocate", &path))?;
        self.disk.rename(&temporary, &path).map_err(SinkError::on("rename", &temporary))?;
        self.current = Some(Current { name, path, size, file });
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SinkError> {
        let Some(current) = &self.current else { return Ok(()) };
        current.file.write_all_at(bytes, u64::from(offset)).map_err(SinkError::on("write", &current.path))
    }

    fn end(&mut self, written: u32) -> Result<(), SinkError> {
        let Some(current) = self.current.take() else { return Ok(()) };
        if self.options.sync {
            // First the bytes, then the name: a power cut in between leaves a name without promise.
            current.file.sync_data().map_err(SinkError::on("fsync", &current.path))?;
            self.sync_dir(&self.dir)?;
        }
        if written == current.size.bytes() { self.mark_done(&current.name) } else { Ok(()) }
    }

    fn history(&mut self, timeline: TimelineId, content: &[u8]) -> Result<(), SinkError> {
        let name = timeline.history_file_name();
        let path = self.dir.join(&name);
        durable_write(&*self.disk, &path, content).map_err(SinkError::on("write", &path))?;
        self.mark_done(&name)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        if self.options.mark_done {
            self.sync_dir(&self.dir.join("archive_status"))?;
        }
        self.sync_dir(&self.dir)
    }
}
