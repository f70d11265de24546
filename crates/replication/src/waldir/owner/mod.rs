//! Whose a directory is, told from what is in it, before anything is done to it.
//!
//! Data directories of PostgreSQL and of walwriter look alike from the outside, and each destroys the other's. What tells
//! them apart is the catalogue version in `global/pg_control`: PostgreSQL's are dates (`YYYYMMDDN`, nine digits),
//! walwriter's are 1,500,000,000 and the number of its formats, so that PostgreSQL refuses them in its own words, and
//! `pg_controldata`, `pg_checksums` and `pg_waldump` work on both. Directories that walwriter made before it had numbers say
//! there what PostgreSQL 15's do; they are known by the first page of their catalogue.
//!
//! Here is who it can be; [`owner_of`] finds out, and `sentence` puts it in words.
//!
//! Nothing here writes. Source: `ReadControlFile` in `access/transam/xlog.c`, `catalog/catversion.h`.

mod detection;
mod sentence;

use std::io;
use std::path::{Path, PathBuf};

use disk::Disk;

pub use detection::owner_of;

/// The number of walwriter's formats: pages, trees, the rows of its catalogue and its records. Whoever changes one of them in
/// a way that earlier versions cannot read raises it.
pub const FORMAT: u32 = 1;

/// The catalogue version of walwriter's directories.
pub const CATALOG_VERSION: u32 = FORMATS_FROM + FORMAT;

/// PostgreSQL 15's, which walwriter's directories had before [`FORMAT`] was written there.
pub const EARLIER_CATALOG_VERSION: u32 = 202_209_061;

/// What walwriter's catalogue versions begin with. PostgreSQL's have a digit less until the year 10000.
const FORMATS_FROM: u32 = 1_500_000_000;
const FORMATS_TO: u32 = 1_599_999_999;

/// Whose a directory is. Displayed, it goes on a sentence that has named the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody's: it does not exist.
    Missing,
    /// Nobody's: there is nothing in it.
    Empty,
    /// walwriter's, in its formats of this number.
    Walwriter {
        /// See [`FORMAT`].
        format: u32,
    },
    /// walwriter's, from before its formats were numbered: the same as format 1 in everything else.
    EarlierWalwriter,
    /// PostgreSQL's.
    Postgres {
        /// What `PG_VERSION` says; empty if it says nothing.
        version: String,
    },
    /// PostgreSQL 15's, and a walwriter that did not ask has put its own catalogue over theirs.
    Overwritten,
    /// It would be walwriter's, but its catalogue is gone or damaged.
    DamagedCatalogue,
    /// A data directory without a control file that could be read.
    DamagedControlFile {
        /// What `PG_VERSION` says; empty if it says nothing.
        version: String,
        /// Whether the rest looks like PostgreSQL's.
        is_postgres: bool,
        /// What is wrong.
        reason: String,
    },
    /// A data directory whose making ended before its control file was written.
    UnfinishedInit,
    /// A base backup that ended before its control file got its name.
    UnfinishedBackup,
    /// The `pg_wal` of a data directory, whose owner this is.
    ServersWal(Box<Self>),
    /// An archive of WAL.
    Archive,
    /// A base backup in tar format.
    TarBackup,
    /// Something else.
    Other,
}

impl Owner {
    /// Whether a walwriter of this version can open it.
    pub const fn is_walwriters(&self) -> bool {
        matches!(self, Self::Walwriter { format: FORMAT } | Self::EarlierWalwriter)
    }

    /// Whether it is a data directory, complete or not, or part of one.
    pub const fn is_data_directory(&self) -> bool {
        !matches!(self, Self::Missing | Self::Empty | Self::Archive | Self::TarBackup | Self::Other)
    }
}

/// The number of walwriter's formats in a control file's catalogue version, if it is one that is not known here.
pub fn unknown_format(catalog_version: u32) -> Option<u32> {
    let format = catalog_version.checked_sub(FORMATS_FROM).filter(|_| catalog_version <= FORMATS_TO);
    format.filter(|format| *format != FORMAT)
}

/// A directory that is not walwriter's, or of a walwriter that knows more.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// Somebody else's.
    #[error("directory \"{}\" {owner}; {}", path.display(), owner.remedy())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: Owner,
    },
    /// It cannot be told.
    #[error("could not read \"{}\"", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Whose the directory `path` is, which must be one that this version of walwriter can open.
///
/// # Errors
/// It is somebody else's, or cannot be read; in one line, with what to do.
pub fn require_walwriters(disk: &dyn Disk, path: &Path) -> Result<Owner, OwnerError> {
    let owner = owner_of(disk, path).map_err(|source| OwnerError::Io { path: path.to_owned(), source })?;
    if owner.is_walwriters() { Ok(owner) } else { Err(OwnerError::Foreign { path: path.to_owned(), owner }) }
}
