//! The harness itself: servers live and die as the other tests rely on.

use walship_tests::{
    Frozen, Options, Postgres, Shutdown, TempRoot, Tool, Version, archive, descendants_of, wait_until,
};

#[test]
fn a_killed_server_leaves_no_process_and_recovers() {
    let root = TempRoot::new("killed");
    let mut server = Postgres::start_new(&root, "leader", Version::V15, Options::default());
    server.sql("create table kept as select 42 as answer");
    let backend = server.sql("select pid from pg_stat_activity where backend_type = 'checkpointer'");
    server.kill9();
    assert!(!is_alive(&backend));
    server.start();
    assert_eq!(server.sql("select answer from kept"), "42");
    server.stop(Shutdown::Fast);
}

#[test]
fn a_frozen_server_stands_still_with_all_its_processes_and_goes_on_afterwards() {
    let root = TempRoot::new("frozen");
    let mut server = Postgres::start_new(&root, "leader", Version::V15, Options::default());
    let postmaster = server.process().pid();
    let mut processes = descendants_of(postmaster);
    assert!(processes.len() >= 4, "checkpointer, writers and launcher are its children: {processes:?}");
    processes.push(postmaster);
    let stopped = || processes.iter().filter(|&&pid| state_of(pid) == "T").count();
    let frozen = Frozen::new(&root, postmaster);
    wait_until("all to be stopped", || stopped() == processes.len());
    drop(frozen);
    assert_eq!(server.sql("select 1"), "1");
    assert_eq!(stopped(), 0);
}

#[test]
fn every_version_at_hand_starts_with_small_segments_and_is_received_by_pg_receivewal() {
    for version in Version::at_hand() {
        let root = TempRoot::new("version");
        let options = Options::default().wal_segment_mib(1);
        let leader = Postgres::start_new(&root, "leader", version, options);
        assert!(leader.sql("show server_version").starts_with(&version.to_string()));
        let received = root.dir("received");
        let tool = Tool::postgres(&root, version, "pg_receivewal")
            .arg("-D")
            .arg(&received)
            .args(["-d", &leader.conninfo()]);
        let receiver = tool.spawn();
        wait_until("pg_receivewal to stream", || {
            leader.sql("select count(*) from pg_stat_replication") == "1"
        });
        leader.sql("create table t as select generate_series(1, 50000)");
        leader.switch_wal();
        wait_until("a finished segment", || !archive::segments(&received).is_empty());
        receiver.interrupt().success();
    }
}

#[test]
fn a_standby_made_by_pg_basebackup_follows_and_is_promoted() {
    let root = TempRoot::new("standby");
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default());
    let mut standby = leader.clone_with_pg_basebackup("standby");
    standby.follow(&leader.conninfo());
    standby.start();
    leader.sql("create table t as select 1 as x");
    standby.wait_for_replay(leader.flush_lsn());
    assert_eq!(standby.sql("select x from t"), "1");
    standby.promote();
    standby.sql("insert into t values (2)");
    assert_eq!(leader.sql("select count(*) from t"), "1");
}

#[test]
fn nothing_survives_a_test_process_that_is_killed() {
    // The same test executable, running one test of its own that starts a server and then waits to be killed.
    let executable = std::env::current_exe().unwrap();
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut child = std::process::Command::new(executable)
        .args(["--exact", "waits_to_be_killed", "--ignored", "--nocapture"])
        .stdout(output.reopen().unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(output.path()).unwrap();
    wait_until("the inner test's server", || said().contains(" ready\n"));
    let said = said();
    let line = said.lines().find_map(|line| line.strip_suffix(" ready")).unwrap();
    let (pid, path) = line.rsplit_once("server ").unwrap().1.split_once(' ').unwrap();
    assert!(std::path::Path::new(path).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // The directory goes last.
    wait_until("the directory to be gone", || !std::path::Path::new(path).exists());
    assert!(!is_alive(pid));
}

#[test]
#[ignore = "the inner half of nothing_survives_a_test_process_that_is_killed, which runs it"]
fn waits_to_be_killed() {
    let root = TempRoot::new("waits");
    let mut server = Postgres::start_new(&root, "leader", Version::V15, Options::default());
    println!("\nserver {} {} ready", server.process().pid(), root.path().display());
    loop {
        std::thread::park();
    }
}

/// Whether there is such a process; one that has ended, but was not waited for yet, has no command line any more.
fn is_alive(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty())
}

/// The letter that /proc has for what a process does.
fn state_of(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().next().unwrap().to_owned()
}
