//! Whose a directory is, told from what is in it, before anything is done to it.
//!
//! Data directories of PostgreSQL and of walwriter look alike from the outside, and each destroys the other's. What tells
//! them apart is the catalogue version in `global/pg_control`: PostgreSQL's are dates (`YYYYMMDDN`, nine digits),
//! walwriter's are 1,500,000,000 and the number of its formats, so that PostgreSQL refuses them in its own words, and
//! `pg_controldata`, `pg_checksums` and `pg_waldump` work on both. Directories that walwriter made before it had numbers say
//! there what PostgreSQL 15's do; they are known by the first page of their catalogue.
//!
//! Nothing here writes. Source: `ReadControlFile` in `access/transam/xlog.c`, `catalog/catversion.h`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use disk::{DirEntry, Disk, OpenMode, read_file};
use wal::page::first_record_position;
use wal::{SegmentNo, SegmentSize};

use super::{ClusterState, ControlFile, ControlFileError, Listing};

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

/// The first file of walwriter's catalogue; `pg_class` is there in PostgreSQL's directories.
const CATALOGUE: &str = "base/5/1259";
/// The files of what walwriter's directories begin with: the registry of trees and the catalogue.
const FIRST_TREES: [&str; 2] = ["1214", "1259"];
/// Where the magic and the version of a tree's first page are, and what they are.
const TREE_MAGIC_AT: u64 = 24;
const TREE_MAGIC: [u8; 8] = *b"WTRE\x01\0\0\0";
/// A file of each database of PostgreSQL's, and none of walwriter's.
const POSTGRES_MAP: &str = "global/pg_filenode.map";

const CONTROL: &str = "global/pg_control";
const UNFINISHED_CONTROL: &str = "global/pg_control.unfinished";
const MAX_CONTROL_LEN: usize = 64 << 10;
const MAX_VERSION_LEN: usize = 64;
/// A control file that does not fit its checksum may be one that is just being written.
const ATTEMPTS: u32 = 5;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

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

    /// What to do for whoever wanted walwriter to open it.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Missing | Self::Empty => "make a data directory with \"walwriter init\"",
            Self::Walwriter { .. } | Self::EarlierWalwriter => "use the version of walwriter that made it",
            Self::Postgres { .. } => "serve it with that PostgreSQL; walwriter would destroy it",
            Self::Overwritten => {
                "restore it from a backup; if it has been walwriter's ever since and nothing of PostgreSQL's is missed, remove \
                 \"global/pg_filenode.map\""
            }
            Self::DamagedCatalogue | Self::DamagedControlFile { .. } => {
                "restore it from a base backup, or make it anew from its leader"
            }
            Self::UnfinishedInit | Self::UnfinishedBackup => "remove it and begin anew",
            Self::ServersWal(_) => "name the data directory itself",
            Self::Archive => "a base backup is needed to restore it to",
            Self::TarBackup => "extract it first",
            Self::Other => "name a directory that \"walwriter init\" or a base backup has made",
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |version: &str| match version {
            "" => "PostgreSQL".to_owned(),
            version => format!("PostgreSQL {version}"),
        };
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::Empty => f.write_str("is empty"),
            Self::Walwriter { format: FORMAT } => f.write_str("is a data directory of walwriter"),
            Self::Walwriter { format } => {
                write!(
                    f,
                    "is a data directory of walwriter in format {format}, and format {FORMAT} is known here"
                )
            }
            Self::EarlierWalwriter => f.write_str("is a data directory of an earlier walwriter"),
            Self::Postgres { version } => write!(f, "is a data directory of {}", of(version)),
            Self::Overwritten => f.write_str(
                "is a data directory of PostgreSQL 15 over whose catalogue an earlier walwriter has written",
            ),
            Self::DamagedCatalogue => write!(
                f,
                "is a data directory whose catalogue is missing or damaged: file \"{CATALOGUE}\" is not one of walwriter's"
            ),
            Self::DamagedControlFile { version, is_postgres: true, reason } => {
                write!(f, "is a data directory of {}, and its {CONTROL} is damaged: {reason}", of(version))
            }
            Self::DamagedControlFile { reason, .. } => {
                write!(f, "is a data directory, and its {CONTROL} is damaged: {reason}")
            }
            Self::UnfinishedInit => {
                write!(f, "is a data directory whose making did not finish: it has no {CONTROL}")
            }
            Self::UnfinishedBackup => f.write_str("is a base backup that was not completed"),
            Self::ServersWal(owner) if **owner == Self::Other => f.write_str("is the pg_wal of a server"),
            Self::ServersWal(owner) => write!(f, "is the pg_wal of what {owner}"),
            Self::Archive => f.write_str("is an archive of WAL"),
            Self::TarBackup => f.write_str("is a base backup in tar format"),
            Self::Other => f.write_str("is not a data directory"),
        }
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

/// Whose the directory `path` is. Reads a few small files, and writes nothing.
///
/// # Errors
/// The system's, but for what is not there.
pub fn owner_of(disk: &dyn Disk, path: &Path) -> io::Result<Owner> {
    let entries = match disk.read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Owner::Missing),
        other => other?,
    };
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    if has("PG_VERSION") || has("global") {
        return Directory { disk, path }.owner();
    }
    if let Some(owner) = owner_around(disk, path)? {
        return Ok(Owner::ServersWal(Box::new(owner)));
    }
    // A server's that is elsewhere, behind a symbolic link: receivers and archives make no such directory.
    if has("archive_status") {
        return Ok(Owner::ServersWal(Box::new(Owner::Other)));
    }
    Ok(if entries.iter().all(|entry| entry.name == "lost+found") {
        Owner::Empty
    } else if holds_wal(&entries) {
        Owner::Archive
    } else if has("backup_manifest") || entries.iter().any(|entry| entry.name.starts_with("base.tar")) {
        Owner::TarBackup
    } else {
        Owner::Other
    })
}

