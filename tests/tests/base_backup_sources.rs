//! Base backups of other servers than a leader on its first timeline, and backups that stay with the server.

use std::path::Path;

use walship_tests::base_backup::{
    Load, assert_consistent, assert_starts, assert_verifies, basebackup, unpack, verify,
};
use walship_tests::{Options, Postgres, Shutdown, TempRoot, Tool, Version, archive, wait_until};

fn leader(root: &TempRoot) -> Postgres {
    let options = Options::default().wal_segment_mib(1).data_checksums().setting("max_wal_size", "1GB");
    Postgres::start_new(root, "leader", Version::V15, options)
}

/// A running standby that streams from the leader and has all that is committed.
#[track_caller]
fn start_standby(leader: &Postgres) -> Postgres {
    start_standby_called("standby", leader)
}

#[track_caller]
fn start_standby_called(name: &str, leader: &Postgres) -> Postgres {
    let mut standby = leader.clone_with_pg_basebackup(name);
    standby.follow(&leader.conninfo());
    standby.start();
    standby.wait_for_replay(leader.flush_lsn());
    standby
}

/// How a backup is taken, and a data directory got from it.
const WAYS: [&[&str]; 4] =
    [&["-X", "stream"], &["-X", "fetch"], &["-F", "t", "-X", "stream"], &["-F", "t", "-X", "fetch", "-z"]];

/// The data directory of a backup in either format, after insisting that it verifies.
#[track_caller]
fn verified(root: &TempRoot, backup: &Path) -> std::path::PathBuf {
    verify(root, backup).succeed();
    if backup.join("PG_VERSION").exists() {
        assert_verifies(root, Version::V15, backup, &[]);
        return backup.to_owned();
    }
    let directory = unpack(root, backup, "unpacked");
    std::fs::remove_dir_all(backup).unwrap();
    assert_verifies(root, Version::V15, &directory, &[]);
    directory
}

#[test]
fn a_standby_can_be_backed_up_while_it_replays() {
    let root = TempRoot::new("of-standby");
    let leader = leader(&root);
    let load = Load::start(&leader);
    let standby = start_standby(&leader);
    for options in WAYS {
        println!("{options:?}");
        let replayed = standby.sql("select count(*) from pgbench_history").parse().unwrap();
        let backup = root.join("backup");
        // Its WAL ends within a segment: standbys do not switch.
        load.during(basebackup(&standby, &backup).args(options));
        let directory = verified(&root, &backup);
        assert_starts(&standby, &directory, replayed);
    }
    load.stop();
}

#[test]
fn a_backup_of_a_promoted_leader_brings_the_history_of_its_timeline() {
    let root = TempRoot::new("promoted");
    let mut first = leader(&root);
    let load = Load::start(&first);
    let leader = start_standby(&first);
    load.stop();
    first.stop(Shutdown::Fast);
    leader.promote();
    let load = Load::start(&leader);
    for options in WAYS {
        println!("{options:?}");
        let backup = root.join("backup");
        let (transactions, _) = load.during(basebackup(&leader, &backup).args(options));
        let directory = verified(&root, &backup);
        let files = archive::wal_files(&directory.join("pg_wal"));
        let (history, segments) = files.split_first().unwrap();
        assert_eq!(history, "00000002.history", "{options:?}: {files:?}");
        assert!(segments.iter().all(|name| name.starts_with("00000002")), "{options:?}: {files:?}");
        assert_starts(&leader, &directory, transactions);
    }
    load.stop();
}

#[test]
fn the_wal_of_a_backup_over_two_timelines_is_read_along_its_history() {
    let root = TempRoot::new("two-timelines");
    let mut first = leader(&root);
    first.pgbench(["-i", "-q", "-s", "1"]);
    let (leader, standby) = (start_standby(&first), start_standby_called("other", &first));
    // So many pages that the new leader's first checkpoint takes long; until then there are none of its timeline.
    first.pgbench(["-n", "-t", "10"]);
    first.sql("create table filler as select generate_series(1, 200000) as n");
    let all = first.flush_lsn();
    [&leader, &standby].into_iter().for_each(|standby| standby.wait_for_replay(all));
    first.stop(Shutdown::Fast);
    leader.promote();
    standby.configure("primary_conninfo", &leader.conninfo());
    standby.reload();
    leader.sql("create table of_timeline_2 as select 1 as n");
    standby.wait_for_replay(leader.flush_lsn());
    for options in WAYS {
        println!("{options:?}");
        let backup = root.join("backup");
        basebackup(&standby, &backup).args(options).run().success();
        let directory = verified(&root, &backup);
        let manifest = std::fs::read(directory.join("backup_manifest")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["WAL-Ranges"].as_array().unwrap().len(), 2, "{options:?}");
        assert_starts(&standby, &directory, 0);
    }
}

#[test]
fn a_standby_that_is_promoted_meanwhile_gives_no_backup() {
    let root = TempRoot::new("promoted-meanwhile");
    let leader = leader(&root);
    leader.pgbench(["-i", "-q", "-s", "1"]);
    for method in ["fetch", "stream"] {
        let standby = start_standby(&leader);
        let backup = root.join("backup");
        let process = basebackup(&standby, &backup).args(["-X", method, "-r", "8M"]).spawn();
        wait_until("the first file", || backup.join("backup_label").exists());
        standby.promote();
        process.wait().failure("the standby was promoted during online backup");
        assert!(!backup.exists());
        drop(standby);
        std::fs::remove_dir_all(root.join("standby")).unwrap();
    }
}

#[test]
fn a_backup_can_stay_with_the_server() {
    let root = TempRoot::new("target");
    let leader = leader(&root);
    let load = Load::start(&leader);
    let backup = root.join("backup");
    let target = |detail: &str| {
        let tool = Tool::ours(&root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast"]);
        tool.args(["-X", "fetch", "-t", detail])
    };
    let (_, finished) = load.during(target("blackhole"));
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
    let place = format!("server:{}", backup.display());
    let (transactions, _) = load.during(target(&place).args(["-Z", "zstd"]));
    assert!(backup.join("base.tar.zst").exists());
    let directory = verified(&root, &backup);
    target("moon").run().one_line_failure("unrecognized target: \"moon\"");
    load.stop();
    let mut restored = Postgres::in_directory(&root, "restored", Version::V15, &directory);
    restored.start();
    assert_consistent(&restored, transactions);
}
