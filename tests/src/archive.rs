//! Comparing directories of WAL.

use std::path::Path;

/// The names of the files in a directory that belong to the WAL (segments, `.partial`, compressed, `.history`), sorted.
#[track_caller]
pub fn wal_files(directory: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| {
        let stem = name.split('.').next().unwrap_or_default();
        (stem.len() == 24 || name.ends_with(".history"))
            && stem.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    });
    names.sort();
    names
}

/// The names of the finished segments in a directory, sorted.
#[track_caller]
pub fn segments(directory: &Path) -> Vec<String> {
    let mut names = wal_files(directory);
    names.retain(|name| name.len() == 24);
    names
}

/// Insists that two directories hold the same finished segments and history files with the same bytes, and that an
/// unfinished segment, if both have the same one, agrees as far as both have come. Gives the number of finished segments.
#[track_caller]
pub fn assert_identical(ours: &Path, theirs: &Path) -> usize {
    let finished = |directory: &Path| {
        let mut names = wal_files(directory);
        names.retain(|name| !name.contains(".partial"));
        names
    };
    let (our_names, their_names) = (finished(ours), finished(theirs));
    assert_eq!(our_names, their_names, "not the same files in {} and {}", ours.display(), theirs.display());
    for name in &our_names {
        let (our_bytes, their_bytes) =
            (std::fs::read(ours.join(name)).unwrap(), std::fs::read(theirs.join(name)).unwrap());
        assert_same_bytes(name, &our_bytes, &their_bytes);
    }
    for name in wal_files(ours).iter().filter(|name| name.ends_with(".partial")) {
        if let (Ok(our_bytes), Ok(their_bytes)) =
            (std::fs::read(ours.join(name)), std::fs::read(theirs.join(name)))
        {
            let written = |bytes: &[u8]| bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
            let both = written(&our_bytes).min(written(&their_bytes));
            assert_same_bytes(name, &our_bytes[..both], &their_bytes[..both]);
        }
    }
    our_names.iter().filter(|name| name.len() == 24).count()
}

#[track_caller]
fn assert_same_bytes(name: &str, ours: &[u8], theirs: &[u8]) {
    if ours != theirs {
        let first = ours.iter().zip(theirs).position(|(our, their)| our != their);
        let (ours, theirs) = (ours.len(), theirs.len());
        panic!("{name} differs, first at offset {first:?}; lengths {ours} and {theirs}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempRoot;

    const NAME: &str = "000000010000000000000001";

    #[test]
    fn the_same_files_are_identical_and_a_changed_byte_is_not() {
        let root = TempRoot::new("identical");
        let (ours, theirs) = (root.dir("ours"), root.dir("theirs"));
        root.file(ours.join(NAME), b"abc");
        root.file(theirs.join(NAME), b"abc");
        assert_eq!(assert_identical(&ours, &theirs), 1);
        root.file(theirs.join(NAME), b"abd");
        assert!(std::panic::catch_unwind(|| assert_identical(&ours, &theirs)).is_err());
        std::fs::remove_file(theirs.join(NAME)).unwrap();
        assert!(std::panic::catch_unwind(|| assert_identical(&ours, &theirs)).is_err());
    }

    #[test]
    fn unfinished_segments_are_compared_as_far_as_both_have_come() {
        let root = TempRoot::new("identical");
        let (ours, theirs) = (root.dir("ours"), root.dir("theirs"));
        let name = format!("{NAME}.partial");
        root.file(ours.join(&name), b"abc\0");
        root.file(theirs.join(&name), b"abcd");
        assert_eq!(assert_identical(&ours, &theirs), 0);
        root.file(theirs.join(&name), b"axcd");
        assert!(std::panic::catch_unwind(|| assert_identical(&ours, &theirs)).is_err());
    }
}
