//! Finding out whose a directory is.

use std::io;
use std::path::Path;

use disk::{DirEntry, Disk, OpenMode, read_file};
use wal::page::first_record_position;
use wal::{SegmentNo, SegmentSize};

use super::{EARLIER_CATALOG_VERSION, FORMATS_FROM, FORMATS_TO, Owner};
use crate::waldir::{ClusterState, ControlFile, ControlFileError, Listing};

/// The first file of walwriter's catalogue; `pg_class` is there in PostgreSQL's directories.
pub(super) const CATALOGUE: &str = "base/5/1259";
/// The files of what walwriter's directories begin with: the registry of trees and the catalogue.
const FIRST_TREES: [&str; 2] = ["1214", "1259"];
/// Where the magic and the version of a tree's first page are, and what they are.
const TREE_MAGIC_AT: u64 = 24;
const TREE_MAGIC: [u8; 8] = *b"WTRE\x01\0\0\0";
/// A file of each database of PostgreSQL's, and none of walwriter's.
const POSTGRES_MAP: &str = "global/pg_filenode.map";

pub(super) const CONTROL: &str = "global/pg_control";
const UNFINISHED_CONTROL: &str = "global/pg_control.unfinished";
const MAX_VERSION_LEN: usize = 64;

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
        let control = match ControlFile::read(self.disk, &self.path.join(CONTROL))? {
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

    fn has(&self, name: &str) -> io::Result<bool> {
        match self.disk.exists(&self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            other => other,
        }
    }
}
