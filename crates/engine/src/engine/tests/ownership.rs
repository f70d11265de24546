//! Directories that are not this engine's, that earlier versions have made, and whose catalogue is damaged.

use disk::{CrashChoices, OpenMode, read_file};
use replication::waldir::{CATALOG_VERSION, EARLIER_CATALOG_VERSION, Owner, owner_of};

use super::lifecycle::{DIR, follow, init, start, state};
use super::*;
use crate::Standby;
use crate::checkpoint::Cause;
use crate::control::ClusterState;
use crate::page::PAGE_SIZE;

const CONTROL: &str = "global/pg_control";

fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}

fn owner(disk: &SimDisk) -> Owner {
    owner_of(disk, Path::new(DIR)).unwrap()
}

fn try_both(disk: &SimDisk) -> [Result<(), EngineError>; 2] {
    let options = || EngineOptions { publish_status: false, ..EngineOptions::default() };
    let leader = Engine::open(Arc::new(disk.clone()), Path::new(DIR), options()).map(drop);
    [leader, Standby::open(Arc::new(disk.clone()), Path::new(DIR), options()).map(drop)]
}

/// Overwrites a control file's 32-bit field, and corrects the checksum.
fn set_control(disk: &SimDisk, at: usize, value: u32) {
    let mut bytes = read_file(disk, &path(CONTROL), 1 << 16).unwrap();
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..288]);
    bytes[288..292].copy_from_slice(&crc.to_le_bytes());
    let file = disk.open(&path(CONTROL), OpenMode::ReadWrite).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    file.sync_all().unwrap();
}

fn catalog_version(disk: &SimDisk) -> u32 {
    let bytes = read_file(disk, &path(CONTROL), 1 << 16).unwrap();
    u32::from_le_bytes(*bytes[12..].first_chunk().unwrap())
}

fn remove_first_trees(disk: &SimDisk) {
    for name in ["base/5/1214", "base/5/1259"] {
        disk.remove_file(&path(name)).unwrap();
    }
    disk.sync_dir(&path("base/5")).unwrap();
}

/// What an earlier version left right after it had made a directory.
fn never_served() -> SimDisk {
    let disk = init();
    remove_first_trees(&disk);
    set_control(&disk, 12, EARLIER_CATALOG_VERSION);
    disk
}

/// What an earlier version left after a kill before its first checkpoint: everything is in the log, which begins with the
/// making of the catalogue.
fn killed_at_once() -> SimDisk {
    let disk = init();
    let engine = start(&disk);
    engine.create_first_trees().unwrap();
    put(&engine, &[("a", "1")]);
    flush(&engine);
    drop(engine);
    remove_first_trees(&disk);
    set_control(&disk, 12, EARLIER_CATALOG_VERSION);
    disk
}

/// What an earlier version left after an orderly end.
fn served(rows: &[(&str, &str)]) -> SimDisk {
    let disk = init();
    let engine = start(&disk);
    put(&engine, rows);
    engine.shutdown().unwrap();
    drop(engine);
    set_control(&disk, 12, EARLIER_CATALOG_VERSION);
    disk
}

#[test]
fn a_new_directory_says_in_its_control_file_whose_it_is() {
    let disk = init();
    assert_eq!(catalog_version(&disk), CATALOG_VERSION);
    assert_eq!(owner(&disk), Owner::Walwriter { format: 1 });
}

#[test]
fn directories_of_earlier_versions_are_known_by_their_catalogue_and_marked_once() {
    for (disk, rows) in [(never_served(), 0), (killed_at_once(), 1), (served(&[("a", "1"), ("b", "2")]), 2)] {
        assert_eq!(owner(&disk), Owner::EarlierWalwriter);
        let engine = start(&disk);
        assert_eq!(rows_now(&engine, CATALOG).len(), rows);
        engine.shutdown().unwrap();
        drop(engine);
        assert_eq!(owner(&disk), Owner::Walwriter { format: 1 });
    }
}

#[test]
fn a_standby_in_a_directory_of_an_earlier_version_marks_it_too() {
    let disk = served(&[("a", "1")]);
    let standby = follow(&disk);
    assert!(standby.is_consistent());
    assert_eq!(rows_now(standby.engine(), CATALOG).len(), 1);
    assert_eq!(owner(&disk), Owner::Walwriter { format: 1 });
}

