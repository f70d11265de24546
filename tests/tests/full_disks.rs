//! Disks that fill up under eight clients: data, WAL and temporary files, of a leader and of a standby. Whoever asks for what
//! does not fit is refused, everything else goes on, and with space again so does that, without a restart.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use wal::Lsn;
use walship_tests::wire::Wire;
use walship_tests::{Process, Random, Shutdown, SmallDisk, TempRoot, Tool, Walwriter, wait_until};

const CLIENTS: u32 = 8;

/// A leader that is not running, with small segments and buffers.
fn leader(root: &TempRoot, settings: &[(&str, &str)]) -> Walwriter {
    let leader = Walwriter::init(root, "leader", &["--wal-segsize", "1"]);
    for (name, value) in [("shared_buffers", "4MB")].iter().chain(settings) {
        leader.configure(name, value);
    }
    leader
}

/// Puts a directory of a server that is not running on a disk of its own.
fn move_to(root: &TempRoot, server: &Walwriter, directory: &str, disk: &SmallDisk) -> PathBuf {
    let (from, to) = (server.data().join(directory), disk.path().join("moved"));
    Tool::new(root, "mkdir", "/bin/mkdir").args(["-p", "-m", "700"]).arg(&to).succeed();
    let entries =
        std::fs::read_dir(&from).map(|entries| entries.flatten().collect()).unwrap_or_else(|_| Vec::new());
    for entry in entries {
        Tool::new(root, "cp", "/bin/cp").arg("-a").arg(entry.path()).arg(&to).succeed();
    }
    let _ = std::fs::remove_dir_all(&from);
    symlink(&to, from).unwrap();
    to
}

/// So many KiB of nothing on the disk, until the file is removed.
fn filler(root: &TempRoot, disk: &SmallDisk, kib: u32) -> PathBuf {
    let path = disk.path().join("filler");
    let tool = Tool::new(root, "fallocate", "/usr/bin/fallocate").args(["-l", &format!("{kib}KiB")]);
    tool.arg(&path).succeed();
    path
}

/// Nothing at all is left on the disk, until the file is removed.
fn fill(disk: &SmallDisk) -> PathBuf {
    let path = disk.path().join("last");
    let mut file = std::fs::File::create(&path).unwrap();
    let zeros = [0; 4096];
    while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    let left = rustix::fs::statvfs(disk.path()).unwrap().f_bavail;
    assert_eq!(left, 0, "space is left");
    path
}

/// A standby called `one` that is not running, made of a backup of `leader`.
fn standby_of(root: &TempRoot, leader: &Walwriter, options: &[&str]) -> Walwriter {
    let directory = root.dir("one");
    let conninfo = format!("{} application_name=one", leader.conninfo());
    let tool = Tool::ours(root, "basebackup").args(["-d", &conninfo, "-c", "fast", "-R"]).args(options);
    tool.arg("-D").arg(&directory).succeed();
    Walwriter::in_directory(root, "one", &directory)
}

/// What `walwriter status` says of its directory.
fn status(server: &Walwriter) -> String {
    Tool::ours(server.root(), "walwriter").args(["status", "-D"]).arg(server.data()).succeed()
}

/// Clients that insert rows of 2 KB, each in a transaction of its own.
fn clients(server: &Walwriter, rows: u32) -> Vec<Process> {
    let client = |number: u32| {
        let mut random = Random::new();
        let mut script = String::new();
        for row in 0..rows {
            let text: String = (0..120).map(|_| format!("{:016x}", random.below(u64::MAX))).collect();
            script += &format!("insert into t values ({}, '{text}') returning id;\n", number * 100_000 + row);
        }
        server.psql(["-XAtq", "-v", "VERBOSITY=verbose", "-f", "-"]).stdin(script).named("client").spawn()
    };
    (0..CLIENTS).map(client).collect()
}

/// What they were told: the rows that were acknowledged, and how often there was no space.
fn results(clients: Vec<Process>) -> (BTreeSet<u32>, usize) {
    let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
    for client in clients {
        let finished = client.wait();
        acknowledged.extend(finished.stdout.lines().filter_map(|line| line.parse::<u32>().ok()));
        for line in finished.stderr.lines().filter(|line| line.contains("ERROR:")) {
            assert!(line.contains("53100"), "{line}");
            refused += 1;
        }
    }
    (acknowledged, refused)
}

