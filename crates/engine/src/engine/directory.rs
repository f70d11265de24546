//! A data directory being opened: what its control file, its backup label and its log say about where to begin.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, OpenMode, durable_rename};
use replication::waldir::{Owner, OwnerError, WalDir, WalDirError, require_walwriters};
use wal::payload::CheckPoint;
use wal::{Lsn, TimelineHistory, TimelineId};

use super::backup_label::BackupLabel;
use crate::buffer::{BufferPool, PoolOptions, WalBeforeData};
use crate::control::{ControlFile, ControlStore};
use crate::fatal::fatal;
use crate::log::LogOptions;
use crate::relation::RelationFiles;
use crate::replay::LogSource;
use crate::{EngineError, EngineOptions, layout};

/// A data directory, and where replay of its log begins.
pub(crate) struct Directory {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) control: Arc<ControlStore>,
    /// Of the backup that it was restored from, if its end has not been replayed yet.
    pub(crate) label: Option<BackupLabel>,
    /// The checkpoint from whose redo position replay starts, with the start of its record.
    pub(crate) checkpoint: CheckPoint,
    pub(crate) checkpoint_start: Lsn,
}

impl Directory {
    /// Reads what there is, if it is ours: nothing is touched before that is known.
    pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, EngineError> {
        let owner = require_walwriters(&*disk, path).map_err(|error| match error {
            OwnerError::Io { path, source } => EngineError::file("read", path, source),
            foreign => EngineError::Directory(foreign.to_string()),
        })?;
        let control = Arc::new(ControlStore::open(&disk, path)?);
        if owner == Owner::EarlierWalwriter {
            layout::adopt(&*disk, path, &control)?;
        }
        let label = BackupLabel::read(&*disk, path)?;
        let ControlFile { checkpoint: record, checkpoint_copy, .. } = control.get();
        // The control file of a backup may have been copied at any time; its numbers are as new as the backup's beginning.
        let (checkpoint, checkpoint_start) = match &label {
            Some(label) => (
                CheckPoint { redo: label.redo, timeline: label.timeline, ..checkpoint_copy },
                label.checkpoint,
            ),
            None => (checkpoint_copy, record),
        };
        Ok(Self { disk, path: path.to_owned(), control, label, checkpoint, checkpoint_start })
    }

    /// Where the log's files are.
    pub(crate) fn wal_path(&self) -> PathBuf {
        self.path.join("pg_wal")
    }

    /// The log, read along the ancestry of `timeline`.
    pub(crate) fn source(&self, timeline: TimelineId) -> Result<LogSource, EngineError> {
        let control = self.control.get();
        let dir = WalDir::new(self.wal_path(), Arc::clone(&self.disk));
        let history = self.history(&dir, timeline)?;
        let switched = history.switch_point_of(self.checkpoint.timeline);
        if !history.contains(self.checkpoint.timeline)
            || switched.is_some_and(|at| at < self.checkpoint_start)
        {
            return Err(EngineError::Directory(format!(
                "timeline {timeline} is not a child of this directory's history: its latest checkpoint, at {}, is on \
                 timeline {}",
                self.checkpoint_start, self.checkpoint.timeline
            )));
        }
        Ok(LogSource { dir, segment_size: control.segment_size, system_id: control.system_id, history })
    }

    fn history(&self, dir: &WalDir, timeline: TimelineId) -> Result<TimelineHistory, EngineError> {
        dir.history(timeline).map_err(|error| wal_error(&error))
    }

    /// The newest timeline that the log's directory knows, at least the checkpoint's.
    pub(crate) fn newest_timeline(&self) -> Result<TimelineId, EngineError> {
        let dir = WalDir::new(self.wal_path(), Arc::clone(&self.disk));
        let newest = dir.newest_timeline().map_err(|error| wal_error(&error))?;
        Ok(newest.unwrap_or(TimelineId::FIRST).max(self.checkpoint.timeline))
    }

    /// Makes the log durable as it is read from now on: after a crash of the process alone it may still be in the page
    /// cache, and pages changed by replay must not reach the disk before it.
    pub(crate) fn sync_log(&self) -> Result<(), EngineError> {
        let size = self.control.get().segment_size;
        let first = size.segment_of(self.checkpoint.redo);
        let dir = WalDir::new(self.wal_path(), Arc::clone(&self.disk));
        for segment in dir.list(size).map_err(|error| wal_error(&error))?.segments {
            if segment.segment < first {
                continue;
            }
            let path = dir.path().join(&segment.name);
            let file = self.disk.open(&path, OpenMode::ReadWrite);
            let file = file.map_err(|source| EngineError::file("open", &path, source))?;
            if let Err(error) = file.sync_data() {
                fatal(format_args!("could not fsync file \"{}\": {error}", path.display()));
            }
        }
        Ok(())
    }

    /// An empty pool over the directory's files.
    pub(crate) fn pool(&self, wal: Arc<dyn WalBeforeData>, options: &EngineOptions) -> Arc<BufferPool> {
        let files = Arc::new(RelationFiles::new(Arc::clone(&self.disk), &self.path));
        let sizes = PoolOptions {
            capacity_bytes: options.shared_buffers as u64,
            version_bytes: options.version_memory as u64,
        };
        Arc::new(BufferPool::new(files, wal, sizes))
    }

    /// How the log works.
    pub(crate) fn log_options(&self, options: &EngineOptions) -> LogOptions {
        LogOptions {
            segment_size: self.control.get().segment_size,
            wal_buffers: options.wal_buffers,
            writer_delay: options.wal_writer_delay,
            publish_status: options.publish_status,
        }
    }

    /// The backup is complete: the directory is like any other from now on. Its pages and the control file are durable.
    pub(crate) fn retire_label(&mut self) -> Result<(), EngineError> {
        if self.label.take().is_some() {
            let (from, to) = (self.path.join(BackupLabel::FILE), self.path.join(BackupLabel::OLD_FILE));
            durable_rename(&*self.disk, &from, &to)
                .map_err(|source| EngineError::file("rename", from, source))?;
        }
        Ok(())
    }
}

pub(crate) fn wal_error(error: &WalDirError) -> EngineError {
    EngineError::Directory(crate::replay::describe(error))
}