/// The owner of the data directory whose `pg_wal` is `path`, by name; `None` if it is no such directory.
fn owner_around(disk: &dyn Disk, path: &Path) -> io::Result<Option<Owner>> {
    let absolute = std::path::absolute(path)?;
    let (Some("pg_wal" | "pg_xlog"), Some(parent)) =
        (absolute.file_name().and_then(|name| name.to_str()), absolute.parent())
    else {
        return Ok(None);
    };
    if !disk.exists(&parent.join("PG_VERSION"))? && !disk.exists(&parent.join(CONTROL))? {
        return Ok(None);
    }
    Directory { disk, path: parent }.owner().map(Some)
}

fn holds_wal(entries: &[DirEntry]) -> bool {
    let Ok(smallest) = SegmentSize::new(1 << 20) else { return false };
    let files = entries.iter().filter(|entry| !entry.is_dir);
    let listing = Listing::new(files.map(|entry| (entry.name.as_str(), entry.len)), smallest);
    let ours = |entry: &DirEntry| entry.name.starts_with("walship.");
    !listing.segments.is_empty() || !listing.histories.is_empty() || entries.iter().any(ours)
}

/// What may be a data directory.
struct Directory<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
}

impl Directory<'_> {
    fn owner(&self) -> io::Result<Owner> {
        let version = self.version()?;
        let control = match self.control_file()? {
            Some(Ok(control)) => control,
            Some(Err(error)) => return self.without_control_file(version, &error),
            None if self.has(UNFINISHED_CONTROL)? => return Ok(Owner::UnfinishedBackup),
            // A directory that only happens to have one called "global".
            None if version.is_empty() && !self.has("base")? => return Ok(Owner::Other),
            None => return Ok(Owner::UnfinishedInit),
        };
        match control.catalog_version {
            version @ FORMATS_FROM..=FORMATS_TO => Ok(Owner::Walwriter { format: version - FORMATS_FROM }),
            EARLIER_CATALOG_VERSION => self.earlier(version, &control),
            _ => Ok(Owner::Postgres { version }),
        }
    }

    /// The catalogue version is PostgreSQL 15's, and used to be walwriter's.
    fn earlier(&self, version: String, control: &ControlFile) -> io::Result<Owner> {
        let is_postgres = self.looks_like_postgres()?;
        Ok(match (self.has_our_catalogue()?, is_postgres) {
            (true, false) => Owner::EarlierWalwriter,
            (true, true) => Owner::Overwritten,
            (false, true) => Owner::Postgres { version },
            (false, false) if self.is_before_its_first_checkpoint(control)? => Owner::EarlierWalwriter,
            (false, false) => Owner::DamagedCatalogue,
        })
    }

    /// The bytes that a catalogue's first page begins with never change, so that a page which a power cut or a base backup has
    /// caught half-written has them too.
    fn has_our_catalogue(&self) -> io::Result<bool> {
        let mut magic = [0; TREE_MAGIC.len()];
        match self.disk.open(&self.path.join(CATALOGUE), OpenMode::Read) {
            Ok(file) => match file.read_exact_at(&mut magic, TREE_MAGIC_AT) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
                other => other.map(|()| magic == TREE_MAGIC),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Until its first checkpoint the catalogue of an earlier walwriter's directory may be in its log alone, which begins with
    /// the making of it; before it was ever served, nowhere.
    fn is_before_its_first_checkpoint(&self, control: &ControlFile) -> io::Result<bool> {
        let size = control.segment_size;
        let first = first_record_position(size.start_of(SegmentNo::new(1)), size);
        if control.checkpoint != first || control.redo != first {
            return Ok(false);
        }
        if control.state != ClusterState::ShutDown {
            return Ok(true);
        }
        // Whoever was marking it may have been interrupted while it made the first trees.
        let holds_rows = |entry: &DirEntry| {
            entry.name.starts_with(|c: char| c.is_ascii_digit())
                && !FIRST_TREES.contains(&entry.name.as_str())
        };
        Ok(!self.disk.read_dir(&self.path.join("base/5"))?.iter().any(holds_rows))
    }

    fn looks_like_postgres(&self) -> io::Result<bool> {
        // Every PostgreSQL server has template1, whose number is 1.
        Ok(self.has(POSTGRES_MAP)? || self.has("base/1")?)
    }

    fn without_control_file(&self, version: String, error: &ControlFileError) -> io::Result<Owner> {
        if let ControlFileError::Version(_) = error
            && self.looks_like_postgres()?
        {
            return Ok(Owner::Postgres { version });
        }
        let is_postgres = self.looks_like_postgres()?;
        Ok(Owner::DamagedControlFile { version, is_postgres, reason: error.to_string() })
    }

    /// What `PG_VERSION` says, in one word; empty if there is none.
    fn version(&self) -> io::Result<String> {
        match read_file(self.disk, &self.path.join("PG_VERSION"), MAX_VERSION_LEN) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                Ok(String::new())
            }
            Err(error) => Err(error),
        }
    }

    fn control_file(&self) -> io::Result<Option<Result<ControlFile, ControlFileError>>> {
        let path = self.path.join(CONTROL);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let bytes = match read_file(self.disk, &path, MAX_CONTROL_LEN) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Ok(Some(Err(ControlFileError::Long)));
                }
                other => other?,
            };
            match ControlFile::parse(&bytes) {
                Err(ControlFileError::Checksum { .. }) if attempts < ATTEMPTS => {
                    thread::sleep(BETWEEN_ATTEMPTS);
                }
                parsed => return Ok(Some(parsed)),
            }
        }
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        match self.disk.exists(&self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            other => other,
        }
    }
}
