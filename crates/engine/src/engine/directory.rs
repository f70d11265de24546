//! A data directory being opened: what its control file, its backup label and its log say about where to begin.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, OpenMode, durable_rename};
use replication::waldir::{Owner, OwnerError, WalDir, WalDirError, require_walwriters};
use wal::payload::CheckPoint;
use wal::{Lsn, TimelineHistory, TimelineId};

use super::TimelinePosition;
use super::backup_label::BackupLabel;
use crate::buffer::{BufferPool, PoolOptions, WalBeforeData};
use crate::control::{ClusterState, ControlFile, ControlStore};
use crate::fatal::fatal;
use crate::log::LogOptions;
use crate::relation::RelationFiles;
use crate::replay::{LogSource, Recovered};
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
        let history = self.history(timeline)?;
        // The record itself must be in it, which is longer than a byte.
        let lsn = self.checkpoint_start.saturating_add(1);
        self.check(TimelinePosition { timeline: self.checkpoint.timeline, lsn }, &history)?;
        Ok(LogSource { dir, segment_size: control.segment_size, system_id: control.system_id, history })
    }

    /// That everything that may be on the pages is in `newer`.
    ///
    /// # Errors
    /// [`EngineError::Diverged`]; a history file that cannot be read.
    pub(crate) fn check(
        &self,
        progress: TimelinePosition,
        newer: &TimelineHistory,
    ) -> Result<(), EngineError> {
        let dir = WalDir::new(self.wal_path(), Arc::clone(&self.disk));
        // Of a timeline whose history is not here only the newer one tells what it is.
        let ours = match dir.history(progress.timeline) {
            Ok(ours) => ours,
            Err(WalDirError::MissingHistory { .. }) => newer.ancestor(progress.timeline, "unknown"),
            Err(error) => return Err(wal_error(&error)),
        };
        progress.check(&ours, newer)
    }

    /// What the control file admits: how new the pages may be of a directory that is a standby's.
    pub(crate) fn admitted(&self) -> TimelinePosition {
        let ControlFile { min_recovery_point: lsn, min_recovery_timeline: timeline, .. } = self.control.get();
        TimelinePosition { timeline, lsn }
    }

    /// The timeline that this directory is on itself, whatever newer ones its log's directory knows. A promotion that
    /// crashed before its first checkpoint has only the minimum recovery point to say that there is a new one.
    pub(crate) fn own_timeline(&self) -> TimelineId {
        self.checkpoint.timeline.max(self.control.get().min_recovery_timeline)
    }

    /// Whether a leader wrote to it last, so that its log's end tells how new its pages may be, and not its control file.
    pub(crate) fn was_leader(&self) -> bool {
        let state = self.control.get().state;
        self.label.is_none()
            && !matches!(state, ClusterState::ArchiveRecovery | ClusterState::ShutDownInRecovery)
    }

    /// The ancestry of `timeline`, whose history file is there.
    pub(crate) fn history(&self, timeline: TimelineId) -> Result<TimelineHistory, EngineError> {
        let dir = WalDir::new(self.wal_path(), Arc::clone(&self.disk));
        dir.history(timeline).map_err(|error| wal_error(&error))
    }

    /// The newest timeline that the log's directory has the history of, at least the checkpoint's. Its history file is what
    /// makes a timeline, as for PostgreSQL: a segment without one is what a promotion left that ended before it wrote that,
    /// and is replaced when the promotion is repeated.
    pub(crate) fn newest_timeline(&self) -> Result<TimelineId, EngineError> {
        let dir = WalDir::new(self.wal_path(), Arc::clone(&self.disk));
        let listing = dir.list(self.control.get().segment_size).map_err(|error| wal_error(&error))?;
        let newest = listing.histories.last().copied();
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

    /// Insists that the pages are as of one LSN once the log is replayed to its end.
    pub(crate) fn check_consistent(&self, recovered: &Recovered) -> Result<(), EngineError> {
        let control = self.control.get();
        match &self.label {
            Some(label) if !label.from_standby => {
                if recovered.backup_end == Some(label.redo) {
                    return Ok(());
                }
                Err(EngineError::Directory(format!(
                    "WAL ends at {}, before the end of the base backup that began at {}: the log of the base backup is missing",
                    recovered.end, label.redo
                )))
            }
            _ if recovered.end >= control.min_recovery_point => Ok(()),
            _ => Err(EngineError::NotConsistent {
                end: recovered.end,
                pages: control.min_recovery_point,
                witness: "the minimum recovery point in pg_control, of a base backup or a standby,",
            }),
        }
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
