//! Hot standbys of walwriter, made while clients write, by our tools and by PostgreSQL's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use walship_tests::proxy::{Proxy, Verdict};
use walship_tests::{Process, Shutdown, TempRoot, Tool, Version, Walwriter, wait_until};

fn leader(root: &TempRoot) -> Walwriter {
    let server = Walwriter::start_new(root, "leader", &[("shared_buffers", "16MB")]);
    server.pgbench(["-i", "-s", "1", "-q"]);
    server
}

fn load(leader: &Walwriter) -> Process {
    leader.pgbench_tool(["-n", "-c", "4", "-j", "2", "-T", "600"]).spawn()
}

fn stop_load(load: Process) {
    // pgbench has no orderly way to end early.
    load.kill9();
}

/// Starts a standby in `directory`, reads from it while it follows, and waits until it has all that the leader has.
#[track_caller]
fn assert_follows(root: &TempRoot, leader: &Walwriter, name: &str, directory: &Path) -> Walwriter {
    let mut standby = Walwriter::in_directory(root, name, directory);
    standby.start();
    assert_eq!(standby.sql("select pg_is_in_recovery()"), "t");
    for _ in 0..5 {
        standby.assert_balanced();
    }
    let refused = standby.try_sql("insert into pgbench_history (tid) values (1)");
    assert!(refused.stderr.contains("cannot execute INSERT in a read-only transaction"), "{refused}");
    standby.wait_for_replay(leader.flush_lsn());
    standby.assert_balanced();
    standby
}

fn unpack(root: &TempRoot, archive: &Path, name: &str) -> PathBuf {
    let directory = root.dir(name);
    Tool::new(root, "tar", "/bin/tar").arg("-xf").arg(archive).arg("-C").arg(&directory).succeed();
    directory
}

