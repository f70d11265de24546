//! What can go wrong in the engine.

use std::io;
use std::path::PathBuf;

use wal::{Lsn, TimelineId};

use crate::engine::TimelinePosition;
use crate::{PageId, TreeId};

/// An error of the engine. Each says what it happened to; the embedder adds what to do.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Reading, writing or syncing a file failed. A failed sync never comes back as an error: it ends the process.
    #[error("could not {action} file \"{path}\"", path = path.display())]
    File {
        /// What was tried: "open", "read", "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// What was replayed cannot be put into the pages: their files cannot grow, or cannot be written. Nothing is lost, and it
    /// can be tried again.
    #[error("pages cannot take what was replayed: {}", .0.chain())]
    Stopped(Box<EngineError>),
    /// A page that was read is not the page that was written.
    #[error("{page} is damaged: {reason}")]
    Damaged {
        /// The page.
        page: PageId,
        /// What does not fit.
        reason: String,
    },
    /// A page in its file is newer than the log: the log has lost its end.
    #[error(
        "{page}, in file \"{path}\", is as of {lsn}, but the log ends at {end}: WAL has been lost, and the page cannot be \
         used without it",
        path = path.display()
    )]
    PageBeyondLog {
        /// The page.
        page: PageId,
        /// The file that it is in.
        path: PathBuf,
        /// Its `pd_lsn`.
        lsn: Lsn,
        /// Where the log ends.
        end: Lsn,
    },
    /// The log ends before what was durable of it: some of it has been lost.
    #[error(
        "WAL has been lost: the log ends at {end}, but {witness} shows that it was durable up to {durable}"
    )]
    WalLost {
        /// The end that was found.
        end: Lsn,
        /// Up to where it was durable, at least.
        durable: Lsn,
        /// What shows that.
        witness: String,
    },
    /// The log ends before the pages are as of one position: what their files hold goes beyond it, in part.
    #[error(
        "WAL has been lost: the log ends at {end}, but {witness} says that the pages are consistent at {pages} only"
    )]
    NotConsistent {
        /// The end that was found.
        end: Lsn,
        /// Up to where the pages' files may have what was written.
        pages: Lsn,
        /// What says so.
        witness: &'static str,
    },
    /// The log ends before the checkpoint that replay would begin with: there is nothing to begin with.
    #[error(
        "could not find the checkpoint record at {checkpoint} that pg_control names: the log ends at {end}: {reason}"
    )]
    CheckpointLost {
        /// Where the record begins.
        checkpoint: Lsn,
        /// The end that was found.
        end: Lsn,
        /// What is there instead.
        reason: String,
    },
    /// The end of the log that is to be accepted is not the one that was found.
    #[error("the loss of WAL beyond {accepted} cannot be accepted: {reason}")]
    NotThatEnd {
        /// The position that was named.
        accepted: Lsn,
        /// What is so instead.
        reason: String,
    },
    /// The log holds something that cannot be replayed.
    #[error("cannot replay the WAL record at {lsn}: {reason}")]
    Replay {
        /// The record.
        lsn: Lsn,
        /// Why.
        reason: String,
    },
    /// A newer timeline has left this directory's behind what may be on its pages: it cannot be followed.
    #[error("{}", diverged(progress, *newer, *left, *in_memory))]
    Diverged {
        /// What may be on the pages.
        progress: TimelinePosition,
        /// The timeline that is not a child of that.
        newer: TimelineId,
        /// Where its history leaves the directory's; `None` if they have nothing in common.
        left: Option<Lsn>,
        /// Whether what is too much is in memory alone: then a restart does without it.
        in_memory: bool,
    },
    /// The snapshot needs page versions that were given up to bound memory.
    #[error("snapshot too old: it reads as of {0}, and page versions that old were given up")]
    SnapshotTooOld(Lsn),
    /// Somebody else changed the row after this transaction's snapshot was taken.
    #[error("could not serialize access due to concurrent update")]
    Serialization,
    /// Waiting for the lock would close a circle of waiters.
    #[error("deadlock detected")]
    Deadlock,
    /// The transaction has written more than it may.
    #[error("transaction is larger than the limit of {limit} bytes")]
    TransactionTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The pages that the transaction changes take more memory than its commit may.
    #[error("the pages that the transaction changes take more than {limit} bytes")]
    CommitTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// A key longer than the tree can hold.
    #[error("key of {length} bytes is longer than the maximum of {limit}")]
    KeyTooLong {
        /// The key's length in bytes.
        length: usize,
        /// The longest that is allowed.
        limit: usize,
    },
    /// A value longer than the tree can hold.
    #[error("value of {length} bytes is longer than the maximum of {limit}")]
    ValueTooLong {
        /// The value's length in bytes.
        length: usize,
        /// The longest that is allowed.
        limit: usize,
    },
    /// No such tree.
    #[error("tree {0} does not exist")]
    NoTree(TreeId),
    /// The engine takes no writes: it is a standby.
    #[error("cannot execute during recovery")]
    ReadOnly,
    /// The directory, its control file or its log does not fit; the text is one line for the operator.
    #[error("{0}")]
    Directory(String),
}

impl EngineError {
    /// An error while doing `action` ("read", "write", …) to the file at `path`.
    pub fn file(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { action, path: path.into(), source }
    }

    /// Whether a disk is full.
    pub fn is_disk_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::File { source, .. } if full.contains(&source.kind()))
    }

    /// An error of the same words, to be told again. `None` unless it is [`EngineError::File`].
    pub(crate) fn again(&self) -> Option<Self> {
        let Self::File { action, path, source } = self else { return None };
        let source = match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(source.kind(), source.to_string()),
        };
        Some(Self::File { action, path: path.clone(), source })
    }

    /// The message with those of its causes, joined by ": ".
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// What lies past the fork, and what can be done.
fn diverged(progress: &TimelinePosition, newer: TimelineId, left: Option<Lsn>, in_memory: bool) -> String {
    let TimelinePosition { timeline, lsn } = progress;
    let left = left.map_or_else(|| "nowhere".to_owned(), |left| format!("at {left}"));
    let (has, remedy) = if in_memory {
        let has = format!("this server has replayed up to {lsn} of timeline {timeline}, in memory alone");
        (has, format!("start this server again, and it follows timeline {newer}"))
    } else {
        let has = format!("this directory has what was written up to {lsn} of timeline {timeline}");
        (has, format!("take a new base backup of a server on timeline {newer}"))
    };
    format!(
        "timeline {newer} is not a child of this directory's history: it leaves that {left}, and {has}, all of which timeline \
         {newer} discarded from there on; {remedy}, or, to keep what is here and follow timeline {timeline}, remove \"{}\" \
         from pg_wal",
        newer.history_file_name()
    )
}
