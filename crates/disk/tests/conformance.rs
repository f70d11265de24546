//! What both disks must do alike: every test here runs on the real file system and on the simulated one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use disk::{
    Disk, OpenMode, OsDisk, SimDisk, durable_create_dir_all, durable_remove, durable_rename, durable_write,
    fill_zeros, read_file,
};

/// Runs a test on both disks, in an empty directory of each.
fn on_both(test: impl Fn(&dyn Disk, &Path)) {
    let temp = tempfile::tempdir().unwrap();
    test(&OsDisk::new(), temp.path());
    let simulated = SimDisk::new();
    simulated.create_dir_all("/some/dir".as_ref()).unwrap();
    test(&simulated, "/some/dir".as_ref());
}

fn put(disk: &dyn Disk, path: PathBuf, content: &[u8]) {
    disk.open(&path, OpenMode::CreateNew).unwrap().write_all_at(content, 0).unwrap();
}

fn content(disk: &dyn Disk, path: PathBuf) -> Vec<u8> {
    read_file(disk, &path, 1 << 20).unwrap()
}

fn names(disk: &dyn Disk, dir: &Path) -> Vec<String> {
    disk.read_dir(dir).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn open_modes_differ_in_what_must_exist() {
    on_both(|disk, dir| {
        let path = dir.join("f");
        for mode in [OpenMode::Read, OpenMode::ReadWrite] {
            assert_eq!(disk.open(&path, mode).unwrap_err().kind(), ErrorKind::NotFound);
        }
        put(disk, path.clone(), b"abc");
        assert_eq!(disk.open(&path, OpenMode::CreateNew).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(disk.open(&path, OpenMode::Create).unwrap().len().unwrap(), 3, "kept as it is");
        disk.open(&path, OpenMode::ReadWrite).unwrap().write_all_at(b"X", 1).unwrap();
        assert_eq!(content(disk, path.clone()), b"aXc");
        assert!(disk.open(&path, OpenMode::Read).unwrap().write_all_at(b"Y", 0).is_err());
        assert_eq!(disk.open(&dir.join("no/f"), OpenMode::Create).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn bytes_are_where_they_were_written_and_gaps_are_zero() {
    on_both(|disk, dir| {
        let file = disk.open(&dir.join("f"), OpenMode::CreateNew).unwrap();
        file.write_all_at(b"end", 10).unwrap();
        file.write_all_at(b"start", 0).unwrap();
        let mut read = [1; 20];
        assert_eq!(file.read_at(&mut read, 0).unwrap(), 13);
        assert_eq!(&read[..13], b"start\0\0\0\0\0end");
        assert_eq!(file.read_at(&mut read, 13).unwrap(), 0);
        assert_eq!(file.read_at(&mut read, 1 << 40).unwrap(), 0);
        assert_eq!(file.read_exact_at(&mut read, 0).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        file.read_exact_at(&mut read[..3], 10).unwrap();
        assert_eq!(&read[..3], b"end");
    });
}

#[test]
fn lengths_grow_with_zeros_and_shrink() {
    on_both(|disk, dir| {
        let file = disk.open(&dir.join("f"), OpenMode::CreateNew).unwrap();
        file.write_all_at(&[7; 1000], 0).unwrap();
        file.allocate(500, 2000).unwrap();
        assert_eq!(file.len().unwrap(), 2500);
        file.allocate(0, 10).unwrap();
        assert_eq!(file.len().unwrap(), 2500, "reserving never shortens");
        file.set_len(600).unwrap();
        file.set_len(700).unwrap();
        let all = content(disk, dir.join("f"));
        assert!(all.len() == 700 && all[..600] == [7; 600] && all[600..] == [0; 100]);
        fill_zeros(&*file, 100, 700_000).unwrap();
        let all = content(disk, dir.join("f"));
        assert!(all.len() == 700_100 && all[..100] == [7; 100] && all[100..].iter().all(|&byte| byte == 0));
        file.sync_data().unwrap();
        file.sync_all().unwrap();
    });
}

#[test]
fn a_handle_outlives_its_name() {
    on_both(|disk, dir| {
        put(disk, dir.join("f"), b"abc");
        let file = disk.open(&dir.join("f"), OpenMode::ReadWrite).unwrap();
        disk.rename(&dir.join("f"), &dir.join("g")).unwrap();
        file.write_all_at(b"d", 3).unwrap();
        assert_eq!(content(disk, dir.join("g")), b"abcd");
        disk.remove_file(&dir.join("g")).unwrap();
        assert_eq!(file.len().unwrap(), 4);
        assert!(!disk.exists(&dir.join("g")).unwrap());
    });
}

#[test]
fn renaming_replaces_files_but_no_directory_with_content() {
    on_both(|disk, dir| {
        put(disk, dir.join("a"), b"new");
        put(disk, dir.join("b"), b"old");
        disk.rename(&dir.join("a"), &dir.join("b")).unwrap();
        assert_eq!(content(disk, dir.join("b")), b"new");
        assert_eq!(names(disk, dir), ["b"]);
        disk.create_dir(&dir.join("d")).unwrap();
        put(disk, dir.join("d/x"), b"");
        disk.create_dir(&dir.join("e")).unwrap();
        assert_eq!(
            disk.rename(&dir.join("e"), &dir.join("d")).unwrap_err().kind(),
            ErrorKind::DirectoryNotEmpty
        );
        assert_eq!(disk.rename(&dir.join("b"), &dir.join("e")).unwrap_err().kind(), ErrorKind::IsADirectory);
        disk.rename(&dir.join("d"), &dir.join("e")).unwrap();
        assert_eq!(names(disk, &dir.join("e")), ["x"]);
        assert_eq!(disk.rename(&dir.join("a"), &dir.join("b")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn directories_are_listed_in_order_with_lengths_and_kinds() {
    on_both(|disk, dir| {
        put(disk, dir.join("b"), b"12");
        put(disk, dir.join("a"), b"");
        disk.create_dir(&dir.join("c")).unwrap();
        let entries = disk.read_dir(dir).unwrap();
        let seen: Vec<_> =
            entries.iter().map(|entry| (entry.name.as_str(), entry.len, entry.is_dir)).collect();
        assert_eq!(seen, [("a", 0, false), ("b", 2, false), ("c", 0, true)]);
        assert!(disk.metadata(&dir.join("c")).unwrap().is_dir);
        assert_eq!(disk.metadata(&dir.join("b")).unwrap().len, 2);
        assert_eq!(disk.metadata(&dir.join("x")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.read_dir(&dir.join("x")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.read_dir(&dir.join("a")).unwrap_err().kind(), ErrorKind::NotADirectory);
    });
}

#[test]
fn directories_are_made_and_removed() {
    on_both(|disk, dir| {
        disk.create_dir_all(&dir.join("a/b/c")).unwrap();
        disk.create_dir_all(&dir.join("a/b/c")).unwrap();
        assert_eq!(disk.create_dir(&dir.join("a")).unwrap_err().kind(), ErrorKind::AlreadyExists);
        put(disk, dir.join("f"), b"");
        assert_eq!(disk.create_dir_all(&dir.join("f")).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(disk.remove_dir(&dir.join("a/b")).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        assert_eq!(disk.remove_dir(&dir.join("f")).unwrap_err().kind(), ErrorKind::NotADirectory);
        disk.remove_dir(&dir.join("a/b/c")).unwrap();
        assert!(disk.read_dir(&dir.join("a/b")).unwrap().is_empty());
        assert!(disk.remove_file(&dir.join("a")).is_err());
        assert_eq!(disk.remove_file(&dir.join("x")).unwrap_err().kind(), ErrorKind::NotFound);
        disk.sync_dir(dir).unwrap();
        assert_eq!(disk.sync_dir(&dir.join("f")).unwrap_err().kind(), ErrorKind::NotADirectory);
        assert_eq!(disk.sync_dir(&dir.join("x")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn durable_steps_do_what_their_plain_ones_do() {
    on_both(|disk, dir| {
        durable_create_dir_all(disk, &dir.join("p/q")).unwrap();
        durable_write(disk, &dir.join("p/f"), b"one, long").unwrap();
        durable_write(disk, &dir.join("p/f"), b"two").unwrap();
        assert_eq!(content(disk, dir.join("p/f")), b"two");
        assert_eq!(names(disk, &dir.join("p")), ["f", "q"], "no temporary file is left");
        durable_rename(disk, &dir.join("p/f"), &dir.join("p/q/g")).unwrap();
        assert_eq!(content(disk, dir.join("p/q/g")), b"two");
        durable_remove(disk, &dir.join("p/q/g")).unwrap();
        assert!(names(disk, &dir.join("p/q")).is_empty());
    });
}

#[test]
fn a_file_longer_than_allowed_is_not_read() {
    on_both(|disk, dir| {
        put(disk, dir.join("f"), &[1; 10]);
        assert_eq!(read_file(disk, &dir.join("f"), 9).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(read_file(disk, &dir.join("f"), 10).unwrap().len(), 10);
    });
}
