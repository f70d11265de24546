//! From a data directory to an engine that takes writes: crash recovery, if the last end was not an orderly one.

use std::path::Path;
use std::sync::Arc;

use disk::Disk;
use tracing::info;
use wal::{Lsn, SystemId, TimelineId};

use super::Engine;
use super::assembly::Parts;
use super::directory::Directory;
use super::recovery_wal::RecoveryWal;
use crate::buffer::WalBeforeData;
use crate::checkpoint::Cause;
use crate::control::ClusterState;
use crate::layout::{self, InitOptions};
use crate::log::{Log, LogStart};
use crate::replay::recover;
use crate::{EngineError, EngineOptions};

impl Engine {
    /// Creates a data directory at `dir`, which must be missing or empty, with an empty catalog, shut down.
    pub fn init(disk: &Arc<dyn Disk>, dir: &Path, options: &InitOptions) -> Result<SystemId, EngineError> {
        layout::create(disk, dir, options)
    }

    /// Opens the data directory `dir` for reading and writing. After a crash, first replays the log from the last
    /// checkpoint on; how far that is, is in the log of the program.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: EngineOptions) -> Result<Arc<Self>, EngineError> {
        let mut directory = Directory::open(disk, dir)?;
        let control = directory.control.get();
        let orderly = control.state == ClusterState::ShutDown && directory.label.is_none();
        if !orderly {
            info!("database system was not properly shut down; automatic recovery in progress");
            directory.control.update(|control| control.state = ClusterState::CrashRecovery);
        }
        directory.sync_log()?;
        let wal = Arc::new(RecoveryWal::default());
        let pool = directory.pool(Arc::clone(&wal) as Arc<dyn WalBeforeData>, &options);
        let source = directory.source(directory.own_timeline())?;
        let history = source.history.clone();
        let recovered = recover(&pool, source, &directory.checkpoint, directory.checkpoint_start)?;
        let backup_ended = match &directory.label {
            Some(label) if label.from_standby => recovered.end >= control.min_recovery_point,
            Some(label) => recovered.backup_end == Some(label.redo),
            None => recovered.end >= control.min_recovery_point,
        };
        if !backup_ended {
            return Err(EngineError::Directory(format!(
                "WAL ends at {}, before the pages of this directory are consistent: the log of the base backup or of the \
                 standby is missing",
                recovered.end
            )));
        }
        let clean = orderly && recovered.prev == directory.checkpoint_start;
        let parent = history.entries().last();
        let start = LogStart {
            system_id: control.system_id,
            timeline: history.timeline(),
            timeline_start: parent.map_or(Lsn::INVALID, |entry| entry.switch_point),
            position: recovered.end,
            prev: recovered.prev,
            clean,
            aborted: None,
        };
        let log_options = directory.log_options(&options);
        let log =
            Arc::new(Log::open(Arc::clone(&directory.disk), &directory.wal_path(), log_options, start)?);
        log.set_initial_redo(directory.checkpoint.redo);
        wal.open(Arc::clone(&log));
        let engine = Self::assemble(Parts {
            options,
            pool,
            log,
            numbers: recovered.numbers,
            applied: recovered.end,
            read_only: false,
        });
        engine.start_checkpointer(Arc::clone(&directory.control))?;
        engine.settle(clean)?;
        directory.retire_label()?;
        directory.control.update(|control| {
            control.state = ClusterState::InProduction;
            control.min_recovery_point = Lsn::INVALID;
            control.min_recovery_timeline = TimelineId::new(0);
        });
        Ok(engine)
    }

    /// What is left to do once the pages are as of the log's end. The trees that say which others exist must be sound before
    /// anything is removed because they do not name it; they are never made here: a directory without them has lost them.
    fn settle(&self, clean: bool) -> Result<(), EngineError> {
        self.check_first_trees()?;
        self.remove_orphans()?;
        if !clean {
            self.checkpoint(Cause::EndOfRecovery)?;
        }
        Ok(())
    }
}