#[test]
fn a_standby_is_made_during_load_by_our_tool_by_postgresqls_and_by_hand() {
    let root = TempRoot::new("ways");
    let leader = leader(&root);
    let load = load(&leader);

    let ours = root.dir("ours");
    let tool = Tool::ours(&root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast", "-X", "stream"]);
    tool.args(["-R", "-C", "-S", "ours", "-D"]).arg(&ours).succeed();
    let first = assert_follows(&root, &leader, "ours", &ours);

    let theirs = root.dir("theirs");
    let tool = Tool::postgres(&root, Version::V15, "pg_basebackup").args(["-d", &leader.conninfo()]);
    tool.args(["-c", "fast", "-X", "stream", "-R", "-C", "-S", "theirs", "-D"]).arg(&theirs).succeed();
    Tool::postgres(&root, Version::V15, "pg_verifybackup").arg(&theirs).succeed();
    let second = assert_follows(&root, &leader, "theirs", &theirs);

    let archives = root.dir("archives");
    let tool = Tool::ours(&root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast"]);
    tool.args(["-X", "fetch", "-F", "t", "-D"]).arg(&archives).succeed();
    let unpacked = unpack(&root, &archives.join("base.tar"), "unpacked");
    let by_hand = Walwriter::in_directory(&root, "unpacked", &unpacked);
    by_hand.follow(&leader.conninfo());
    let third = assert_follows(&root, &leader, "unpacked", &unpacked);

    stop_load(load);
    for standby in [&first, &second, &third] {
        standby.wait_for_replay(leader.flush_lsn());
        assert_eq!(standby.balances(), leader.balances());
    }
}

#[test]
fn a_standby_killed_and_restarted_during_load_ends_with_the_leaders_pages() {
    let root = TempRoot::new("pages");
    let mut leader = leader(&root);
    let load = load(&leader);
    let directory = root.dir("standby");
    let tool = Tool::ours(&root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast"]);
    tool.args(["-R", "-C", "-S", "standby", "-D"]).arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(&root, "standby", &directory);
    for _ in 0..4 {
        standby.start();
        standby.assert_balanced();
        standby.kill9();
    }
    standby.start();
    stop_load(load);
    standby.wait_for_replay(leader.flush_lsn());
    standby.assert_ends_as(&mut leader);
}

#[test]
fn a_backup_of_a_standby_that_has_half_a_record_ends_with_the_one_before() {
    let root = TempRoot::new("half-a-record");
    let settings = [("max_wal_size", "1GB"), ("wal_compression", "off")];
    let leader = Walwriter::start_new(&root, "leader", &settings);
    leader.sql("create table t (a int primary key, b text)");
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = Arc::clone(&slow);
    let proxy = Proxy::start(leader.port(), move |message| {
        if message.as_wal().is_some() && is_slow.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(100));
        }
        Verdict::Pass
    });
    let directory = root.dir("standby");
    Tool::ours(&root, "basebackup")
        .args(["-d", &leader.conninfo(), "-c", "fast", "-D"])
        .arg(&directory)
        .succeed();
    let mut standby = Walwriter::in_directory(&root, "standby", &directory);
    standby.follow(&proxy.conninfo());
    standby.start();
    standby.wait_for_replay(leader.flush_lsn());
    slow.store(true, Ordering::SeqCst);
    // Messages end with pages, which records do not.
    leader.sql("insert into t select g, repeat('x', 300) from generate_series(1, 100000) g");
    let all = leader.flush_lsn();
    for format in ["p", "t"] {
        let backup = root.join(format!("backup-{format}"));
        let tool = Tool::ours(&root, "basebackup").args(["-d", &standby.conninfo(), "-c", "fast", "-D"]);
        tool.arg(&backup).args(["-X", "fetch", "-F", format]).succeed();
        Tool::ours(&root, "basebackup").arg("verify").arg(&backup).succeed();
    }
    assert!(proxy.written() < all, "it has caught up already");
    // Nobody needs more than the backup to start from it.
    let backup = root.join("backup-p");
    let _ = std::fs::remove_file(backup.join("standby.signal"));
    let mut restored = Walwriter::in_directory(&root, "restored", &backup);
    restored.configure("primary_conninfo", "");
    restored.start();
    assert_eq!(restored.sql("select count(*) from t"), "0");
}

#[test]
fn what_a_synchronous_standby_acknowledged_is_there_after_the_leader_is_killed_and_it_is_promoted() {
    let root = TempRoot::new("failover");
    let mut leader = leader(&root);
    let directory = root.dir("standby");
    let conninfo = format!("{} application_name=standby", leader.conninfo());
    let tool = Tool::ours(&root, "basebackup").args(["-d", &conninfo, "-c", "fast"]);
    tool.args(["-R", "-C", "-S", "standby", "-D"]).arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(&root, "standby", &directory);
    standby.start();
    leader.configure("synchronous_standby_names", "FIRST 1 (standby)");
    leader.sql("select pg_reload_conf()");
    wait_until("the standby to count", || leader.sql("select sync_state from pg_stat_replication") == "sync");
    let before: u64 = leader.sql("select count(*) from pgbench_history").parse().unwrap();
    let logs = root.dir("acknowledged");
    let prefix = format!("--log-prefix={}", logs.join("done").display());
    let load = leader.pgbench_tool(["-n", "-c", "4", "-j", "2", "-T", "600", "-l", &prefix]).spawn();
    wait_until("some transactions", || {
        leader.sql("select count(*) from pgbench_history").parse::<u64>().unwrap() > before + 500
    });
    leader.kill9();
    load.wait();
    standby.promote();
    let acknowledged: u64 = std::fs::read_dir(&logs)
        .unwrap()
        .flatten()
        .map(|entry| std::fs::read_to_string(entry.path()).unwrap().lines().count() as u64)
        .sum();
    let found: u64 = standby.sql("select count(*) from pgbench_history").parse().unwrap();
    assert!(acknowledged > 0);
    assert!(
        (before + acknowledged..=before + acknowledged + 4).contains(&found),
        "{found} transactions, but {acknowledged} were acknowledged after the first {before}"
    );
    standby.assert_balanced();
    standby.sql("insert into pgbench_branches values (1000, 0, '')");
    standby.stop(Shutdown::Fast).success();
    standby.assert_sound();
}
