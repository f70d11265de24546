//! The side of the status file that looks.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use disk::RangeLock;

use super::STATUS_FILE;
use super::layout::{FILE_LEN, MAGIC, MAGIC_WORD, SEQUENCE_WORD, Status, VALID_LOCK};
use crate::waldir::WalDir;
use crate::waldir::mapping::{Mapping, read_consistently};

/// What a directory's status file is worth at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Published {
    /// There is no status: nobody has published here, or the file is not one of ours.
    #[default]
    Absent,
    /// The last word of a writer that is gone: for telling people, never for serving by.
    Stale(Status),
    /// A living writer's word.
    Live(Status),
}

impl Published {
    /// The status, if its writer lives.
    pub fn live(&self) -> Option<&Status> {
        match self {
            Self::Live(status) => Some(status),
            Self::Absent | Self::Stale(_) => None,
        }
    }
}

/// Reads a directory's status, without ever getting in its writer's way. Needs no permission to write.
#[derive(Debug)]
pub struct StatusReader {
    mapping: Mapping,
}

impl StatusReader {
    /// Maps the directory's status file; `None` if there is none, or if its writer has not finished making it.
    pub fn open(dir: &WalDir) -> io::Result<Option<Self>> {
        match Mapping::open(&**dir.disk(), &dir.path().join(STATUS_FILE), FILE_LEN) {
            Ok(mapping) => Ok(Some(Self { mapping })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What is published now.
    pub fn read(&self) -> Published {
        let words = self.mapping.words();
        // Before the words are read: a writer that holds this lock has replaced what was there before it.
        let live =
            self.mapping.file().and_then(|file| RangeLock::is_held(file, VALID_LOCK, 1)).unwrap_or(false);
        if words[MAGIC_WORD].load(Ordering::Relaxed) != MAGIC {
            return Published::Absent;
        }
        match read_consistently(&words[SEQUENCE_WORD], || Status::load(words)) {
            Some(status) if live => Published::Live(status),
            Some(status) => Published::Stale(status),
            None => Published::Absent,
        }
    }

    /// A number that changes with every change of the status. Take it before [`StatusReader::read`] to wait for
    /// something newer than what that read.
    pub fn changes(&self) -> u32 {
        self.mapping.wakes()
    }

    /// Blocks this thread until [`StatusReader::changes`] is no longer `seen`, at most for `timeout`. The death of a
    /// writer wakes nobody: look again from time to time.
    pub fn wait(&self, seen: u32, timeout: Duration) {
        self.mapping.wait(seen, timeout);
    }
}
