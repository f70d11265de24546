//! Backups that are damaged on disk: `basebackup verify` refuses them in pg_verifybackup's words, and names the file or
//! the position.

use std::path::{Path, PathBuf};

use wal::SegmentSize;
use walship_tests::base_backup::{Load, basebackup, pg_verifybackup, verify, wal_range};
use walship_tests::receiver::records_in;
use walship_tests::{Finished, Options, Postgres, TempRoot, Version, lsns_in};

const MARK: &[u8] = b"a mark that is nowhere else in the backup";

/// A backup taken under load, with [`MARK`] in the file of a table.
struct Backup {
    root: TempRoot,
    directory: PathBuf,
    /// The table's file, relative to the data directory.
    marked: String,
}

fn backup(options: &[&str]) -> Backup {
    let root = TempRoot::new("damaged");
    let options_of_leader = Options::default().wal_segment_mib(1).setting("max_wal_size", "1GB");
    let leader = Postgres::start_new(&root, "leader", Version::V15, options_of_leader);
    let load = Load::start(&leader);
    leader.sql(&format!("create table marked as select '{}' as mark", str::from_utf8(MARK).unwrap()));
    let marked = leader.sql("select pg_relation_filepath('marked')");
    let directory = root.join("backup");
    load.during(basebackup(&leader, &directory).args(options));
    load.stop();
    Backup { root, directory, marked }
}

/// Flips a bit of the first byte of [`MARK`] in a file.
#[track_caller]
fn flip_mark(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(MARK.len()).position(|window| window == MARK).expect("the mark");
    flip(path, at);
}

#[track_caller]
fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// What a verifier complains about, without its name.
fn complaints(finished: &Finished) -> Vec<String> {
    let start = format!("{}: error: ", finished.name);
    let lines = finished.stderr.lines();
    let mut lines: Vec<_> = lines
        .map(|line| line.strip_prefix(&start).unwrap_or_else(|| panic!("{finished}")).to_owned())
        .collect();
    lines.sort();
    lines
}

impl Backup {
    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    #[track_caller]
    fn verify(&self) -> Finished {
        verify(&self.root, &self.directory).run()
    }

    #[track_caller]
    fn pg_verifybackup(&self) -> Finished {
        pg_verifybackup(&self.root, Version::V15, &self.directory).expect("pg_verifybackup").run()
    }

    /// Insists that both verifiers refuse the backup with the same words, which are these.
    #[track_caller]
    fn assert_refused(&self, words: &[&str]) {
        let (ours, theirs) = (self.verify(), self.pg_verifybackup());
        assert_eq!((ours.code, theirs.code), (Some(1), Some(1)), "{ours} {theirs}");
        assert_eq!(ours.stdout, "");
        assert_eq!(complaints(&ours), words);
        assert_eq!(complaints(&theirs), words);
    }

    /// Damages a file, lets `check` look at the backup, and puts the file back.
    #[track_caller]
    fn with_damage(&self, name: &str, damage: impl FnOnce(&Path), check: impl FnOnce()) {
        println!("damage to {name}");
        let path = self.path(name);
        let content = std::fs::read(&path).ok();
        damage(&path);
        check();
        match content {
            Some(content) => drop(self.root.file(&path, content)),
            None => std::fs::remove_file(&path).unwrap(),
        }
    }
}

#[test]
fn damaged_files_are_named_as_pg_verifybackup_names_them() {
    let backup = backup(&["-X", "stream"]);
    let marked = backup.marked.as_str();
    type Damage = fn(&Path);
    let cases: [(&str, Damage, String); 4] = [
        (marked, flip_mark, format!("checksum mismatch for file \"{marked}\"")),
        (
            marked,
            |path| std::fs::write(path, [0; 100]).unwrap(),
            format!("\"{marked}\" has size 100 on disk but size 8192 in the manifest"),
        ),
        (
            "PG_VERSION",
            |path| std::fs::remove_file(path).unwrap(),
            "\"PG_VERSION\" is present in the manifest but not on disk".to_owned(),
        ),
        (
            "base/extra",
            |path| std::fs::write(path, "more").unwrap(),
            "\"base/extra\" is present on disk but not in the manifest".to_owned(),
        ),
    ];
    for (name, damage, words) in &cases {
        backup.with_damage(name, damage, || backup.assert_refused(&[words]));
    }

    // All at once: every one is named, or the first alone if that is asked for.
    backup.with_damage(marked, flip_mark, || {
        backup.with_damage(
            "base/extra",
            |path| std::fs::write(path, "more").unwrap(),
            || {
                backup.assert_refused(&[
                    "\"base/extra\" is present on disk but not in the manifest",
                    &format!("checksum mismatch for file \"{marked}\""),
                ]);
                let first = verify(&backup.root, &backup.directory).arg("-e").run();
                first.one_line_failure("base/extra");
                let ignored = ["-i", "base/extra", "-i", marked];
                verify(&backup.root, &backup.directory).args(ignored).succeed();
                let json = verify(&backup.root, &backup.directory).arg("--json").run();
                let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
                assert_eq!(json.code, Some(1));
                assert_eq!(report["verified"], false);
                assert_eq!(report["problems"].as_array().unwrap().len(), 2);
            },
        );
    });
    backup.verify().success();
}

