//! What can go wrong in reading a WAL directory.

use std::io;
use std::path::{Path, PathBuf};

use wal::{HistoryError, Lsn, TimelineId};

use super::ControlFileError;

/// Why a WAL directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WalDirError {
    /// A file or the directory could not be read.
    #[error("could not read \"{}\": {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system, or the decompressor, said.
        source: io::Error,
    },
    /// No file there has the segment: never received, or removed (PostgreSQL's 58P01).
    #[error("requested WAL segment {name} has already been removed")]
    MissingSegment {
        /// What the segment's file would be called.
        name: String,
    },
    /// A file called complete ends before its segment does.
    #[error("WAL segment file \"{}\" ends at {end}, before the segment does", path.display())]
    ShortSegment {
        /// The file.
        path: PathBuf,
        /// The first position it lacks.
        end: Lsn,
    },
    /// A timeline that has segments has no history file.
    #[error("history file \"{}\" of timeline {timeline} is missing", path.display())]
    MissingHistory {
        /// Whose.
        timeline: TimelineId,
        /// Where it should be.
        path: PathBuf,
    },
    /// A history file makes no sense.
    #[error("file \"{}\": {source}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: HistoryError,
    },
    /// The control file beside a PostgreSQL server's `pg_wal` cannot be used.
    #[error("file \"{}\": {source}", path.display())]
    Control {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ControlFileError,
    },
}

impl WalDirError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