#[track_caller]
fn assert_there(server: &Walwriter, acknowledged: &BTreeSet<u32>) {
    let rows = server.sql("select id from t");
    let there: BTreeSet<u32> = rows.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(acknowledged.difference(&there).count(), 0, "acknowledged rows are missing");
    assert_eq!(there.len(), acknowledged.len(), "refused rows are there");
}

/// It lives, in as much memory as before, and has not said the same over and over.
#[track_caller]
fn assert_calm(server: &mut Walwriter, of: &str) {
    assert!(server.is_running(), "{}", server.log());
    let peak = server.process().peak_memory().unwrap();
    assert!(peak < 200 << 10, "it took {peak} KiB");
    let said = server.log().lines().filter(|line| line.contains(of)).count();
    assert!(said <= 4, "{said} lines about {of}:\n{}", server.log());
}

#[test]
fn a_leader_whose_data_disk_is_full_refuses_what_does_not_fit_and_goes_on_with_the_rest() {
    let root = TempRoot::new("full-data");
    let disk = SmallDisk::new(&root, "small", 12 << 10);
    let mut leader = leader(&root, &[("max_wal_size", "16MB")]);
    move_to(&root, &leader, "base", &disk);
    leader.start();
    leader.sql("create table t (id int primary key, v text)");
    leader.sql("create table other (id int primary key, v text)");
    leader.sql("checkpoint");
    let fill = filler(&root, &disk, 4 << 10);
    let (acknowledged, refused) = results(clients(&leader, 1000));
    assert!(refused > 1000 && !acknowledged.is_empty(), "{refused} refused, {} not", acknowledged.len());
    assert_there(&leader, &acknowledged);
    assert_calm(&mut leader, "No space left");
    leader.sql("checkpoint");
    leader.sql("truncate other");
    leader.sql("delete from t where id = -1");
    leader.sql("drop table other");
    std::fs::remove_file(fill).unwrap();
    leader.sql("insert into t select id + 1000000, v from t limit 100");
    leader.sql("delete from t where id >= 1000000");
    leader.kill9();
    leader.start();
    assert_there(&leader, &acknowledged);
    // The table that fills the disk can go, and then there is space.
    leader.sql("truncate t");
    let (acknowledged, refused) = results(clients(&leader, 20));
    assert_eq!((acknowledged.len(), refused), (20 * CLIENTS as usize, 0));
}

#[test]
fn a_leader_whose_wal_disk_is_full_refuses_to_commit_until_there_is_space() {
    let root = TempRoot::new("full-wal");
    let disk = SmallDisk::new(&root, "small", 10 << 10);
    let mut leader = leader(&root, &[("max_wal_size", "64MB")]);
    move_to(&root, &leader, "pg_wal", &disk);
    leader.start();
    leader.sql("create table t (id int primary key, v text)");
    // What keeps it from being used again.
    leader.sql("select pg_create_physical_replication_slot('keeps', true)");
    let (acknowledged, refused) = results(clients(&leader, 1000));
    assert!(refused > 1000 && !acknowledged.is_empty(), "{refused} refused, {} not", acknowledged.len());
    assert_there(&leader, &acknowledged);
    // Whatever else appends to the log is refused too, and leaves what checkpoints need.
    let mut client = Wire::connect(leader.port());
    assert_eq!(client.code("select pg_switch_wal()"), "53100");
    let points = (0..1000).map(|_| client.query("select pg_create_restore_point('p')").error);
    let refusal = points.flatten().next().expect("restore points are never refused");
    assert_eq!(refusal.0, "53100", "{refusal:?}");
    leader.sql("checkpoint");
    assert_calm(&mut leader, "No space left");
    leader.kill9();
    leader.start();
    assert_there(&leader, &acknowledged);
    assert_eq!(Wire::connect(leader.port()).code("select pg_switch_wal()"), "53100");
    leader.sql("select pg_drop_replication_slot('keeps')");
    wait_until("commits to be taken again", || {
        leader.try_sql("insert into t values (-1, 'again')").code == Some(0)
    });
    leader.sql("delete from t where id = -1");
    leader.sql("select pg_switch_wal()");
    leader.kill9();
    leader.start();
    assert_there(&leader, &acknowledged);
}