#[test]
fn a_manifest_that_was_changed_or_is_gone_is_refused() {
    let backup = backup(&["-X", "fetch"]);
    let manifest = "backup_manifest";
    let changed = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, text.replacen("\"PG_VERSION\"", "\"PG_VERSIOM\"", 1)).unwrap();
    };
    backup.with_damage(manifest, changed, || {
        backup.verify().one_line_failure("manifest checksum mismatch");
        assert_eq!(backup.pg_verifybackup().code, Some(1));
    });
    let cut = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    backup.with_damage(manifest, cut, || {
        backup.verify().one_line_failure("could not parse backup manifest");
    });
    backup.with_damage(
        manifest,
        |path| std::fs::remove_file(path).unwrap(),
        || {
            backup.verify().one_line_failure("backup_manifest");
        },
    );
}

#[test]
fn damaged_wal_is_refused_with_its_position() {
    let backup = backup(&["-X", "stream"]);
    let size = SegmentSize::new(1 << 20).unwrap();
    let (start, end) = wal_range(&backup.directory);
    let mut records = records_in(&backup.root, &backup.path("pg_wal"), Some(start));
    records.retain(|record| record.end(size) <= end);
    assert!(records.len() > 10, "{} records from {start} to {end}", records.len());
    backup.verify().success();
    for (what, record) in
        [("first", records[0]), ("middle", records[records.len() / 2]), ("last", records[records.len() - 1])]
    {
        println!("{what} record, at {}", record.start);
        let segment = size.segment_of(record.start).file_name(wal::TimelineId::FIRST, size);
        // The record's transaction, which its CRC covers.
        let at = size.offset_of(record.start) as usize + 4;
        backup.with_damage(
            &format!("pg_wal/{segment}"),
            |path| flip(path, at),
            || {
                let line = backup.verify().one_line_failure("WAL parsing failed for timeline 1");
                assert!(lsns_in(&line).contains(&record.start), "{line}");
                let theirs = backup.pg_verifybackup();
                assert!(theirs.code == Some(1) && theirs.stderr.contains("WAL parsing failed"), "{theirs}");
                verify(&backup.root, &backup.directory).arg("-n").succeed();
            },
        );
    }
    // Behind the end of the backup there can be more WAL, which nobody needs.
    let last = &size.segment_ending_at(end).file_name(wal::TimelineId::FIRST, size);
    backup.with_damage(
        &format!("pg_wal/{last}"),
        |path| std::fs::remove_file(path).unwrap(),
        || {
            let line = backup.verify().one_line_failure("WAL parsing failed for timeline 1");
            assert!(!lsns_in(&line).is_empty() || line.contains(last), "{line}");
            assert_eq!(backup.pg_verifybackup().code, Some(1));
        },
    );
    let zeros = |path: &Path| std::fs::write(path, vec![0; 1 << 20]).unwrap();
    backup.with_damage(&format!("pg_wal/{last}"), zeros, || {
        let line = backup.verify().one_line_failure("WAL parsing failed for timeline 1");
        assert!(
            lsns_in(&line)
                .iter()
                .any(|&lsn| size.segment_of(lsn).file_name(wal::TimelineId::FIRST, size) == *last),
            "{line}"
        );
    });
    backup.verify().success();
}

#[test]
fn damage_inside_of_archives_is_found_without_unpacking_them() {
    let backup = backup(&["-F", "t", "-X", "stream"]);
    let mismatch = format!("checksum mismatch for file \"{}\"", backup.marked);
    backup.with_damage("base.tar", flip_mark, || drop(backup.verify().one_line_failure(&mismatch)));
    let cut = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    backup.with_damage("base.tar", cut, || {
        let refused = backup.verify();
        assert!(refused.code == Some(1) && refused.stderr.contains("archive \"base.tar\""), "{refused}");
    });
    backup.with_damage(
        "pg_wal.tar",
        |path| std::fs::remove_file(path).unwrap(),
        || {
            backup.verify().one_line_failure("WAL parsing failed for timeline 1");
        },
    );
    backup.with_damage(
        "base.tar",
        |path| std::fs::remove_file(path).unwrap(),
        || {
            assert_eq!(backup.verify().code, Some(1));
        },
    );
    backup.verify().success();
}