#[test]
fn a_directory_that_is_being_marked_is_ours_whenever_the_power_fails() {
    for disk in [never_served(), served(&[("a", "1")])] {
        let before = disk.operations();
        start(&disk);
        let choices = CrashChoices { exhaustive_up_to: 16, samples: 2, seed: 3 };
        let mut marked = 0;
        for after in before..=disk.operations() {
            for crashed in disk.crash_states(after, choices) {
                let owner = owner(&crashed);
                assert!(owner.is_walwriters(), "{owner:?} after {after}");
                marked += u32::from(owner != Owner::EarlierWalwriter);
                if after % 8 == 0 {
                    start(&crashed);
                }
            }
        }
        assert!(marked > 0);
    }
}

#[test]
fn postgresqls_directories_and_those_of_newer_versions_are_refused_and_not_touched() {
    let postgres = |version: u32, extra: &str| {
        let disk = init();
        remove_first_trees(&disk);
        set_control(&disk, 12, version);
        let file = disk.open(&path(extra), OpenMode::Create).unwrap();
        file.write_all_at(b"heap", 0).unwrap();
        disk
    };
    let newer = init();
    set_control(&newer, 12, CATALOG_VERSION + 1);
    let overwritten = served(&[("a", "1")]);
    overwritten.open(&path("global/pg_filenode.map"), OpenMode::Create).unwrap();
    for (disk, said) in [
        (
            postgres(EARLIER_CATALOG_VERSION, "global/pg_filenode.map"),
            "is a data directory of PostgreSQL 15;",
        ),
        (postgres(202_307_071, "base/5/1259"), "is a data directory of PostgreSQL 15;"),
        (newer, "of walwriter in format 2, and format 1 is known here"),
        (overwritten, "an earlier walwriter has written"),
    ] {
        let before = disk.operations();
        for refused in try_both(&disk) {
            let text = refused.unwrap_err().to_string();
            assert!(text.contains(said), "{text}");
        }
        assert_eq!(disk.operations(), before, "nothing was written");
    }
}

#[test]
fn a_catalogue_that_is_gone_is_never_made_again() {
    // Until its first checkpoint, and after it; marked and not.
    for earlier in [false, true] {
        let disk = init();
        let engine = start(&disk);
        put(&engine, &[("a", "1")]);
        let tree = engine.new_tree().unwrap();
        engine.checkpoint(Cause::Immediate).unwrap();
        engine.shutdown().unwrap();
        drop(engine);
        let data = path(&format!("base/5/{}", tree.as_u32()));
        disk.open(&data, OpenMode::Create).unwrap();
        remove_first_trees(&disk);
        if earlier {
            set_control(&disk, 12, EARLIER_CATALOG_VERSION);
        }
        for refused in try_both(&disk) {
            let text = refused.unwrap_err().to_string();
            assert!(text.contains("catalog"), "{text}");
        }
        assert!(disk.exists(&data).unwrap(), "nothing is removed without a catalogue");
    }
}

#[test]
fn damage_to_any_page_of_the_catalogue_is_found_before_anything_is_read_or_removed() {
    let rows: Vec<(String, String)> = (0..400).map(|n| (format!("table {n}"), "x".repeat(300))).collect();
    let rows: Vec<(&str, &str)> = rows.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let sound = init();
    let engine = start(&sound);
    put(&engine, &rows);
    engine.shutdown().unwrap();
    drop(engine);
    for name in ["base/5/1214", "base/5/1259"] {
        let bytes = read_file(&sound, &path(name), 1 << 24).unwrap();
        for page in 0..bytes.len() / PAGE_SIZE {
            let disk = super::lifecycle::duplicate(&sound);
            let file = disk.open(&path(name), OpenMode::ReadWrite).unwrap();
            let at = page * PAGE_SIZE + 8000;
            file.write_all_at(&[!bytes[at]], at as u64).unwrap();
            for refused in try_both(&disk) {
                let text = refused.unwrap_err().to_string();
                let block =
                    format!("the catalog is damaged, and nothing is served from it: block {page} of {name}");
                assert!(text.starts_with(&block), "{text}");
            }
            assert!(state(&disk) != ClusterState::InProduction);
        }
    }
}
