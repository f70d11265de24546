//! pg_basebackup and basebackup, one after the other against a leader that does nothing else, give the same files.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walship_tests::base_backup::{basebackup, pg_basebackup, unpack};
use walship_tests::{Options, Postgres, TempRoot, Version};

/// What a path in a backup is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Entry {
    Directory { mode: u32 },
    Link { to: PathBuf },
    File { mode: u32, content: Vec<u8> },
}

/// Everything below a directory. Segments are called after their places in the WAL of the backup, since each backup has
/// segments of its own.
fn entries(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    collect(root, root, &mut found);
    let is_segment = |name: &str| name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let names: Vec<_> = found.keys().filter_map(|path| path.strip_prefix("pg_wal").ok()?.to_str()).collect();
    let segments: Vec<_> = names.into_iter().filter(|name| is_segment(name)).map(str::to_owned).collect();
    let rename = |path: PathBuf| {
        let mut text = path.display().to_string();
        for (index, segment) in segments.iter().enumerate() {
            text = text.replace(segment, &format!("segment-{index}"));
        }
        PathBuf::from(text)
    };
    found.into_iter().map(|(path, entry)| (rename(path), entry)).collect()
}

fn collect(root: &Path, directory: &Path, found: &mut BTreeMap<PathBuf, Entry>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let mode = metadata.mode() & 0o7777;
        let entry = if metadata.is_dir() {
            collect(root, &path, found);
            Entry::Directory { mode }
        } else if metadata.is_symlink() {
            Entry::Link { to: std::fs::read_link(&path).unwrap() }
        } else {
            Entry::File { mode, content: std::fs::read(&path).unwrap() }
        };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
    }
}

/// Whether a file's content is another in each backup: it tells of the backup's own checkpoint or time.
fn differs_by_nature(path: &Path) -> bool {
    ["backup_label", "backup_manifest", "global/pg_control"].iter().any(|name| path == Path::new(name))
        || path.starts_with("pg_wal")
}

/// Insists on the same paths, kinds, modes, lengths and, but for what every backup says of itself, contents. Gives the
/// number of files that were the same byte by byte.
#[track_caller]
fn assert_same(ours: &Path, theirs: &Path) -> usize {
    let (ours, theirs) = (entries(ours), entries(theirs));
    let paths = |entries: &BTreeMap<PathBuf, Entry>| entries.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&ours), paths(&theirs));
    let mut same = 0;
    for ((path, our), their) in ours.iter().zip(theirs.values()) {
        match (our, their) {
            (Entry::File { mode: our_mode, content: our }, Entry::File { mode, content: their }) => {
                assert_eq!((our_mode, our.len()), (mode, their.len()), "{}", path.display());
                if !differs_by_nature(path) {
                    assert!(our == their, "{} differs", path.display());
                    same += 1;
                }
            }
            _ => assert_eq!(our, their, "{}", path.display()),
        }
    }
    same
}

fn quiet_leader(root: &TempRoot, options: Options) -> Postgres {
    let leader = Postgres::start_new(root, "leader", Version::V15, options.wal_segment_mib(1));
    leader.pgbench(["-i", "-q", "-s", "1"]);
    leader.pgbench(["-n", "-t", "100"]);
    // Unlogged tables are left out but for their initial forks, temporary ones altogether.
    leader.script("create unlogged table unlogged as select generate_series(1, 100); checkpoint;");
    leader
}

#[test]
fn a_data_directory_has_the_files_that_pg_basebackup_makes() {
    let private = Options::default();
    let group = Options::default().initdb_arg("--allow-group-access");
    for (options, method) in [(private, "stream"), (group, "fetch")] {
        let root = TempRoot::new("same");
        let leader = quiet_leader(&root, options);
        let (ours, theirs) = (root.join("ours"), root.join("theirs"));
        pg_basebackup(&leader, &theirs).args(["-l", "same", "-X", method]).run().success();
        basebackup(&leader, &ours).args(["-l", "same", "-X", method]).run().success();
        let same = assert_same(&ours, &theirs);
        assert!(same > 900, "{same} files");
        assert_eq!(ours.metadata().unwrap().mode(), theirs.metadata().unwrap().mode());
    }
}

#[test]
fn archives_have_the_members_that_pg_basebackups_have() {
    let root = TempRoot::new("same");
    let leader = quiet_leader(&root, Options::default());
    let (ours, theirs) = (root.join("ours"), root.join("theirs"));
    pg_basebackup(&leader, &theirs).args(["-l", "same", "-F", "t", "-z"]).run().success();
    basebackup(&leader, &ours).args(["-l", "same", "-F", "t", "-z"]).run().success();
    let names = |directory: &Path| {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<_> =
            entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().mode())).collect();
        names.sort();
        names
    };
    assert_eq!(names(&ours), names(&theirs));
    let (ours, theirs) = (unpack(&root, &ours, "our-files"), unpack(&root, &theirs, "their-files"));
    let same = assert_same(&ours, &theirs);
    assert!(same > 900, "{same} files");
}

#[test]
fn progress_is_plain_lines_when_nobody_watches() {
    let root = TempRoot::new("progress");
    let leader = quiet_leader(&root, Options::default());
    for (options, name) in [(&["-P"][..], "plain"), (&["-P", "-v", "-F", "t"], "tar")] {
        let finished = basebackup(&leader, &root.join(name)).args(options).run().success();
        assert_eq!(finished.stdout, "");
        let said = &finished.stderr;
        assert!(said.lines().any(|line| line.contains(" kB (100%), 1/1 tablespace")), "{said:?}");
        assert!(!said.chars().any(|char| char.is_control() && char != '\n'), "{said:?}");
        assert!(said.ends_with('\n'), "{said:?}");
    }
}
