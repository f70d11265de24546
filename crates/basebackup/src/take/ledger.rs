//! What was received, held against what the manifest says was sent.

use std::collections::HashMap;

use crate::RelativePath;
use crate::manifest::{Checksum, ChecksumAlgorithm, Hasher, Manifest};

/// The files received so far, with their sizes and checksums.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    algorithm: Option<ChecksumAlgorithm>,
    files: HashMap<RelativePath, Received>,
}

#[derive(Debug)]
struct Received {
    size: u64,
    checksum: Option<Checksum>,
}

/// How a backup differs from its manifest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Difference {
    /// Listed, but never sent.
    #[error("\"{0}\" is present in the manifest but was not received")]
    Missing(RelativePath),
    /// Sent, but not listed.
    #[error("\"{0}\" was received but is not in the manifest")]
    Extra(RelativePath),
    /// Not as long as listed.
    #[error("\"{path}\" has size {received} but size {listed} in the manifest")]
    Size {
        /// The file.
        path: RelativePath,
        /// What arrived.
        received: u64,
        /// What the manifest says.
        listed: u64,
    },
    /// Not the same bytes as listed.
    #[error("checksum mismatch for file \"{0}\"")]
    Checksum(RelativePath),
}

impl Ledger {
    /// An empty ledger that computes checksums by `algorithm`, or none.
    pub(super) fn new(algorithm: Option<ChecksumAlgorithm>) -> Self {
        Self { algorithm, files: HashMap::new() }
    }

    /// For the checksum of a file that begins.
    pub(super) fn hasher(&self) -> Option<Hasher> {
        self.algorithm.map(ChecksumAlgorithm::hasher)
    }

    /// Notes a complete file; false if there was one of that name before.
    pub(super) fn record(&mut self, path: RelativePath, size: u64, hasher: Option<Hasher>) -> bool {
        let received = Received { size, checksum: hasher.map(Hasher::finish) };
        self.files.insert(path, received).is_none()
    }

    /// Everything in which the files received differ from `manifest`.
    pub(super) fn compare(&self, manifest: &Manifest) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut listed = HashMap::with_capacity(manifest.files.len());
        for entry in &manifest.files {
            listed.insert(&entry.path, ());
            let path = entry.path.clone();
            match self.files.get(&entry.path) {
                None => differences.push(Difference::Missing(path)),
                Some(received) if received.size != entry.size => {
                    differences.push(Difference::Size { path, received: received.size, listed: entry.size });
                }
                Some(received) if received.checksum != entry.checksum => {
                    differences.push(Difference::Checksum(path));
                }
                Some(_) => {}
            }
        }
        // WAL that the server added to the archive is the WAL ranges' concern.
        let extra = self.files.keys().filter(|path| !path.is_within(b"pg_wal") && !listed.contains_key(path));
        let mut extra: Vec<_> = extra.cloned().collect();
        extra.sort();
        differences.extend(extra.into_iter().map(Difference::Extra));
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::FileEntry;

    fn path(name: &str) -> RelativePath {
        RelativePath::new(name.as_bytes()).unwrap()
    }

    fn ledger(files: &[(&str, &[u8])]) -> Ledger {
        let mut ledger = Ledger::new(Some(ChecksumAlgorithm::Crc32c));
        for (name, bytes) in files {
            let mut hasher = ledger.hasher();
            hasher.as_mut().unwrap().update(bytes);
            assert!(ledger.record(path(name), bytes.len() as u64, hasher));
        }
        ledger
    }

    fn manifest(files: &[(&str, &[u8])]) -> Manifest {
        let entry = |(name, bytes): &(&str, &[u8])| {
            let mut hasher = ChecksumAlgorithm::Crc32c.hasher();
            hasher.update(bytes);
            FileEntry {
                path: path(name),
                encoded: false,
                size: bytes.len() as u64,
                last_modified: String::new(),
                checksum: Some(hasher.finish()),
            }
        };
        Manifest { system_id: None, files: files.iter().map(entry).collect(), wal_ranges: Vec::new() }
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let ledger =
            ledger(&[("same", b"1"), ("long", b"12"), ("other", b"1"), ("extra", b""), ("pg_wal/x", b"")]);
        let manifest = manifest(&[("same", b"1"), ("long", b"1"), ("other", b"2"), ("missing", b"")]);
        assert_eq!(
            ledger.compare(&manifest),
            [
                Difference::Size { path: path("long"), received: 2, listed: 1 },
                Difference::Checksum(path("other")),
                Difference::Missing(path("missing")),
                Difference::Extra(path("extra")),
            ]
        );
    }

    #[test]
    fn a_file_sent_twice_is_noticed() {
        let mut ledger = ledger(&[("a", b"")]);
        assert!(!ledger.record(path("a"), 0, None));
    }
}
