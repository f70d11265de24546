//! What has been written and is not durable yet: handed from the writer to the syncer.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use disk::DiskFile;
use runtime::sync::{Condvar, Mutex, MutexGuard};
use wal::Lsn;

use super::ArchiveError;

/// How many finished segments may wait for the disk before the writer does: enough to keep the disk busy, few enough
/// to bound what a crash sends again.
const FINISHED_LIMIT: usize = 4;

/// A segment file whose last byte has been written.
#[derive(Debug)]
pub(super) struct FinishedSegment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) partial: PathBuf,
    pub(super) finished: PathBuf,
    pub(super) end: Lsn,
}

/// The segment file being written.
#[derive(Debug)]
pub(super) struct CurrentSegment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: PathBuf,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) finished: VecDeque<FinishedSegment>,
    pub(super) current: Option<Arc<CurrentSegment>>,
    /// After the last byte written; moved by the writer.
    pub(super) written: Lsn,
    /// After the last durable byte; moved by the syncer, never ahead of `written` except before the first byte.
    pub(super) durable: Lsn,
    /// A name was made that no directory sync covers yet.
    pub(super) new_names: bool,
    /// The first failure; nothing is tried after it.
    pub(super) failure: Option<ArchiveError>,
    /// Why nothing more is written although nothing has failed; what was written still becomes durable.
    full: Option<ArchiveError>,
}

impl State {
    /// Everything before `written` is written. It never goes back.
    pub(super) fn set_written(&mut self, written: Lsn) {
        assert!(self.written <= written, "what is written stays so: {}, not {written}", self.written);
        self.written = written;
    }

    /// Everything before `durable`, which is written, is durable. It never goes back.
    pub(super) fn set_durable(&mut self, durable: Lsn) {
        assert!(
            durable <= self.written,
            "nothing is durable, {durable}, that was not written, {}",
            self.written
        );
        assert!(self.durable <= durable, "what is durable stays so: {}, not {durable}", self.durable);
        self.durable = durable;
    }
}

/// Shared by the writer and the syncer of one stream.
#[derive(Debug)]
pub(super) struct Unsynced {
    state: Mutex<State>,
    room: Condvar,
}

impl Unsynced {
    pub(super) fn new(start: Lsn) -> Self {
        let state = State {
            finished: VecDeque::new(),
            current: None,
            written: start,
            durable: start,
            new_names: false,
            failure: None,
            full: None,
        };
        Self { state: Mutex::new(state), room: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Whether the writer should let the syncer catch up first.
    pub(super) fn is_full(&self) -> bool {
        self.lock().finished.len() >= FINISHED_LIMIT
    }

    /// Waits until there is room for another finished segment, or nothing more will be taken.
    pub(super) fn wait_for_room(&self) {
        let mut state = self.lock();
        while state.finished.len() >= FINISHED_LIMIT && state.failure.is_none() {
            state = self.room.wait(state);
        }
    }

    pub(super) fn announce_room(&self) {
        self.room.notify_all();
    }

    /// Latches the first failure, or that there is no space for more, and gives it back.
    pub(super) fn fail(&self, error: ArchiveError) -> ArchiveError {
        let mut state = self.lock();
        let durable = state.durable;
        let first = match error {
            ArchiveError::NoSpace { .. } => state.full.get_or_insert(error).clone().after(durable),
            error => state.failure.get_or_insert_with(|| error.after(durable)).clone(),
        };
        drop(state);
        self.room.notify_all();
        first
    }

    /// The first failure, after which nothing becomes durable any more.
    pub(super) fn check(&self) -> Result<(), ArchiveError> {
        self.lock().failure.clone().map_or(Ok(()), Err)
    }

    /// Why nothing more is written, if it is not.
    pub(super) fn check_writable(&self) -> Result<(), ArchiveError> {
        let state = self.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        state.full.clone().map_or(Ok(()), |full| Err(full.after(state.durable)))
    }
}
