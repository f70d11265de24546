//! Checkpoints of this engine, and its orderly end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use wal::Lsn;
use wal::payload::CheckPoint;
use wal::record::{ResourceManager, Xid};

use super::{Engine, TimelinePosition};
use crate::checkpoint::{Begun, Cause, CheckpointOptions, CheckpointPages, Checkpointer, SyncReport};
use crate::control::ControlStore;
use crate::log::{Room, record};
use crate::{EngineError, LogExtent, PageId};

/// Opcode of a record that means nothing.
const NOOP: u8 = 0x20;

/// The engine as its checkpointer sees it: for as long as somebody else has it.
struct Pages(Weak<Engine>);

impl CheckpointPages for Pages {
    fn begin(&self) -> Begun {
        self.0.upgrade().map_or(Begun::Nothing, |engine| engine.begin_checkpoint())
    }

    fn write_back(&self, page: PageId) -> Result<(), EngineError> {
        match self.0.upgrade() {
            Some(engine) => engine.pool.write_back(page),
            None => Err(EngineError::Directory("the engine is gone".to_owned())),
        }
    }

    fn sync(&self) -> SyncReport {
        let began = std::time::Instant::now();
        if let Some(engine) = self.0.upgrade() {
            engine.remove_dropped();
            engine.pool.files().sync_dirty();
            if !engine.is_read_only() {
                engine.pool.files().keep_reserve();
            }
        }
        SyncReport { files: 0, longest: Duration::ZERO, total: began.elapsed() }
    }

    fn capacity(&self) -> usize {
        self.0.upgrade().map_or(0, |engine| engine.pool.stats().capacity)
    }

    fn keep(&self, log: LogExtent, remove: &mut dyn FnMut(Option<Lsn>)) {
        // What an engine needs that is going away, nobody can tell.
        let Some(engine) = self.0.upgrade() else { return };
        match &engine.options.keeper {
            Some(keeper) => keeper.keep(log, remove),
            None => remove(None),
        }
    }
}

impl Engine {
    /// Makes a checkpoint now and waits for it; on a standby a restartpoint, if a checkpoint was replayed since the last.
    pub fn checkpoint(&self, cause: Cause) -> Result<(), EngineError> {
        match self.checkpointer.get() {
            Some(checkpointer) => checkpointer.request(cause),
            None => Ok(()),
        }
    }

    /// The orderly end: a last checkpoint, after which nothing may be written. Transactions have ended before.
    pub fn shutdown(&self) -> Result<(), EngineError> {
        // Who began them may be gone, but they go on.
        self.await_large_commits();
        match self.checkpointer.get() {
            Some(checkpointer) => checkpointer.shutdown(),
            None => Ok(()),
        }
    }

    /// Appends a record that means nothing (`XLOG_NOOP`), durably, if the log ends at `end`: a follower that stands there is
    /// sent it, and finds by its link back whether the logs are one. Nothing on a standby.
    ///
    /// # Errors
    /// There is no space for it; or it cannot be made durable.
    pub fn append_nothing_after(&self, end: Lsn) -> Result<(), EngineError> {
        if self.is_read_only() {
            return Ok(());
        }
        let mut appender = self.log.appender();
        if self.log.inserted() != end {
            return Ok(());
        }
        let mut buffer = Vec::new();
        record::encode(&mut buffer, ResourceManager::XLOG, NOOP, Xid::INVALID, &[]);
        let appended = appender.try_append(&mut buffer, Room::Freeing);
        drop(appender);
        let placed = appended.inspect_err(|_| self.free_log())?;
        self.log.flush(placed.end)
    }

    pub(crate) fn start_checkpointer(
        self: &Arc<Self>,
        control: Arc<ControlStore>,
    ) -> Result<(), EngineError> {
        let options = &self.options;
        let options = CheckpointOptions {
            timeout: options.checkpoint_timeout,
            completion_target: options.checkpoint_completion_target,
            max_wal_size: options.max_wal_size,
            min_wal_size: options.min_wal_size,
            wal_keep_size: options.wal_keep_size,
            full_page_writes: options.full_page_writes,
            log: options.log_checkpoints,
        };
        let pages = Arc::new(Pages(Arc::downgrade(self)));
        let checkpointer = Checkpointer::start(Arc::clone(&self.log), control, pages, options)?;
        let _ = self.checkpointer.set(checkpointer);
        Ok(())
    }

    fn begin_checkpoint(&self) -> Begun {
        let writer = self.writer();
        if self.is_read_only() {
            let restart = self.restart.lock().take();
            let Some((record, checkpoint, reached)) = restart else { return Begun::Nothing };
            return Begun::Restartpoint { record, checkpoint, reached, pages: self.pool.begin_checkpoint() };
        }
        let mut appender = self.log.appender();
        let redo = appender.set_redo();
        let pages = self.pool.begin_checkpoint();
        let (next_xid, next_oid) = (writer.numbers.next_xid(), writer.numbers.logged_tree());
        drop(appender);
        Begun::Checkpoint { redo, pages, next_xid, next_oid }
    }

    /// A standby has replayed the checkpoint record that starts at `record`, and published all before it: a restartpoint
    /// can be made of it. Replay has `reached` so far, the record's end at least.
    pub(crate) fn set_restart(&self, record: Lsn, checkpoint: CheckPoint, reached: TimelinePosition) {
        *self.restart.lock() = Some((record, checkpoint, reached));
    }
}
