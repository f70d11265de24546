//! What can be wrong with a backup, in pg_verifybackup's words.

use serde::{Serialize, Serializer};

use crate::RelativePath;

/// Something that is wrong with a backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A file or directory that could not be used; names itself.
    #[error("{error}")]
    Unreadable {
        /// What happened to which file.
        error: String,
    },
    /// Neither a file nor a directory.
    #[error("\"{0}\" is not a file or directory")]
    NotAFile(RelativePath),
    /// A file that is not part of the backup.
    #[error("\"{0}\" is present on disk but not in the manifest")]
    Extra(RelativePath),
    /// A file that is gone.
    #[error("\"{0}\" is present in the manifest but not on disk")]
    Missing(RelativePath),
    /// A file of another length.
    #[error("\"{path}\" has size {actual} on disk but size {expected} in the manifest")]
    Size {
        /// The file.
        path: RelativePath,
        /// Its length in bytes.
        actual: u64,
        /// The length it should have.
        expected: u64,
    },
    /// A file that changed its length while it was read.
    #[error("file \"{path}\" should contain {expected} bytes, but read {actual} bytes")]
    ShortRead {
        /// The file.
        path: RelativePath,
        /// What was read of it, in bytes.
        actual: u64,
        /// The length it should have.
        expected: u64,
    },
    /// A file with other contents.
    #[error("checksum mismatch for file \"{0}\"")]
    Checksum(RelativePath),
    /// The control file is damaged, or another cluster's.
    #[error("\"global/pg_control\": {0}")]
    ControlFile(String),
    /// An archive that cannot be read.
    #[error("archive \"{archive}\": {error}")]
    Archive {
        /// Its name.
        archive: String,
        /// What is wrong.
        error: String,
    },
    /// A file among the archives that does not belong there.
    #[error("file \"{0}\" is not expected in a tar format backup")]
    UnexpectedArchive(String),
    /// WAL that the backup needs and cannot have.
    #[error("WAL parsing failed for timeline {timeline}: {error}")]
    Wal {
        /// On which timeline.
        timeline: u32,
        /// What is wrong, with its position or file.
        error: String,
    },
}

impl Problem {
    /// Sorts problems: by kind of object, then by name.
    pub(super) fn rank(&self) -> (u8, String) {
        match self {
            Self::Unreadable { error } => (0, error.clone()),
            Self::NotAFile(path)
            | Self::Extra(path)
            | Self::Missing(path)
            | Self::Checksum(path)
            | Self::Size { path, .. }
            | Self::ShortRead { path, .. } => (1, path.to_string()),
            Self::ControlFile(_) => (2, String::new()),
            Self::Archive { archive, .. } | Self::UnexpectedArchive(archive) => (3, archive.clone()),
            Self::Wal { .. } => (4, String::new()),
        }
    }
}

impl Serialize for Problem {
    /// As its text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
