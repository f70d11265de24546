use std::collections::BTreeSet;

use super::*;
use crate::manifest::{ChecksumAlgorithm, FileEntry};

/// A backup without WAL ranges, in a directory of its own.
struct Backup(tempfile::TempDir);

impl Backup {
    fn new(algorithm: ChecksumAlgorithm, files: &[(&str, &[u8])]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let entry = |(name, bytes): &(&str, &[u8])| {
            let path = temp.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
            let mut hasher = algorithm.hasher();
            hasher.update(bytes);
            FileEntry {
                path: RelativePath::new(name.as_bytes()).unwrap(),
                encoded: false,
                size: bytes.len() as u64,
                last_modified: String::new(),
                checksum: Some(hasher.finish()),
            }
        };
        let files = files.iter().map(entry).collect();
        let manifest = Manifest { system_id: None, files, wal_ranges: Vec::new() };
        fs::write(temp.path().join(manifest::FILE_NAME), manifest.to_bytes()).unwrap();
        Self(temp)
    }

    fn options(&self) -> Options {
        Options {
            directory: self.0.path().to_owned(),
            manifest: None,
            wal_directory: None,
            ignore: Vec::new(),
            skip_checksums: false,
            no_parse_wal: false,
            exit_on_error: false,
            format: None,
            jobs: Some(3),
        }
    }

    fn problems(&self, options: &Options) -> BTreeSet<String> {
        verify(options).unwrap().problems.iter().map(ToString::to_string).collect()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn files_larger_than_a_piece_of_work_are_put_together_again() {
    let large: Vec<u8> = (0..70_000_000u32).map(|n| (n ^ (n >> 9)) as u8).collect();
    for algorithm in [ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Sha256] {
        let backup = Backup::new(algorithm, &[("large", &large), ("empty", b""), ("d/small", b"1")]);
        let report = verify(&backup.options()).unwrap();
        assert!(report.verified, "{:?}", report.problems);
        assert_eq!((report.files, report.bytes_read), (3, 70_000_001));
        let mut changed = large.clone();
        changed[69_999_999] ^= 1;
        backup.write("large", &changed);
        assert_eq!(backup.problems(&backup.options()), set(&["checksum mismatch for file \"large\""]));
    }
}

#[test]
fn all_problems_are_listed() {
    let backup =
        Backup::new(ChecksumAlgorithm::Crc32c, &[("a", b"1"), ("b", b"2"), ("c", b"3"), ("d/e", b"4")]);
    backup.write("a", b"x");
    backup.write("b", b"22");
    fs::remove_file(backup.0.path().join("c")).unwrap();
    backup.write("d/extra", b"");
    backup.write("standby.signal", b"");
    backup.write("postgresql.auto.conf", b"anything");
    fs::create_dir(backup.0.path().join("pg_wal")).unwrap();
    backup.write("pg_wal/x", b"");
    let expected = [
        "checksum mismatch for file \"a\"",
        "\"b\" has size 2 on disk but size 1 in the manifest",
        "\"c\" is present in the manifest but not on disk",
        "\"d/extra\" is present on disk but not in the manifest",
    ];
    assert_eq!(backup.problems(&backup.options()), set(&expected));
    let ignoring =
        Options { ignore: vec!["a".into(), "b".into(), "c".into(), "d/".into()], ..backup.options() };
    assert_eq!(backup.problems(&ignoring), set(&[]));
    let first = Options { exit_on_error: true, ..backup.options() };
    assert_eq!(backup.problems(&first).len(), 1);
    let names = Options { skip_checksums: true, ..backup.options() };
    assert!(!backup.problems(&names).contains(expected[0]));
}

#[test]
fn links_may_not_lead_in_circles() {
    let backup = Backup::new(ChecksumAlgorithm::Crc32c, &[("d/a", b"1")]);
    std::os::unix::fs::symlink(backup.0.path().join("d"), backup.0.path().join("d/again")).unwrap();
    assert!(verify(&backup.options()).is_ok());
}

#[test]
fn missing_wal_is_named() {
    let backup = Backup::new(ChecksumAlgorithm::Crc32c, &[("a", b"1")]);
    let bytes = fs::read(backup.0.path().join(manifest::FILE_NAME)).unwrap();
    let mut manifest = Manifest::parse(&bytes).unwrap();
    let (start, end) = (wal::Lsn::new(0x200_0028), wal::Lsn::new(0x200_0100));
    manifest.wal_ranges.push(manifest::WalRange { timeline: wal::TimelineId::FIRST, start, end });
    backup.write(manifest::FILE_NAME, &manifest.to_bytes());
    fs::create_dir(backup.0.path().join("pg_wal")).unwrap();
    backup.write("pg_wal/000000010000000000000001", &vec![0; 16 << 20]);
    assert_eq!(
        backup.problems(&backup.options()),
        set(&["WAL parsing failed for timeline 1: WAL segment 000000010000000000000002 is missing"])
    );
    backup.write("pg_wal/000000010000000000000002", &vec![0; 16 << 20]);
    let problems = backup.problems(&backup.options());
    assert!(
        problems.first().unwrap().starts_with("WAL parsing failed for timeline 1: invalid WAL at 0/2000000")
    );
    let without = Options { no_parse_wal: true, ..backup.options() };
    assert_eq!(backup.problems(&without), set(&[]));
}