#[test]
fn a_follower_that_comes_back_frees_the_wal_disk_that_its_slot_has_filled() {
    let root = TempRoot::new("full-slot");
    let disk = SmallDisk::new(&root, "small", 10 << 10);
    let mut leader = leader(&root, &[("max_wal_size", "64MB")]);
    move_to(&root, &leader, "pg_wal", &disk);
    leader.start();
    leader.sql("create table t (id int primary key, v text)");
    let mut standby = standby_of(&root, &leader, &["-C", "-S", "one"]);
    let (acknowledged, refused) = results(clients(&leader, 1000));
    assert!(refused > 1000, "{refused} refused");
    fill(&disk);
    assert!(leader.try_sql("insert into t values (-1, 'too much')").code != Some(0));
    standby.start();
    wait_until("commits to be taken again", || {
        leader.try_sql("insert into t values (-1, 'again')").code == Some(0)
    });
    leader.sql("delete from t where id = -1");
    assert_there(&leader, &acknowledged);
    assert_calm(&mut leader, "No space left");
    standby.assert_ends_as(&mut leader);
}

#[test]
fn a_sort_that_finds_no_space_for_its_files_fails_alone_on_leader_and_standby() {
    let root = TempRoot::new("full-temporary");
    let disk = SmallDisk::new(&root, "small", 2 << 10);
    let mut leader = leader(&root, &[]);
    move_to(&root, &leader, "base/pgsql_tmp", &disk);
    leader.start();
    leader.sql("create table t (id int primary key, v text)");
    let (acknowledged, refused) = results(clients(&leader, 250));
    assert_eq!(refused, 0);
    assert_sorts_fail_alone(&mut leader, &disk, &acknowledged);
    let mut standby = standby_of(&root, &leader, &[]);
    let disk = SmallDisk::new(&root, "smaller", 2 << 10);
    move_to(&root, &standby, "base/pgsql_tmp", &disk);
    standby.start();
    standby.wait_for_replay(leader.flush_lsn());
    assert_sorts_fail_alone(&mut standby, &disk, &acknowledged);
    leader.sql("insert into t values (-1, 'last')");
    standby.wait_for_replay(leader.flush_lsn());
}

#[track_caller]
fn assert_sorts_fail_alone(server: &mut Walwriter, disk: &SmallDisk, acknowledged: &BTreeSet<u32>) {
    let sort = "set work_mem = '64kB'; select id from t order by v";
    for _ in 0..3 {
        let failed = server.try_sql(sort);
        assert!(failed.stderr.contains("No space left on device"), "{failed}");
    }
    assert_there(server, acknowledged);
    let files = |path: &Path| std::fs::read_dir(path).unwrap().count();
    assert_eq!(files(&disk.path().join("moved")), 0, "files are left");
    let fits = "set work_mem = '64kB'; select id from t where id < 300 order by v";
    assert!(!server.sql(fits).is_empty());
    assert_calm(server, "No space left");
}

#[test]
fn a_standby_whose_wal_disk_is_full_stops_receiving_serves_reads_and_goes_on_by_itself() {
    let root = TempRoot::new("full-standby-wal");
    let disk = SmallDisk::new(&root, "small", 10 << 10);
    let mut leader = leader(&root, &[("max_wal_size", "64MB")]);
    leader.start();
    leader.sql("create table t (id int primary key, v text)");
    let mut standby = standby_of(&root, &leader, &["-C", "-S", "one"]);
    move_to(&root, &standby, "pg_wal", &disk);
    let fill = filler(&root, &disk, 6 << 10);
    standby.start();
    let (acknowledged, refused) = results(clients(&leader, 400));
    assert_eq!(refused, 0);
    wait_until("receiving to stop", || standby.log().contains("receiving has stopped at"));
    wait_until("the leader to see it", || leader.sql("select count(*) from pg_stat_replication") == "0");
    assert!(status(&standby).contains("stopped: there is no space for more WAL"), "{}", status(&standby));
    // All but a transaction of which only the beginning is there.
    wait_until("what is there to be replayed", || {
        let row = standby.sql("select pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()");
        let (received, replayed) = row.split_once('|').unwrap();
        received.parse::<Lsn>().unwrap().bytes_since(replayed.parse().unwrap()) < 64 << 10
    });
    let replayed: usize = standby.sql("select count(*) from t").parse().unwrap();
    assert!(replayed > 0 && replayed < acknowledged.len(), "{replayed} of {}", acknowledged.len());
    assert_calm(&mut standby, "No space left");
    // So does a start on a disk that is full.
    standby.kill9();
    standby.start();
    wait_until("receiving to stop", || standby.log().contains("receiving has stopped at"));
    assert_eq!(standby.sql("select count(*) from t"), replayed.to_string());
    std::fs::remove_file(fill).unwrap();
    wait_until("all of it to be received and replayed", || {
        leader.sql("select replay_lsn >= pg_current_wal_flush_lsn() from pg_stat_replication") == "t"
    });
    assert!(standby.log().contains("receiving goes on"), "{}", standby.log());
    assert!(!status(&standby).contains("stopped:"), "{}", status(&standby));
    assert_calm(&mut standby, "No space left");
    assert_there(&standby, &acknowledged);
    leader.sql("insert into t values (-1, 'last')");
    standby.assert_ends_as(&mut leader);
}

