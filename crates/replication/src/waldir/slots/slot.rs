//! One slot, in use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use disk::{Disk, OpenMode};
use wal::{Lsn, TimelineId};

use super::SlotName;
use super::state::SlotInfo;
use super::store::{SlotError, SlotLock, at};

/// A slot in use by this connection, until dropped. A temporary one is gone then.
///
/// Positions are kept in memory and written at most once an interval ([`Slot::WRITE_INTERVAL`]): what a crash
/// forgets only makes the follower be offered WAL that it has, never lack any.
#[derive(Debug)]
pub struct Slot {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    name: SlotName,
    life: Life,
    /// What the follower said last.
    info: SlotInfo,
    /// What is in the file; behind `info` by at most an interval's progress.
    written: SlotInfo,
    last_write: Option<Instant>,
    _lock: SlotLock,
}

/// How long a slot lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// Until somebody drops it.
    Lasting,
    /// Until this use of it ends, and its process at the latest: then its file and its lock's go.
    Temporary {
        /// The lock's.
        lock: PathBuf,
    },
}

impl Slot {
    /// The least time between two durable writes caused by [`Slot::advance`].
    pub const WRITE_INTERVAL: Duration = Duration::from_secs(1);

    pub(super) fn new(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        name: SlotName,
        life: Life,
        info: SlotInfo,
        lock: SlotLock,
    ) -> Self {
        Self { disk, path, name, life, info, written: info, last_write: None, _lock: lock }
    }

    /// The slot's name.
    pub fn name(&self) -> &SlotName {
        &self.name
    }

    /// Where the slot stands.
    pub fn info(&self) -> SlotInfo {
        self.info
    }

    /// Moves the slot to what the follower says is durable with it, writing that down if the last write is long
    /// enough ago. `now` is the caller's clock.
    ///
    /// # Errors
    /// It cannot be written down now, and is tried again an interval later: until then the slot keeps more WAL than it has to.
    pub fn advance(&mut self, restart_lsn: Lsn, timeline: TimelineId, now: Instant) -> Result<(), SlotError> {
        self.info = SlotInfo::at(restart_lsn, timeline);
        let due = self.last_write.is_none_or(|last| now.duration_since(last) >= Self::WRITE_INTERVAL);
        if due && self.info != self.written {
            self.last_write = Some(now);
            self.write()?;
        }
        Ok(())
    }

    /// Writes down, durably, what has not been yet: call it when the follower goes, and from time to time while it
    /// says nothing new.
    pub fn flush(&mut self) -> Result<(), SlotError> {
        if self.info == self.written { Ok(()) } else { self.write() }
    }

    pub(super) fn write(&mut self) -> Result<(), SlotError> {
        let text = self.info.to_text();
        let written = match self.life {
            Life::Lasting => disk::durable_write(&*self.disk, &self.path, text.as_bytes()),
            Life::Temporary { .. } => self.replace(text.as_bytes()),
        };
        let written = match written {
            // A full disk is often full of WAL that this slot keeps, and would keep until there is space.
            Err(error) if is_full(&error) => self.overwrite(text.as_bytes()).map_err(|_| error),
            other => other,
        };
        written.map_err(at(&self.path))?;
        self.written = self.info;
        Ok(())
    }

    /// Gives the file other content in one step, for whoever looks at it while this system runs: nobody needs it after that.
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("temporary.tmp");
        let write = || {
            let file = self.disk.open(&temporary, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_all_at(bytes, 0)?;
            self.disk.rename(&temporary, &self.path)
        };
        write().inspect_err(|_| {
            let _ = self.disk.remove_file(&temporary);
        })
    }

    /// Writes over the file as it is, which needs no space. A power cut leaves one or the other: the file has the same length
    /// before and after, and lies within the first 512 bytes, which are written together or not at all.
    fn overwrite(&self, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.open(&self.path, OpenMode::ReadWrite)?;
        if file.len()? != bytes.len() as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all_at(bytes, 0)?;
        file.sync_data()
    }

    /// Ends a temporary slot, while its lock is held still: whoever has the lock's file open finds it removed, and starts over.
    fn remove(&self, lock: &Path) {
        for path in [self.path.as_path(), lock] {
            match self.disk.remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let name = &self.name;
                    tracing::warn!(slot = %name, %error, "could not remove a file of a temporary slot");
                }
                _ => {}
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Life::Temporary { lock } = &self.life {
            self.remove(lock);
        } else if let Err(error) = self.flush() {
            tracing::warn!(slot = %self.name, %error, "could not write down the slot's last position");
        }
    }
}
