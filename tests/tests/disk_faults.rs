//! Disks that are full, directories that are gone, read-only or taken: one clear line, a failure, and nothing
//! acknowledged that is not there.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wal::{Lsn, SegmentSize};
use walship_tests::receiver::{assert_holds, walreceiver};
use walship_tests::{
    Options, Postgres, Process, SmallDisk, TempRoot, Tool, Version, Walsender, archive, wait_until,
};

fn segment_size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

/// A leader that keeps its WAL, with slot `w`, which remembers what was acknowledged.
fn leader(root: &TempRoot) -> Postgres {
    let options = Options::default().wal_segment_mib(1).setting("max_wal_size", "1GB");
    let leader = Postgres::start_new(root, "leader", Version::V15, options.setting("wal_keep_size", "1GB"));
    leader.sql("select pg_create_physical_replication_slot('w', true)");
    leader
}

/// Up to where slot `w` was acknowledged.
fn acknowledged(leader: &Postgres) -> Lsn {
    leader.sql("select restart_lsn from pg_replication_slots where slot_name = 'w'").parse().unwrap()
}

fn receive(leader: &Postgres, directory: &Path) -> Process {
    let receiver = walreceiver(leader.root(), &leader.conninfo(), directory);
    receiver.args(["--synchronous", "-S", "w"]).spawn()
}

/// Waits until everything written so far has been acknowledged, and says how far that is.
fn wait_until_acknowledged(leader: &Postgres) -> Lsn {
    let written = leader.flush_lsn();
    wait_until("everything to be acknowledged", || acknowledged(leader) >= written);
    acknowledged(leader)
}

#[test]
fn a_full_disk_ends_the_receiver_and_nothing_is_acknowledged_that_did_not_fit() {
    let root = TempRoot::new("full");
    let leader = leader(&root);
    let from = segment_size().floor(acknowledged(&leader));
    let disk = SmallDisk::new(&root, "small", 4 << 10);
    let receiver = receive(&leader, disk.path());
    leader.sql("create table t as select generate_series(1, 20000)");
    let fits = wait_until_acknowledged(&leader);
    assert!(fits.bytes_since(from) > 1 << 20);
    leader.pgbench(["-i", "-q", "-s", "1"]);
    assert!(leader.flush_lsn().bytes_since(from) > 8 << 20);
    let line = receiver.wait().failure("No space left on device");
    assert!(line.contains(&disk.path().display().to_string()), "the file is not named: {line}");
    let upto = acknowledged(&leader);
    assert!(upto >= fits && upto.bytes_since(from) < 4 << 20, "{upto}");
    assert_holds(disk.path(), &leader.wal_dir(), 1, segment_size(), (from, upto));

    // With room again it goes on where it was.
    for name in archive::segments(disk.path()) {
        std::fs::remove_file(disk.path().join(name)).unwrap();
    }
    let line = receive(&leader, disk.path()).wait().failure("No space left on device");
    assert!(acknowledged(&leader) > upto, "{line}");
}

#[test]
fn a_synchronous_commit_waits_when_the_witness_has_a_full_disk() {
    let root = TempRoot::new("full");
    let leader = leader(&root);
    let disk = SmallDisk::new(&root, "small", 3 << 10);
    let conninfo = format!("{} application_name=w", leader.conninfo());
    let witness = walreceiver(&root, &conninfo, disk.path()).args(["--synchronous", "-S", "w"]).spawn();
    leader.sql("create table t (n int, filler text)");
    wait_until_acknowledged(&leader);
    leader.configure("synchronous_standby_names", "ANY 1 (w)");
    leader.reload();
    let statement = "insert into t select n, repeat('x', 400) from generate_series(1, 200) n;\n";
    let inserts = (1..200).map(|number| format!("{statement}\\echo {number}\n")).collect::<String>();
    let mut client = leader.psql(["-XAtq", "-f", "-"]).stdin(inserts).spawn();
    witness.wait().failure("No space left on device");
    let upto = acknowledged(&leader);
    assert!(client.is_running(), "all commits went through without their witness");
    let seen = client.stdout().lines().count();
    // Nothing is visible that was not acknowledged.
    let visible: usize = leader.sql("select count(*) / 200 from t").parse().unwrap();
    assert!(visible >= seen && visible <= seen + 1, "{visible} visible, {seen} acknowledged");
    assert!(seen > 3);
    let from = Lsn::new(upto.as_u64() - (1 << 20));
    assert_holds(disk.path(), &leader.wal_dir(), 1, segment_size(), (from, upto));
}

