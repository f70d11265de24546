//! The archive being written: segment files that grow, become durable and are finished.
//!
//! [`ArchiveWriter`] turns validated WAL into bytes of segment files; [`Syncer`] makes those durable and gives
//! finished segments their final names; [`Pipeline`] runs the two beside the receiving task. [`resume`] finds where a
//! directory ends and how much of it is proven.
//!
//! What a power cut finds, whenever it comes:
//! - a file called `NAME` is a complete segment whose bytes were durable before it got that name;
//! - of `NAME.partial` everything that was ever reported durable;
//! - in a server's `pg_wal`, where segments have their final names from the beginning ([`Naming::Final`]), a file called
//!   `NAME` has a segment's length and space: it is made under another name;
//! - a segment that there is no space for has no file;
//! - bytes that were reported durable are never cut off, zeroed or replaced by different ones. Receiving a segment
//!   again compares; a difference is a fork, and refused.

mod pipeline;
mod predecessor;
pub(crate) mod resume;
mod segment_files;
mod syncer;
mod unsynced;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use wal::{Lsn, TimelineId};

pub(crate) use pipeline::{Chunk, Pipeline};
pub(crate) use predecessor::Predecessor;
pub(crate) use segment_files::{Naming, SegmentFiles};
pub(crate) use syncer::{SyncMode, Syncer};
pub(crate) use writer::ArchiveWriter;

/// Why WAL could not be kept. Nothing is retried, and nothing more acknowledged, after any of these but
/// [`ArchiveError::NoSpace`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArchiveError {
    /// The file system refused.
    #[error("could not {action} file \"{}\": {reason}{}", path.display(), durable_up_to(*durable))]
    Io {
        /// "open", "write", "fsync", ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
        /// Its kind.
        kind: io::ErrorKind,
        /// Up to where WAL is durable all the same, where that is known.
        durable: Option<Lsn>,
    },
    /// There is no space for the next segment. It was not begun, and everything before is written, so nothing is in doubt: what
    /// was written becomes durable, and the rest can be received again once there is space.
    #[error("could not {action} file \"{}\": {reason}{}", path.display(), durable_up_to(*durable))]
    NoSpace {
        /// "create", "allocate", ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
        /// Up to where WAL is durable, where that is known.
        durable: Option<Lsn>,
    },
    /// The server's WAL is not the archive's.
    #[error(
        "server's WAL at {lsn} on timeline {timeline} differs from what \"{}\" holds as durable and valid: \
         the histories have forked, and nothing was overwritten",
        path.display()
    )]
    Fork {
        /// The first byte that differs.
        lsn: Lsn,
        /// The timeline streamed.
        timeline: TimelineId,
        /// The file that has other bytes.
        path: PathBuf,
    },
    /// An unfinished segment is larger than a segment can be.
    #[error("unfinished segment \"{}\" has {found} bytes, expected at most {expected}", path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The segment size.
        expected: u64,
    },
    /// A finished segment would be written again.
    #[error("segment \"{}\" is finished already, and would be overwritten", .0.display())]
    Finished(PathBuf),
    /// A thread of the pipeline died of a defect.
    #[error("the {0} thread ended unexpectedly")]
    ThreadDied(&'static str),
}

impl ArchiveError {
    /// For `map_err`: the error of doing `action` on `path`.
    pub(crate) fn on<P: Into<PathBuf>>(
        action: &'static str,
        path: P,
    ) -> impl FnOnce(io::Error) -> Self + use<P> {
        let path = path.into();
        move |error| Self::Io { action, path, reason: reason(&error), kind: error.kind(), durable: None }
    }

    /// For `map_err`: the error of doing `action` on `path` on the way to a file that is not there yet. A full disk leaves
    /// nothing in doubt then.
    pub(crate) fn making<P: Into<PathBuf>>(
        action: &'static str,
        path: P,
    ) -> impl FnOnce(io::Error) -> Self + use<P> {
        let path = path.into();
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { action, path, reason: reason(&error), durable: None }
            }
            _ => Self::on(action, path)(error),
        }
    }

    /// The same, said of a stream that is durable up to `position`.
    fn after(mut self, position: Lsn) -> Self {
        if let Self::Io { durable, .. } | Self::NoSpace { durable, .. } = &mut self {
            durable.get_or_insert(position);
        }
        self
    }
}

/// "(os error 28)" says nothing that the words before it do not.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn durable_up_to(position: Option<Lsn>) -> String {
    position.map_or_else(String::new, |position| format!("; WAL is durable up to {position} and no further"))
}

/// Hears how far the archive is. Called from whichever thread got it there.
pub(crate) trait Observer: Send + Sync + 'static {
    /// Everything before `position` has been handed to the file system.
    fn written(&self, position: Lsn);
    /// Everything before `position` is durable, names included. May be heard of before it is heard to be written.
    fn durable(&self, position: Lsn);
    /// The archive has failed and will take no more; its error is for the receiving task to pick up.
    fn failed(&self);
}