#[test]
fn a_promotion_on_a_full_wal_disk_waits_for_space_and_then_loses_nothing() {
    let root = TempRoot::new("full-promotion");
    let disk = SmallDisk::new(&root, "small", 10 << 10);
    let mut leader = leader(&root, &[("max_wal_size", "64MB")]);
    leader.start();
    leader.sql("create table t (id int primary key, v text)");
    let mut standby = standby_of(&root, &leader, &[]);
    move_to(&root, &standby, "pg_wal", &disk);
    standby.start();
    let (acknowledged, _) = results(clients(&leader, 50));
    standby.wait_for_replay(leader.flush_lsn());
    leader.kill9();
    let fill = fill(&disk);
    standby.sql("select pg_promote(false)");
    wait_until("the promotion to wait", || standby.log().contains("the promotion waits for space"));
    assert_eq!(standby.sql("select pg_is_in_recovery()"), "t");
    assert_there(&standby, &acknowledged);
    assert!(!standby.data().join("pg_wal/00000002.history").exists());
    std::fs::remove_file(fill).unwrap();
    wait_until("the promotion", || standby.sql("select pg_is_in_recovery()") == "f");
    standby.sql("insert into t values (-1, 'last')");
    standby.sql("delete from t where id = -1");
    assert_there(&standby, &acknowledged);
    assert_calm(&mut standby, "No space left");
    standby.stop(Shutdown::Fast).success();
    standby.assert_sound();
}

#[test]
fn a_standby_whose_data_disk_is_full_stops_replay_keeps_receiving_and_says_so() {
    let root = TempRoot::new("full-standby");
    let disk = SmallDisk::new(&root, "small", 24 << 10);
    let mut leader = leader(&root, &[("max_wal_size", "64MB")]);
    leader.start();
    leader.sql("create table t (id int primary key, v text)");
    let mut standby = standby_of(&root, &leader, &[]);
    move_to(&root, &standby, "base/5", &disk);
    let fill = filler(&root, &disk, 22 << 10);
    standby.start();
    let (acknowledged, refused) = results(clients(&leader, 250));
    assert_eq!(refused, 0);
    let state = |lsn: &str| format!("select {lsn} >= pg_current_wal_flush_lsn() from pg_stat_replication");
    wait_until("everything to be received", || leader.sql(&state("flush_lsn")) == "t");
    wait_until("replay to stop", || standby.log().contains("replay has stopped at"));
    assert_eq!(leader.sql(&state("replay_lsn")), "f");
    assert!(status(&standby).contains("stopped: the files of the pages"), "{}", status(&standby));
    assert!(standby.sql("select count(*) from t").parse::<usize>().unwrap() < acknowledged.len());
    assert_calm(&mut standby, "No space left");
    std::fs::remove_file(fill).unwrap();
    wait_until("replay to go on", || leader.sql(&state("replay_lsn")) == "t");
    let now = status(&standby);
    assert!(standby.log().contains("replay goes on") && !now.contains("stopped"), "{now}");
    assert_there(&standby, &acknowledged);
    leader.sql("insert into t values (-1, 'last')");
    standby.assert_ends_as(&mut leader);
}