#[test]
fn a_directory_removed_under_a_receiver_ends_it_and_nothing_more_is_acknowledged() {
    for whole in [true, false] {
        let root = TempRoot::new("removed");
        let leader = leader(&root);
        let directory = root.dir("archive");
        let receiver = receive(&leader, &directory);
        leader.sql("create table t as select generate_series(1, 1000)");
        let before = wait_until_acknowledged(&leader);
        if whole {
            std::fs::remove_dir_all(&directory).unwrap();
        } else {
            // The unfinished segment alone.
            for name in archive::wal_files(&directory) {
                std::fs::remove_file(directory.join(name)).unwrap();
            }
        }
        leader.sql("create table more as select generate_series(1, 20000)");
        let line = receiver.wait().failure("");
        assert!(line.contains(&directory.display().to_string()), "what is gone is not named: {line}");
        assert_eq!(acknowledged(&leader), before, "acknowledged what went into a file that is gone");
    }
}

#[test]
fn a_directory_that_cannot_be_written_or_is_not_there_is_one_line() {
    let root = TempRoot::new("unwritable");
    let leader = leader(&root);
    let before = acknowledged(&leader);
    let read_only = root.dir("read-only");
    std::fs::set_permissions(&read_only, Permissions::from_mode(0o555)).unwrap();
    let refused = receive(&leader, &read_only).wait();
    let line = refused.one_line_failure("Permission denied");
    assert!(line.contains("read-only"), "{line}");
    assert!(std::fs::read_dir(&read_only).unwrap().next().is_none());

    let line = receive(&leader, &root.join("nowhere")).wait().one_line_failure("No such file or directory");
    assert!(line.contains("nowhere"), "{line}");
    assert!(!root.join("nowhere").exists());
    let file = root.file("file", "");
    let line = receive(&leader, &file).wait().one_line_failure("Not a directory");
    assert!(line.contains("file"), "{line}");
    assert_eq!(acknowledged(&leader), before);
}

#[test]
fn a_directory_that_becomes_read_only_ends_the_receiver_at_its_next_segment() {
    let root = TempRoot::new("read-only");
    let leader = leader(&root);
    let directory = root.dir("archive");
    let from = segment_size().floor(acknowledged(&leader));
    let receiver = receive(&leader, &directory);
    wait_until_acknowledged(&leader);
    std::fs::set_permissions(&directory, Permissions::from_mode(0o555)).unwrap();
    leader.sql("create table t as select generate_series(1, 50000)");
    receiver.wait().failure("Permission denied");
    assert_holds(&directory, &leader.wal_dir(), 1, segment_size(), (from, acknowledged(&leader)));
    std::fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    let receiver = receive(&leader, &directory);
    let upto = wait_until_acknowledged(&leader);
    receiver.interrupt().success();
    assert_holds(&directory, &leader.wal_dir(), 1, segment_size(), (from, upto));
}

#[test]
fn a_second_receiver_on_a_directory_is_refused_and_the_first_goes_on() {
    let root = TempRoot::new("second");
    let leader = leader(&root);
    let directory = root.dir("archive");
    let mut receiver = receive(&leader, &directory);
    wait_until_acknowledged(&leader);
    let second = walreceiver(&root, &leader.conninfo(), &directory).run();
    let line = second.one_line_failure(&directory.display().to_string());
    assert!(line.contains(&receiver.pid().to_string()), "who holds it is not said: {line}");
    leader.sql("create table t as select generate_series(1, 1000)");
    wait_until_acknowledged(&leader);
    assert!(receiver.is_running());
    // What a killed one leaves behind keeps nobody out.
    receiver.kill9();
    let receiver = receive(&leader, &directory);
    leader.sql("create table u as select generate_series(1, 1000)");
    wait_until_acknowledged(&leader);
    receiver.interrupt().success();
}

/// Whether somebody could take the directory for a backup.
fn looks_like_a_backup(directory: &Path) -> bool {
    ["PG_VERSION", "backup_label", "backup_manifest", "global/pg_control", "base.tar"]
        .iter()
        .any(|name| directory.join(name).exists())
}

fn basebackup(leader: &Postgres, directory: &Path) -> Tool {
    let tool = Tool::ours(leader.root(), "basebackup").arg("-D").arg(directory);
    tool.args(["-d", &leader.conninfo(), "-c", "fast"])
}

