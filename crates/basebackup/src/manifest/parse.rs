//! Reading a manifest.

use std::collections::HashSet;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use wal::{Lsn, SystemId, TimelineId};

use super::checksum::{Checksum, ChecksumAlgorithm, decode_hex, encode_hex};
use super::{FileEntry, Manifest, WalRange};
use crate::{InvalidPath, RelativePath};

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Fewer than the two lines any manifest has.
    #[error("expected at least 2 lines")]
    TooShort,
    /// Cut off, or something was added.
    #[error("last line not newline-terminated")]
    Unterminated,
    /// Not JSON, or not the keys and types of a manifest.
    #[error("{0}")]
    Syntax(#[from] serde_json::Error),
    /// The first key is not the version.
    #[error("expected version indicator")]
    NoVersionFirst,
    /// A version that does not exist, or keys of another version.
    #[error("unexpected manifest version")]
    Version,
    /// The last line is not the checksum's.
    #[error("the last line is not the manifest checksum")]
    ChecksumNotLast,
    /// The manifest was changed after it was written.
    #[error("manifest checksum mismatch: it says {expected}, its contents give {actual}")]
    ChecksumMismatch {
        /// In the last line.
        expected: String,
        /// Of the lines before it.
        actual: String,
    },
    /// A file without a path, or with two.
    #[error("each file needs either a path name or an encoded path name")]
    PathKeys,
    /// An encoded path that is not hexadecimal.
    #[error("could not decode file name \"{0}\"")]
    EncodedPath(String),
    /// A path that leads out of the backup.
    #[error(transparent)]
    UnsafePath(#[from] InvalidPath),
    /// A path that is listed twice.
    #[error("duplicate path name in backup manifest: \"{0}\"")]
    DuplicatePath(RelativePath),
    /// Checksum without algorithm, the reverse, an unknown one, or wrong digits.
    #[error("invalid checksum for file \"{0}\"")]
    FileChecksum(RelativePath),
    /// A WAL range that is none.
    #[error("invalid WAL range on timeline {timeline}: \"{start}\" to \"{end}\"")]
    WalRange {
        /// As given.
        timeline: u32,
        /// As given.
        start: String,
        /// As given.
        end: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    #[serde(rename = "PostgreSQL-Backup-Manifest-Version")]
    version: u32,
    #[serde(rename = "System-Identifier")]
    system_id: Option<u64>,
    #[serde(rename = "Files")]
    files: Vec<RawFile>,
    #[serde(rename = "WAL-Ranges")]
    wal_ranges: Vec<RawRange>,
    #[serde(rename = "Manifest-Checksum")]
    checksum: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Last-Modified")]
    last_modified: String,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRange {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: String,
    #[serde(rename = "End-LSN")]
    end: String,
}

impl Manifest {
    /// Reads a whole manifest, its own checksum included. Memory stays proportional to `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let actual = own_checksum(bytes)?;
        let raw: RawManifest = serde_json::from_slice(bytes)?;
        let first_key = bytes.iter().position(|byte| *byte == b'"').and_then(|at| bytes.get(at + 1..));
        if !first_key.is_some_and(|key| key.starts_with(b"PostgreSQL-Backup-Manifest-Version\"")) {
            return Err(ManifestError::NoVersionFirst);
        }
        match (raw.version, raw.system_id) {
            (1, None) | (2, Some(_)) => {}
            _ => return Err(ManifestError::Version),
        }
        if !raw.checksum.eq_ignore_ascii_case(&actual) {
            return Err(ManifestError::ChecksumMismatch { expected: raw.checksum, actual });
        }
        let files = raw.files.into_iter().map(FileEntry::try_from).collect::<Result<Vec<_>, _>>()?;
        let mut seen = HashSet::with_capacity(files.len());
        if let Some(twice) = files.iter().find(|file| !seen.insert(&file.path)) {
            return Err(ManifestError::DuplicatePath(twice.path.clone()));
        }
        let wal_ranges = raw.wal_ranges.into_iter().map(WalRange::try_from).collect::<Result<_, _>>()?;
        Ok(Self { system_id: raw.system_id.map(SystemId::new), files, wal_ranges })
    }
}

/// The SHA-256 of all lines but the last, which has to be the checksum's (`verify_manifest_checksum`).
fn own_checksum(bytes: &[u8]) -> Result<String, ManifestError> {
    let lines = bytes.strip_suffix(b"\n").ok_or(ManifestError::Unterminated)?;
    let last = lines.iter().rposition(|byte| *byte == b'\n').ok_or(ManifestError::TooShort)? + 1;
    let (covered, last) = lines.split_at(last);
    if !last.starts_with(b"\"Manifest-Checksum\"") {
        return Err(ManifestError::ChecksumNotLast);
    }
    Ok(encode_hex(&Sha256::digest(covered)))
}

impl TryFrom<RawFile> for FileEntry {
    type Error = ManifestError;

    fn try_from(raw: RawFile) -> Result<Self, Self::Error> {
        let (path, encoded) = match (raw.path, raw.encoded_path) {
            (Some(path), None) => (path.into_bytes(), false),
            (None, Some(digits)) => (decode_hex(&digits).ok_or(ManifestError::EncodedPath(digits))?, true),
            _ => return Err(ManifestError::PathKeys),
        };
        let path = RelativePath::new(&path)?;
        let checksum = match (raw.algorithm, raw.checksum) {
            (None, None) => None,
            (Some(algorithm), Some(digits)) => {
                let parsed = algorithm
                    .parse::<ChecksumAlgorithm>()
                    .ok()
                    .and_then(|algorithm| Checksum::from_hex(algorithm, &digits));
                Some(parsed.ok_or_else(|| ManifestError::FileChecksum(path.clone()))?)
            }
            _ => return Err(ManifestError::FileChecksum(path)),
        };
        Ok(Self { path, encoded, size: raw.size, last_modified: raw.last_modified, checksum })
    }
}

impl TryFrom<RawRange> for WalRange {
    type Error = ManifestError;

    fn try_from(raw: RawRange) -> Result<Self, Self::Error> {
        match (raw.start.parse::<Lsn>(), raw.end.parse::<Lsn>()) {
            (Ok(start), Ok(end)) if raw.timeline != 0 && start <= end => {
                Ok(Self { timeline: TimelineId::new(raw.timeline), start, end })
            }
            _ => Err(ManifestError::WalRange { timeline: raw.timeline, start: raw.start, end: raw.end }),
        }
    }
}

#[cfg(test)]
mod tests;
