//! What the simulated disk remembers after a power cut, and what it must forget.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use disk::{CrashChoices, Disk, OpenMode, SimDisk, durable_rename, durable_write, read_file};

/// The content of `/f` in every state after the first `after` operations; `None` where the name is missing.
fn outcomes(disk: &SimDisk, after: usize) -> BTreeSet<Option<Vec<u8>>> {
    disk.crash_states(after, CrashChoices::default()).map(|state| content(&state, "/f")).collect()
}

fn content(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    match read_file(disk, path.as_ref(), 1 << 20) {
        Ok(content) => Some(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

fn some(content: &[u8]) -> Option<Vec<u8>> {
    Some(content.to_vec())
}

/// A disk on which `/f`, holding `content`, is durable.
fn with_file(content: &[u8]) -> SimDisk {
    let disk = SimDisk::new();
    let file = disk.open("/f".as_ref(), OpenMode::CreateNew).unwrap();
    file.write_all_at(content, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir("/".as_ref()).unwrap();
    disk
}

#[test]
fn a_name_needs_its_directory_synced_and_bytes_their_file() {
    let disk = SimDisk::new();
    let file = disk.open("/f".as_ref(), OpenMode::CreateNew).unwrap();
    file.write_all_at(b"abc", 0).unwrap();
    assert_eq!(outcomes(&disk, disk.operations()), BTreeSet::from([None, some(b""), some(b"abc")]));
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, disk.operations()), BTreeSet::from([None, some(b"abc")]));
    disk.sync_dir("/".as_ref()).unwrap();
    assert_eq!(outcomes(&disk, disk.operations()), BTreeSet::from([some(b"abc")]));
}

#[test]
fn writes_between_barriers_are_lost_in_any_order() {
    let disk = with_file(b"..");
    let file = disk.open("/f".as_ref(), OpenMode::ReadWrite).unwrap();
    file.write_all_at(b"a", 0).unwrap();
    file.write_all_at(b"b", 1).unwrap();
    let all = BTreeSet::from([some(b".."), some(b"a."), some(b".b"), some(b"ab")]);
    assert_eq!(outcomes(&disk, disk.operations()), all);
    file.sync_data().unwrap();
    file.write_all_at(b"c", 0).unwrap();
    assert_eq!(outcomes(&disk, disk.operations()), BTreeSet::from([some(b"ab"), some(b"cb")]));
}

#[test]
fn a_write_tears_at_sector_boundaries_of_the_file() {
    let disk = with_file(&[0; 1536]);
    let file = disk.open("/f".as_ref(), OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[1; 1000], 300).unwrap();
    let written = |from: usize, to: usize| {
        let mut content = vec![0; 1536];
        content[from..to].fill(1);
        Some(content)
    };
    let expected = [(0, 0), (300, 1300), (300, 512), (300, 1024), (512, 1300), (1024, 1300)];
    let expected: BTreeSet<_> = expected.into_iter().map(|(from, to)| written(from, to)).collect();
    assert_eq!(outcomes(&disk, disk.operations()), expected);
}

#[test]
fn a_length_is_lost_without_a_sync() {
    let disk = with_file(b"abc");
    let file = disk.open("/f".as_ref(), OpenMode::ReadWrite).unwrap();
    file.set_len(1).unwrap();
    assert_eq!(outcomes(&disk, disk.operations()), BTreeSet::from([some(b"a"), some(b"abc")]));
    file.allocate(0, 4).unwrap();
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, disk.operations()), BTreeSet::from([some(b"a\0\0\0")]));
}

#[test]
fn renaming_without_syncing_the_file_first_can_leave_it_empty() {
    let disk = with_file(b"old");
    let file = disk.open("/t".as_ref(), OpenMode::CreateNew).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    disk.rename("/t".as_ref(), "/f".as_ref()).unwrap();
    assert!(outcomes(&disk, disk.operations()).contains(&some(b"")), "the mistake must be seen");
}

#[test]
fn a_removed_name_may_come_back() {
    let disk = with_file(b"x");
    disk.remove_file("/f".as_ref()).unwrap();
    assert_eq!(outcomes(&disk, disk.operations()), BTreeSet::from([None, some(b"x")]));
    disk.sync_dir("/".as_ref()).unwrap();
    assert_eq!(outcomes(&disk, disk.operations()), BTreeSet::from([None]));
}

#[test]
fn after_a_failed_sync_nothing_it_covered_is_ever_certain() {
    let disk = with_file(b".");
    let file = disk.open("/f".as_ref(), OpenMode::ReadWrite).unwrap();
    file.write_all_at(b"a", 0).unwrap();
    disk.fail_sync(1);
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, disk.operations()), BTreeSet::from([some(b"."), some(b"a")]));
}

