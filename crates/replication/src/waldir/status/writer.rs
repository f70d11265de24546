//! The side of the status file that publishes.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use disk::RangeLock;
use runtime::sync::Mutex;

use super::layout::{FILE_LEN, MAGIC, MAGIC_WORD, OWNER_LOCK, SEQUENCE_WORD, Status, VALID_LOCK};
use super::{Published, STATUS_FILE, StatusReader};
use crate::waldir::WalDir;
use crate::waldir::mapping::{Mapping, write_consistently};

/// Publishes a directory's positions for as long as it lives. Shared between threads by reference or `Arc`.
#[derive(Debug)]
pub struct StatusWriter {
    mapping: Mapping,
    /// What is in the mapping; its lock makes this process one writer.
    current: Mutex<Status>,
    // Dropped in this order: readers stop believing before another writer may begin.
    _valid: RangeLock,
    _owner: RangeLock,
}

/// Why a directory's status cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum StatusWriterError {
    /// Somebody else publishes there.
    #[error("file \"{}\" is in use by process {pid}", path.display())]
    Held {
        /// The status file.
        path: PathBuf,
        /// Who, as the file has it; 0 if it does not say yet.
        pid: u32,
    },
    /// The file could not be created, locked or mapped.
    #[error("could not map file \"{}\": {source}", path.display())]
    Io {
        /// The status file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StatusWriter {
    /// Takes over the directory's status file, replacing whatever it said by `first`.
    pub fn create(dir: &WalDir, first: Status) -> Result<Self, StatusWriterError> {
        let path = dir.path().join(STATUS_FILE);
        Self::take_over(dir, first)
            .map_err(|source| StatusWriterError::Io { path: path.clone(), source })?
            .ok_or_else(|| {
                let pid = match StatusReader::open(dir).map(|reader| reader.map(|reader| reader.read())) {
                    Ok(Some(Published::Live(status) | Published::Stale(status))) => status.writer_pid,
                    _ => 0,
                };
                StatusWriterError::Held { path, pid }
            })
    }

    fn take_over(dir: &WalDir, first: Status) -> io::Result<Option<Self>> {
        assert!(first.is_ordered(), "positions out of order: {first:?}");
        let mapping = Mapping::create(&**dir.disk(), &dir.path().join(STATUS_FILE), FILE_LEN)?;
        let Some(owner) = RangeLock::try_acquire(mapping.file()?, OWNER_LOCK, 1)? else { return Ok(None) };
        let words = mapping.words();
        publish(&mapping, &first);
        words[MAGIC_WORD].store(MAGIC, Ordering::Release);
        let valid = RangeLock::try_acquire(mapping.file()?, VALID_LOCK, 1)?
            .ok_or_else(|| io::Error::other("another process holds its second lock"))?;
        mapping.wake();
        Ok(Some(Self { mapping, current: Mutex::new(first), _valid: valid, _owner: owner }))
    }

    /// Changes what is published, and wakes everybody who waits for that. Readers see all of the change or nothing.
    /// Nothing is published, and nobody woken, if nothing changed.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        let mut current = self.current.lock();
        let mut next = *current;
        change(&mut next);
        assert!(next.is_ordered(), "positions out of order: {next:?}");
        if next != *current {
            publish(&self.mapping, &next);
            *current = next;
            drop(current);
            self.mapping.wake();
        }
    }

    /// What is published now.
    pub fn current(&self) -> Status {
        *self.current.lock()
    }
}

fn publish(mapping: &Mapping, status: &Status) {
    let words = mapping.words();
    write_consistently(&words[SEQUENCE_WORD], || status.store(words));
}
