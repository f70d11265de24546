//! From a data directory to an engine that takes writes: crash recovery, if the last end was not an orderly one.

use std::path::Path;
use std::sync::Arc;

use disk::{Disk, durable_rename};
use tracing::{info, warn};
use wal::{Lsn, SystemId, TimelineId};

use super::Engine;
use super::assembly::Parts;
use super::directory::Directory;
use super::lost_wal::FoundEnd;
use super::recovery_wal::RecoveryWal;
use crate::buffer::WalBeforeData;
use crate::checkpoint::Cause;
use crate::control::ClusterState;
use crate::layout::{self, InitOptions};
use crate::log::{Log, LogStart};
use crate::replay::recover;
use crate::{EngineError, EngineOptions, KnownDurable, Standby};

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
        let recovered = recover(&pool, source.clone(), &directory.checkpoint, directory.checkpoint_start)?;
        directory.check_consistent(&recovered)?;
        pool.log_ended_at(recovered.end)?;
        let found = FoundEnd { source: &source, end: recovered.end, last: recovered.prev };
        if let Some(accepted) = check_loss(&found, &options)? {
            drop((pool, wal));
            return Self::open_with_loss(directory, options, &found, accepted);
        }
        if let Some(furthest) = found.behind_gap()? {
            warn!(
                "the log ends at {}, and valid records up to {furthest} lie behind a gap in the same segment: WAL that was \
                 never durable, as a power cut leaves it; it is discarded",
                found.end
            );
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

    /// Opens a directory whose log has lost its end, which somebody has accepted: as a standby of nobody, promoted at once. So
    /// what was lost is past a fork of the history: followers that have it do not take what comes now for its continuation,
    /// and say so. What is left of the old timeline behind the end keeps its bytes under another name.
    fn open_with_loss(
        directory: Directory,
        options: EngineOptions,
        found: &FoundEnd<'_>,
        lost: KnownDurable,
    ) -> Result<Arc<Self>, EngineError> {
        let all = directory.pool(Arc::new(RecoveryWal::default()), &options);
        all.check_all_pages(found.end)?;
        let left = found.left_behind()?;
        for file in &left {
            let path = directory.wal_path().join(&file.name);
            let aside = directory.wal_path().join(format!("{}.lost", file.name));
            durable_rename(&*directory.disk, &path, &aside)
                .map_err(|source| EngineError::file("rename", &path, source))?;
            warn!(
                "kept WAL segment \"{}\", which is past the end of the log, as \"{}\"",
                file.name,
                aside.display()
            );
        }
        let (disk, path) = (Arc::clone(&directory.disk), directory.path.clone());
        drop((directory, all));
        let options = EngineOptions { accept_loss: None, ..options };
        let standby = Standby::open(disk, &path, options)?;
        let reason = format!("loss of WAL accepted: it was durable up to {}", lost.lsn);
        let engine = standby.promote(&reason)?;
        warn!(
            "accepted the loss of WAL: the log ended at {} and was durable up to {} ({}); it goes on from there on timeline {}",
            found.end,
            lost.lsn,
            lost.witness,
            engine.log().timeline()
        );
        engine.checkpoint(Cause::EndOfRecovery)?;
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

/// Whether the log ends before what was durable of it, and somebody has accepted that: then what they have.
fn check_loss(found: &FoundEnd<'_>, options: &EngineOptions) -> Result<Option<KnownDurable>, EngineError> {
    let end = found.end.align8();
    let told = match &options.keeper {
        Some(keeper) => keeper.known_durable(found.source.history.timeline())?,
        None => None,
    };
    let bounds = [found.later_segments()?, told].into_iter().flatten();
    let lost = bounds.filter(|known| known.lsn > end).max_by_key(|known| known.lsn);
    match (lost, options.accept_loss) {
        (None, None) => Ok(None),
        (None, Some(accepted)) => {
            let reason = format!("the log ends at {end}, and nothing shows that any of it is lost");
            Err(EngineError::NotThatEnd { accepted, reason })
        }
        (Some(KnownDurable { lsn: durable, witness }), None) => {
            Err(EngineError::WalLost { end, durable, witness })
        }
        (Some(_), Some(accepted)) if accepted != end => {
            Err(EngineError::NotThatEnd { accepted, reason: format!("the log ends at {end}") })
        }
        (Some(lost), Some(_)) => Ok(Some(lost)),
    }
}
