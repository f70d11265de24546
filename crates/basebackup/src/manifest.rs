//! The `backup_manifest` file: what a backup consists of.
//!
//! JSON with a fixed layout, PostgreSQL's `backup/backup_manifest.c`: one line per file with size, modification time and
//! checksum, the WAL ranges that are needed to make the backup consistent, and as its last line the SHA-256 of
//! everything before that line. Version 2 (PostgreSQL 17 and later) also names the system. [`Manifest::parse`] is as
//! strict as `common/parse_manifest.c`; [`Manifest::to_bytes`] gives the server's bytes exactly.

mod checksum;
mod parse;
mod write;

pub use checksum::{Checksum, ChecksumAlgorithm, Hasher, UnknownAlgorithm};
pub use parse::ManifestError;
use wal::{Lsn, SystemId, TimelineId};

use crate::RelativePath;

/// The manifest's name in a backup.
pub const FILE_NAME: &str = "backup_manifest";

/// A manifest taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The system the backup was taken of: in manifests of version 2, which PostgreSQL writes since 17. Without one it
    /// is a version 1 manifest.
    pub system_id: Option<SystemId>,
    /// All files but the manifest and what lies in `pg_wal`; no path twice.
    pub files: Vec<FileEntry>,
    /// The WAL needed to reach consistency, the newest timeline first.
    pub wal_ranges: Vec<WalRange>,
}

/// One file of a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileEntry {
    /// Relative to the data directory; a tablespace's files are below `pg_tblspc/OID`.
    pub path: RelativePath,
    /// Whether the path is written in hexadecimal, as a path that is not UTF-8 has to be.
    pub encoded: bool,
    /// In bytes.
    pub size: u64,
    /// When it was last modified, as the server wrote it: `2026-11-21 22:42:22 GMT`.
    pub last_modified: String,
    /// `None` in a manifest without checksums.
    pub checksum: Option<Checksum>,
}

/// A piece of one timeline's WAL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalRange {
    /// The timeline.
    pub timeline: TimelineId,
    /// Where reading starts: the redo position, or the switch point that began the timeline.
    pub start: Lsn,
    /// Where it ends: the backup's stop position, or the next timeline's switch point.
    pub end: Lsn,
}

impl Manifest {
    /// The version number the manifest carries.
    pub fn version(&self) -> u32 {
        if self.system_id.is_some() { 2 } else { 1 }
    }
}