#[test]
fn durable_write_leaves_the_old_content_or_the_new_at_every_moment() {
    let old = vec![b'o'; 1200];
    let new = vec![b'n'; 2000];
    let disk = with_file(&old);
    let before = disk.operations();
    durable_write(&disk, "/f".as_ref(), &new).unwrap();
    let mut seen = BTreeSet::new();
    for after in before..=disk.operations() {
        let now = outcomes(&disk, after);
        assert!(
            now.iter().all(|content| [some(&old), some(&new)].contains(content)),
            "\n{}",
            disk.log_text()
        );
        seen.extend(now);
    }
    assert_eq!(seen.len(), 2);
    assert_eq!(outcomes(&disk, disk.operations()), BTreeSet::from([some(&new)]));
}

#[test]
fn durable_rename_to_another_directory_never_loses_the_file() {
    let disk = with_file(b"x");
    disk.create_dir("/d".as_ref()).unwrap();
    disk.sync_dir("/".as_ref()).unwrap();
    let before = disk.operations();
    durable_rename(&disk, "/f".as_ref(), "/d/f".as_ref()).unwrap();
    for after in before..=disk.operations() {
        for state in disk.crash_states(after, CrashChoices::default()) {
            let found = [content(&state, "/f"), content(&state, "/d/f")];
            assert_eq!(found.iter().flatten().count(), 1);
            assert!(after < disk.operations() || found[1].is_some());
        }
    }
}

#[test]
fn a_crashed_disk_goes_on_as_a_disk() {
    let disk = with_file(b"x");
    let state = disk.crash_states(disk.operations(), CrashChoices::default()).next().unwrap();
    let file = state.open("/g".as_ref(), OpenMode::CreateNew).unwrap();
    file.write_all_at(b"y", 0).unwrap();
    assert_eq!(state.read_dir("/".as_ref()).unwrap().len(), 2);
    assert_eq!(disk.read_dir("/".as_ref()).unwrap().len(), 1, "another disk");
}

#[test]
fn too_many_states_are_sampled_and_the_extremes_are_among_them() {
    let disk = with_file(&[b'.'; 64]);
    let file = disk.open("/f".as_ref(), OpenMode::ReadWrite).unwrap();
    for at in 0..64 {
        file.write_all_at(b"x", at).unwrap();
    }
    let choices = CrashChoices { samples: 20, ..CrashChoices::default() };
    let states: Vec<_> =
        disk.crash_states(disk.operations(), choices).map(|state| content(&state, "/f")).collect();
    assert_eq!(states.len(), 65 + 64 + 64 + 20);
    assert!(states.contains(&some(&[b'.'; 64])) && states.contains(&some(&[b'x'; 64])));
    let again: Vec<_> =
        disk.crash_states(disk.operations(), choices).map(|state| content(&state, "/f")).collect();
    assert_eq!(states, again, "the same seed gives the same states");
}

#[test]
fn a_full_disk_takes_what_fits_and_preallocated_space_stays_usable() {
    let disk = with_file(b"");
    let file = disk.open("/f".as_ref(), OpenMode::ReadWrite).unwrap();
    file.allocate(0, 100).unwrap();
    disk.limit_space(Some(10));
    file.write_all_at(&[1; 100], 0).unwrap();
    let error = file.write_all_at(&[2; 20], 95).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 110, "the part that fits is there");
    assert_eq!(file.allocate(0, 111).unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.limit_space(None);
    file.write_all_at(&[2; 20], 110).unwrap();
}

#[test]
fn a_read_only_directory_lets_no_name_change() {
    let disk = with_file(b"x");
    let root = Path::new("/");
    disk.set_read_only(root, true).unwrap();
    let denied =
        |result: io::Result<()>| assert_eq!(result.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    denied(disk.open("/g".as_ref(), OpenMode::Create).map(drop));
    denied(disk.rename("/f".as_ref(), "/g".as_ref()));
    denied(disk.remove_file("/f".as_ref()));
    denied(disk.create_dir("/d".as_ref()));
    disk.open("/f".as_ref(), OpenMode::ReadWrite).unwrap().write_all_at(b"y", 0).unwrap();
    disk.set_read_only(root, false).unwrap();
    disk.remove_file("/f".as_ref()).unwrap();
}

#[test]
fn a_removed_directory_takes_its_names_but_not_open_files() {
    let disk = SimDisk::new();
    disk.create_dir("/d".as_ref()).unwrap();
    let file = disk.open("/d/f".as_ref(), OpenMode::CreateNew).unwrap();
    disk.remove_tree("/d".as_ref()).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(disk.open("/d/g".as_ref(), OpenMode::Create).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(disk.sync_dir("/d".as_ref()).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_nth_sync_fails_and_only_that_one() {
    let disk = with_file(b"x");
    let file = disk.open("/f".as_ref(), OpenMode::ReadWrite).unwrap();
    disk.fail_sync(2);
    file.sync_data().unwrap();
    assert!(disk.sync_dir("/".as_ref()).is_err());
    file.sync_all().unwrap();
    assert!(disk.log_text().contains("(failed)"));
}