#[test]
fn a_base_backup_that_runs_out_of_disk_leaves_nothing_that_looks_like_one() {
    let root = TempRoot::new("backup-full");
    let leader = leader(&root);
    for options in [&["-F", "p"][..], &["-F", "t"], &["-F", "p", "-X", "none"], &["-F", "t", "-X", "fetch"]] {
        let disk = SmallDisk::new(&root, "small", 8 << 10);
        let target = disk.path().join("backup");
        let failed = basebackup(&leader, &target).args(options).run();
        let line = failed.failure("No space left on device");
        assert!(line.contains("/backup/"), "the file is not named: {line}");
        assert!(!looks_like_a_backup(&target), "{options:?} left {}", target.display());
        // An existing directory is given back as it was, empty.
        let existing = disk.path().join("existing");
        Tool::new(&root, "mkdir", "/bin/mkdir").arg(&existing).succeed();
        basebackup(&leader, &existing).args(options).run().failure("No space left on device");
        assert!(std::fs::read_dir(&existing).unwrap().next().is_none(), "{options:?} left something");
    }
    // No slot and no sender of a backup stays behind at the leader.
    wait_until("the leader to be left alone", || {
        leader.sql("select count(*) from pg_stat_replication") == "0"
            && leader.sql("select count(*) from pg_replication_slots where temporary") == "0"
    });
}

#[test]
fn a_base_backup_into_what_it_may_not_write_or_already_is_one_fails_and_touches_nothing() {
    let root = TempRoot::new("backup-target");
    let leader = leader(&root);
    let read_only = root.dir("read-only");
    std::fs::set_permissions(&read_only, Permissions::from_mode(0o555)).unwrap();
    basebackup(&leader, &read_only.join("backup")).run().one_line_failure("Permission denied");
    basebackup(&leader, &read_only).run().one_line_failure("Permission denied");
    let backup = root.join("backup");
    basebackup(&leader, &backup).run().success();
    let before = std::fs::read(backup.join("backup_manifest")).unwrap();
    let line = basebackup(&leader, &backup).run().one_line_failure("");
    assert!(line.contains("exists but is not empty"), "{line}");
    assert_eq!(std::fs::read(backup.join("backup_manifest")).unwrap(), before);
    let file = root.file("file", "content");
    basebackup(&leader, &file).run().one_line_failure("");
    assert_eq!(std::fs::read(file).unwrap(), b"content");
}

#[test]
fn a_base_backup_whose_directory_is_removed_fails() {
    let root = TempRoot::new("backup-removed");
    let leader = leader(&root);
    let target = root.join("backup");
    let backup = basebackup(&leader, &target).args(["-r", "4M"]).spawn();
    wait_until("files in the backup", || target.join("base").is_dir());
    // While new files come in, once is not always enough.
    wait_until("the directory to be gone", || std::fs::remove_dir_all(&target).is_ok() || !target.exists());
    let line = backup.wait().failure("");
    assert!(line.contains("backup"), "{line}");
    assert!(!looks_like_a_backup(&target));
}

#[test]
fn two_base_backups_into_one_directory_do_not_mix() {
    let root = TempRoot::new("backup-twice");
    let leader = leader(&root);
    let target = root.join("backup");
    let first = basebackup(&leader, &target).args(["-r", "8M"]).spawn();
    wait_until("files in the backup", || target.join("base").is_dir());
    basebackup(&leader, &target).run().one_line_failure(&target.display().to_string());
    first.wait().success();
    let verify = Tool::postgres(&root, Version::V15, "pg_verifybackup").arg(&target);
    verify.run().success();
}

#[test]
fn a_walsender_that_cannot_serve_says_so_in_one_line() {
    let root = TempRoot::new("sender");
    let walsender = |directory: &Path, port: u16| {
        Tool::ours(&root, "walsender").arg("-D").arg(directory).args(["-p", &port.to_string()]).run()
    };
    let line = walsender(&root.join("nowhere"), 0).failure("No such file or directory");
    assert!(line.contains("nowhere"), "{line}");
    walsender(&root.file("file", ""), 0).failure("file");
    let leader = leader(&root);
    let directory = root.dir("archive");
    let receiver = receive(&leader, &directory);
    wait_until_acknowledged(&leader);
    let line = walsender(&directory, leader.port()).failure("Address already in use");
    assert!(line.contains(&leader.port().to_string()), "{line}");
    receiver.interrupt().success();
}

#[test]
fn followers_hear_of_it_when_the_served_directory_is_removed() {
    let root = TempRoot::new("served-removed");
    let leader = leader(&root);
    let directory = root.dir("archive");
    let receiver = receive(&leader, &directory);
    wait_until_acknowledged(&leader);
    let mut sender = Walsender::start_new(&root, &directory);
    let (_, _, end) = sender.identify();
    receiver.interrupt().success();
    std::fs::remove_dir_all(&directory).unwrap();
    // It may end or go on, but it must not serve what is not there.
    let received = root.dir("received");
    let follower = walreceiver(&root, &sender.conninfo(), &received).arg("-n").run();
    follower.failure("");
    let names = archive::segments(&received);
    assert!(names.is_empty(), "{names:?} of WAL up to {end} that is gone");
    if sender.process().is_running() {
        assert!(!sender.process().stderr().contains("panicked"), "{}", sender.process().stderr());
    }
}
