//! Whose directories are.

use std::fs;
use std::path::Path;

use disk::OsDisk;

use crate::waldir::control::sample;
use crate::waldir::{CATALOG_VERSION, EARLIER_CATALOG_VERSION, Owner, owner_of, require_walwriters};
use wal::Lsn;

/// A directory with these files, given by name and content.
fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = temp.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    temp
}

fn owner(path: &Path) -> Owner {
    owner_of(&OsDisk::new(), path).unwrap()
}

fn control(version: u32, catalog_version: u32) -> Vec<u8> {
    let mut bytes = sample(version, Lsn::new(0x100_0028), 1 << 24);
    bytes[12..16].copy_from_slice(&catalog_version.to_le_bytes());
    let at = if version == 1800 { 292 } else { 288 };
    let crc = crc32c::crc32c(&bytes[..at]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn tree() -> Vec<u8> {
    [&[0; 24][..], b"WTRE\x01\0\0\0", &[0; 8160]].concat()
}

#[test]
fn every_postgresql_is_named_with_its_version_however_its_directory_looks() {
    for (layout, catalogue, version) in [
        (1300, 202_209_061, "15"),
        (1300, 202_307_071, "16"),
        (1700, 202_406_281, "17"),
        (1800, 202_506_291, "18"),
    ] {
        let line = format!("{version}\n");
        let control = control(layout, catalogue);
        let files =
            [("PG_VERSION", line.as_bytes()), ("global/pg_control", &control), ("base/1/1259", b"heap")];
        let temp = directory(&files);
        assert_eq!(owner(temp.path()), Owner::Postgres { version: version.to_owned() });
        fs::create_dir(temp.path().join("pg_wal")).unwrap();
        let wal = owner(&temp.path().join("pg_wal"));
        assert!(matches!(wal, Owner::ServersWal(_)), "{wal:?}");
        assert!(wal.to_string().ends_with(&format!("a data directory of PostgreSQL {version}")), "{wal}");
        let refused = require_walwriters(&OsDisk::new(), temp.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("PostgreSQL {version}; serve it with that PostgreSQL")),
            "{refused}"
        );
    }
    // One that is older than what is read here.
    let old =
        directory(&[("PG_VERSION", b"12\n"), ("global/pg_control", &sample(1201, Lsn::new(40), 1 << 24))]);
    fs::create_dir_all(old.path().join("base/1")).unwrap();
    assert_eq!(owner(old.path()), Owner::Postgres { version: "12".to_owned() });
}

#[test]
fn walwriters_are_known_by_their_number_and_earlier_ones_by_their_catalogue() {
    let ours = control(1300, CATALOG_VERSION);
    let with = |control: &[u8], catalogue: &[u8]| {
        owner(directory(&[("global/pg_control", control), ("base/5/1259", catalogue)]).path())
    };
    assert_eq!(with(&ours, b""), Owner::Walwriter { format: 1 });
    assert_eq!(with(&control(1300, CATALOG_VERSION + 1), b""), Owner::Walwriter { format: 2 });
    let earlier = control(1300, EARLIER_CATALOG_VERSION);
    assert_eq!(with(&earlier, &tree()), Owner::EarlierWalwriter);
    for damaged in [&b""[..], &[0; 8192], &tree()[..20]] {
        assert_eq!(with(&earlier, damaged), Owner::DamagedCatalogue);
    }
    let tree = tree();
    let files =
        [("global/pg_control", &earlier[..]), ("base/5/1259", &tree), ("global/pg_filenode.map", b"")];
    assert_eq!(owner(directory(&files).path()), Owner::Overwritten);
}

#[test]
fn what_is_unfinished_damaged_or_no_data_directory_is_named_for_what_it_is() {
    let is = |files: &[(&str, &[u8])]| owner(directory(files).path());
    assert_eq!(is(&[]), Owner::Empty);
    assert_eq!(is(&[("notes", b"1")]), Owner::Other);
    assert_eq!(is(&[("global", b"1")]), Owner::Other);
    assert_eq!(is(&[("PG_VERSION", b"15\n"), ("base/1/1", b"")]), Owner::UnfinishedInit);
    assert_eq!(
        is(&[("PG_VERSION", b"15\n"), ("global/pg_control.unfinished", b"")]),
        Owner::UnfinishedBackup
    );
    assert_eq!(is(&[("000000010000000000000001", b"")]), Owner::Archive);
    assert_eq!(is(&[("00000002.history", b"")]), Owner::Archive);
    assert_eq!(is(&[("walship.lock", b"")]), Owner::Archive);
    assert_eq!(is(&[("base.tar.gz", b""), ("backup_manifest", b"")]), Owner::TarBackup);
    assert_eq!(is(&[("archive_status/x.ready", b"")]), Owner::ServersWal(Box::new(Owner::Other)));
    assert_eq!(owner(&directory(&[]).path().join("none")), Owner::Missing);
    let mut flipped = control(1300, CATALOG_VERSION);
    flipped[100] ^= 1;
    for damaged in [&flipped[..], &[], &[0; 8192], &vec![0; 1 << 17]] {
        let found = is(&[("PG_VERSION", b"15\n"), ("global/pg_control", damaged)]);
        assert!(matches!(found, Owner::DamagedControlFile { is_postgres: false, .. }), "{found:?}");
        let theirs = [("global/pg_control", damaged), ("global/pg_filenode.map", b"")];
        let found = is(&theirs);
        let known =
            matches!(found, Owner::DamagedControlFile { is_postgres: true, .. } | Owner::Postgres { .. });
        assert!(known, "{found:?}");
    }
}
