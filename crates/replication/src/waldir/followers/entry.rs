//! A connection's entry in the table.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use disk::RangeLock;
use runtime::sync::Mutex;

use super::FOLLOWERS_FILE;
use super::layout::{CAPACITY, FILE_LEN, Follower, MAGIC, MAGIC_WORD, entry_words, owner_lock, valid_lock};
use crate::waldir::WalDir;
use crate::waldir::mapping::{Mapping, write_consistently};

/// A follower's entry, there for as long as this lives.
#[derive(Debug)]
pub struct FollowerEntry {
    mapping: Mapping,
    index: usize,
    /// What is in the entry; its lock makes this process one writer.
    current: Mutex<Follower>,
    /// Taken out before the last wake-up, so that whoever is woken no longer sees the entry.
    valid: Option<RangeLock>,
    _owner: RangeLock,
}

/// Why a follower could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum FollowersError {
    /// Every entry has an owner.
    #[error("file \"{}\" has no room for more than {CAPACITY} followers", .0.display())]
    Full(PathBuf),
    /// The file could not be created, locked or mapped.
    #[error("could not map file \"{}\": {source}", path.display())]
    Io {
        /// The followers' table.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FollowerEntry {
    /// Enters a follower, in the first entry whose owner is gone or never was.
    pub fn register(dir: &WalDir, follower: Follower) -> Result<Self, FollowersError> {
        let path = dir.path().join(FOLLOWERS_FILE);
        Self::claim(dir, follower)
            .map_err(|source| FollowersError::Io { path: path.clone(), source })?
            .ok_or(FollowersError::Full(path))
    }

    fn claim(dir: &WalDir, follower: Follower) -> io::Result<Option<Self>> {
        // An open file of its own for each entry, so that the entries of one process exclude each other too.
        let mapping = Mapping::create(&**dir.disk(), &dir.path().join(FOLLOWERS_FILE), FILE_LEN)?;
        mapping.words()[MAGIC_WORD].store(MAGIC, Ordering::Release);
        for index in 0..CAPACITY {
            let Some(owner) = RangeLock::try_acquire(mapping.file()?, owner_lock(index), 1)? else {
                continue;
            };
            store(&mapping, index, &follower);
            let Some(valid) = RangeLock::try_acquire(mapping.file()?, valid_lock(index), 1)? else {
                continue;
            };
            mapping.wake();
            let current = Mutex::new(follower);
            return Ok(Some(Self { mapping, index, current, valid: Some(valid), _owner: owner }));
        }
        Ok(None)
    }

    /// Changes the entry, and wakes everybody who watches the table. Readers see all of the change or nothing.
    /// Nobody is woken if nothing changed.
    pub fn update(&self, change: impl FnOnce(&mut Follower)) {
        let mut current = self.current.lock();
        let before = current.clone();
        change(&mut current);
        if *current != before {
            store(&self.mapping, self.index, &current);
            drop(current);
            self.mapping.wake();
        }
    }
}

impl Drop for FollowerEntry {
    fn drop(&mut self) {
        self.valid = None;
        self.mapping.wake();
    }
}

fn store(mapping: &Mapping, index: usize, follower: &Follower) {
    if let Some((sequence, fields)) = entry_words(mapping.words(), index) {
        write_consistently(sequence, || follower.store(fields));
    }
}
