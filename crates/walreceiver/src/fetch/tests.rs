use std::fs;

use tempfile::TempDir;

use super::*;
use crate::generated::{size, start, wal};

/// Two finished segments and the beginning of a third, and where its last record ends.
fn archive() -> (TempDir, Lsn) {
    let root = tempfile::tempdir().unwrap();
    let mut stream = wal(2_400_000);
    let end = start().saturating_add(stream.len() as u64);
    stream.resize(3 << 20, 0);
    for (offset, part) in stream.chunks(1 << 20).enumerate() {
        let suffix = if offset == 2 { ".partial" } else { "" };
        fs::write(root.path().join(name(offset as u64) + suffix), part).unwrap();
    }
    (root, end)
}

fn name(offset: u64) -> String {
    let number = size().segment_of(start()).as_u64() + offset;
    SegmentNo::new(number).file_name(TimelineId::FIRST, size())
}

fn fetched(root: &TempDir, file: &str) -> Result<Option<Vec<u8>>, FetchError> {
    let target = root.path().join("RECOVERYXLOG");
    let outcome = fetch(&WalDir::on_os(root.path()), file, &target)?;
    Ok((outcome == Fetched::Copied).then(|| fs::read(&target).unwrap()))
}

#[test]
fn a_finished_segment_comes_as_it_is() {
    let (root, _) = archive();
    assert_eq!(fetched(&root, &name(1)).unwrap(), Some(fs::read(root.path().join(name(1))).unwrap()));
}

#[test]
fn an_unfinished_segment_comes_as_far_as_it_is_valid_and_whole_in_size() {
    let (root, end) = archive();
    let path = root.path().join(name(2) + ".partial");
    let mut content = fs::read(&path).unwrap();
    let valid = size().offset_of(end) as usize;
    content[valid + 8..valid + 1000].fill(0x55); // what a torn write may leave behind the end
    fs::write(&path, &content).unwrap();
    content[valid..].fill(0);
    assert_eq!(fetched(&root, &name(2)).unwrap(), Some(content));
}

#[test]
fn absent_files_are_absent_and_strange_names_too() {
    let (root, _) = archive();
    for file in [&*name(3), "00000002.history", "../../etc/passwd", "", "x.backup"] {
        assert_eq!(fetched(&root, file).unwrap(), None, "{file}");
    }
}

#[test]
fn damage_is_an_error_and_leaves_no_target() {
    let (root, _) = archive();
    let path = root.path().join(name(1));
    // In a record that began in the segment before, and in one of its own.
    for at in [100, 700_000] {
        let sound = fs::read(&path).unwrap();
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        let error = fetched(&root, &name(1)).unwrap_err();
        assert!(matches!(error, FetchError::Damaged { .. }), "byte {at}: {error}");
        assert!(!root.path().join("RECOVERYXLOG").exists());
        fs::write(&path, &sound).unwrap();
    }
}

#[test]
fn a_directory_that_is_gone_is_an_error_and_not_the_end_of_the_archive() {
    let root = tempfile::tempdir().unwrap();
    let gone = WalDir::on_os(root.path().join("gone"));
    assert!(fetch(&gone, &name(1), &root.path().join("t")).is_err());
}

#[test]
fn a_target_that_cannot_be_written_is_an_error() {
    let (root, _) = archive();
    let target = root.path().join("none").join("t");
    let error = fetch(&WalDir::on_os(root.path()), &name(1), &target).unwrap_err();
    assert!(error.to_string().starts_with("could not write file"), "{error}");
}
