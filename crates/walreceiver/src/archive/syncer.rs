//! From written to durable.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use disk::DiskFile;
use runtime::sync::Mutex;
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;
use wal::Lsn;

use super::ArchiveError;
use super::segment_files::SegmentFiles;
use super::unsynced::Unsynced;

/// When written WAL is made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SyncMode {
    /// As soon as the disk is free: a synchronous standby.
    AtOnce,
    /// Soon, so that others on the host can have it, but many writes together.
    Soon,
    /// Never; "durable" then means written (`--no-sync`).
    Never,
}

/// Called with the path of each segment that has got its final name.
pub(crate) type OnFinished = Arc<dyn Fn(&Path) + Send + Sync>;

/// Makes what an [`ArchiveWriter`](super::ArchiveWriter) has written durable. One sync runs at a time, on whatever
/// thread asks for it; the writer goes on writing meanwhile.
pub(crate) struct Syncer {
    files: SegmentFiles,
    unsynced: Arc<Unsynced>,
    mode: SyncMode,
    on_finished: OnFinished,
    /// Held for the whole of a sync.
    turn: Mutex<()>,
}

impl fmt::Debug for Syncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syncer").field("files", &self.files).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Syncer {
    pub(super) fn new(
        files: SegmentFiles,
        unsynced: Arc<Unsynced>,
        mode: SyncMode,
        on_finished: OnFinished,
    ) -> Self {
        Self { files, unsynced, mode, on_finished, turn: Mutex::new(()) }
    }

    /// Whether there is anything to do.
    pub(crate) fn is_behind(&self) -> bool {
        let state = self.unsynced.lock();
        state.durable < state.written || !state.finished.is_empty()
    }

    /// Whether a finished segment waits.
    pub(crate) fn has_finished(&self) -> bool {
        !self.unsynced.lock().finished.is_empty()
    }

    /// Whether so many finished segments wait that the writer should too.
    pub(crate) fn is_full(&self) -> bool {
        self.unsynced.is_full()
    }

    /// Waits until that is over, or something failed.
    pub(crate) fn wait_for_room(&self) {
        self.unsynced.wait_for_room();
    }

    /// The first failure of writing or syncing, if there was one; or that there is no space to write more.
    pub(crate) fn check(&self) -> Result<(), ArchiveError> {
        self.unsynced.check_writable()
    }

    /// An error if the segment being written was removed since: what was acknowledged of it is lost then, and nobody but
    /// its receiver, which has it open, can know.
    pub(crate) fn still_there(&self) -> Result<(), ArchiveError> {
        let Some(current) = self.unsynced.lock().current.clone() else { return Ok(()) };
        still_there(&*current.file)
            .map_err(ArchiveError::on("keep", &current.path))
            .map_err(|error| self.unsynced.fail(error))
    }

    /// Makes everything that had been written when this was called durable; `report` hears of each step.
    pub(crate) fn sync(&self, report: &dyn Fn(Lsn)) -> Result<(), ArchiveError> {
        let _turn = self.turn.lock();
        self.unsynced.check()?;
        self.finish_segments(report)
            .and_then(|()| self.sync_current(report))
            .map_err(|error| self.unsynced.fail(error))
    }

    fn finish_segments(&self, report: &dyn Fn(Lsn)) -> Result<(), ArchiveError> {
        loop {
            let (file, partial, finished, end) = match self.unsynced.lock().finished.front() {
                None => return Ok(()),
                Some(front) => {
                    (Arc::clone(&front.file), front.partial.clone(), front.finished.clone(), front.end)
                }
            };
            // The bytes first, then the name that promises them, then the directory that holds the name.
            if self.mode != SyncMode::Never {
                file.sync_data().map_err(ArchiveError::on("fsync", &partial))?;
            }
            if partial != finished {
                self.files.disk.rename(&partial, &finished).map_err(ArchiveError::on("rename", &partial))?;
                self.sync_names()?;
            } else if self.unsynced.lock().new_names {
                self.sync_names()?;
            }
            let mut state = self.unsynced.lock();
            let first = state.finished.pop_front().map(|first| first.end);
            assert_eq!(first, Some(end), "one syncs at a time, and the segments in order");
            assert!(
                state.finished.front().is_none_or(|next| end < next.end),
                "segments are finished in order"
            );
            let durable = state.durable.max(end);
            state.set_durable(durable);
            drop(state);
            self.unsynced.announce_room();
            report(end);
            (self.on_finished)(&finished);
        }
    }

    fn sync_current(&self, report: &dyn Fn(Lsn)) -> Result<(), ArchiveError> {
        let (current, written, new_names) = {
            let state = self.unsynced.lock();
            // Segments finished since are this call's business only as far as they were written when it came; the
            // next one takes them.
            if state.durable >= state.written || !state.finished.is_empty() {
                return Ok(());
            }
            (state.current.clone(), state.written, state.new_names)
        };
        let Some(current) = current else { return Ok(()) };
        if self.mode != SyncMode::Never {
            current.file.sync_data().map_err(ArchiveError::on("fsync", &current.path))?;
        }
        if new_names {
            self.sync_names()?;
        }
        still_there(&*current.file).map_err(ArchiveError::on("fsync", &current.path))?;
        let written =
            if runtime::fault::is_wanted("sync more than was written") { Lsn::MAX } else { written };
        self.unsynced.lock().set_durable(written);
        report(written);
        Ok(())
    }

    fn sync_names(&self) -> Result<(), ArchiveError> {
        self.unsynced.lock().new_names = false;
        if self.mode == SyncMode::Never { Ok(()) } else { self.files.sync_dir() }
    }
}

/// An error for a file that was removed while it is open: what is written and fsynced to it is lost to everybody else,
/// and must not be acknowledged.
///
/// Asks for nothing but the link count. Whoever asks a Linux of 6.13 or later for a file's times makes the next write
/// give it new ones of a fine grain, and the sync after that has the inode to write as well as the data.
fn still_there(file: &dyn DiskFile) -> io::Result<()> {
    let Some(fd) = file.as_fd() else { return Ok(()) };
    let links = match rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK) {
        Ok(found) => found.stx_nlink,
        // Filters of system calls that are older than it.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::fstat(fd)?.st_nlink as u32,
        Err(error) => return Err(error.into()),
    };
    if links == 0 {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has been removed"));
    }
    Ok(())
}
