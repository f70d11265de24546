//! Directories past the point where a newer timeline left theirs: none follows it, and none shows what it discarded.

use std::path::Path;

use wal::{Lsn, SegmentSize, TimelineId};
use walship_tests::receiver::walreceiver;
use walship_tests::{Process, Shutdown, TempRoot, Tool, Walsender, Walwriter, lsns_in, wait_until};

/// A standby called `name`, from a backup of `leader`, which it follows. Not started.
fn standby(root: &TempRoot, name: &str, leader: &Walwriter) -> Walwriter {
    let directory = root.dir(name);
    let tool = Tool::ours(root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast", "-D"]);
    tool.arg(&directory).succeed();
    let standby = Walwriter::in_directory(root, name, &directory);
    standby.follow(&leader.conninfo());
    standby.configure("wal_retrieve_retry_interval", "20ms");
    standby
}

/// A leader, a standby that has its first row alone, and one that has the second too, on its pages.
struct Cluster {
    leader: Walwriter,
    behind: Walwriter,
    ahead: Walwriter,
}

impl Cluster {
    fn new(root: &TempRoot) -> Self {
        Self::of(root, Walwriter::start_new(root, "leader", &[]))
    }

    fn of(root: &TempRoot, leader: Walwriter) -> Self {
        leader.sql("create table t (id int primary key)");
        leader.sql("insert into t values (1)");
        let (mut behind, mut ahead) = (standby(root, "behind", &leader), standby(root, "ahead", &leader));
        behind.start();
        ahead.start();
        leader.sql("checkpoint");
        behind.wait_for_replay(leader.flush_lsn());
        behind.stop(Shutdown::Fast).success();
        leader.sql("insert into t values (2)");
        ahead.wait_for_replay(leader.flush_lsn());
        Self { leader, behind, ahead }
    }

    /// The leader dies, and the one that is behind takes its place.
    fn fail_over(&mut self) {
        self.leader.kill9();
        self.behind.configure("primary_conninfo", "");
        self.behind.start();
        self.behind.promote();
        self.behind.sql("insert into t values (3)");
    }
}

/// It has ended, or soon does, with one line that says why; and so it does each time it is started.
#[track_caller]
fn assert_refused(server: &mut Walwriter, started: Result<(), String>) {
    let said = |log: &str| {
        let line =
            log.lines().find(|line| line.contains("timeline 2 is not a child of this directory's history"));
        let line = line.unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains("base backup") && walship_tests::lsns_in(line).len() >= 2, "{line}");
    };
    match started {
        Err(log) => said(&log),
        Ok(()) => {
            let ended = server.wait_for_end();
            said(&ended.stderr);
            assert_eq!(ended.code, Some(1), "{ended}");
        }
    }
    for _ in 0..2 {
        match server.try_start() {
            Err(log) => said(&log),
            Ok(()) => panic!("it serves what was discarded: {}", server.sql("select * from t")),
        }
    }
}

#[test]
fn a_standby_that_is_ahead_ends_with_its_sessions_and_does_not_start_again() {
    let root = TempRoot::new("ahead");
    let mut cluster = Cluster::new(&root);
    cluster.ahead.sql("checkpoint");
    cluster.fail_over();
    let session: Process =
        cluster.ahead.psql(["-XAtq", "-c", "select pg_sleep(600)"]).named("session").spawn();
    wait_until("the session", || {
        cluster.ahead.sql("select count(*) from pg_stat_activity where query like '%pg_sleep(600)'") == "1"
    });
    cluster.ahead.follow(&cluster.behind.conninfo());
    cluster.ahead.sql("select pg_reload_conf()");
    assert_refused(&mut cluster.ahead, Ok(()));
    assert_ne!(session.wait().code, Some(0));

    // Whoever wants its rows takes the other's history away.
    std::fs::remove_file(cluster.ahead.wal_dir().join("00000002.history")).unwrap();
    cluster.ahead.configure("primary_conninfo", "");
    cluster.ahead.start();
    assert_eq!(cluster.ahead.sql("select * from t order by 1"), "1\n2");
}

#[test]
fn a_standby_that_was_killed_ahead_of_the_fork_is_refused_behind_a_walsender_and_an_archive() {
    for way in ["walsender", "archive"] {
        let root = TempRoot::new(way);
        let mut cluster = Cluster::new(&root);
        // Its pages are in their files.
        cluster.ahead.sql("checkpoint");
        cluster.ahead.kill9();
        cluster.fail_over();
        cluster.behind.sql("select pg_switch_wal()");
        cluster.behind.sql("insert into t values (4)");
        let sender;
        if way == "walsender" {
            sender = Walsender::start_new(&root, &cluster.behind.wal_dir());
            cluster.ahead.follow(&sender.conninfo());
        } else {
            let from = cluster.behind.wal_dir();
            cluster.ahead.configure("restore_command", &format!("cp {}/%f %p", from.display()));
            cluster.ahead.configure("primary_conninfo", "");
        }
        let started = cluster.ahead.try_start();
        assert_refused(&mut cluster.ahead, started);
    }
}

#[test]
fn an_old_leader_that_was_ahead_is_refused_killed_or_shut_down() {
    for killed in [true, false] {
        let root = TempRoot::new("old");
        let mut cluster = Cluster::new(&root);
        cluster.ahead.stop(Shutdown::Fast).success();
        if !killed {
            cluster.leader.stop(Shutdown::Fast).success();
            cluster.leader.start();
        }
        cluster.fail_over();
        if !killed {
            cluster.leader.start();
            cluster.leader.stop(Shutdown::Fast).success();
        }
        cluster.leader.follow(&cluster.behind.conninfo());
        let started = cluster.leader.try_start();
        assert_refused(&mut cluster.leader, started);
    }
}

#[test]
fn whoever_has_no_more_than_the_new_leader_follows_it() {
    let root = TempRoot::new("level");
    let Cluster { mut leader, behind, mut ahead } = Cluster::new(&root);
    let mut third = behind;
    // Planned: the leader ends in order, and the standby that has all of it takes over.
    leader.stop(Shutdown::Fast).success();
    ahead.wait_for_all_received();
    ahead.promote();
    ahead.sql("insert into t values (3)");
    for server in [&mut leader, &mut third] {
        server.follow(&ahead.conninfo());
        server.start();
        server.wait_for_replay(ahead.flush_lsn());
        assert_eq!(server.sql("select * from t order by 1"), "1\n2\n3");
    }
    assert!(Path::new(&third.wal_dir().join("00000002.history")).exists());
    third.stop(Shutdown::Fast).success();
    leader.assert_ends_as(&mut ahead);
}

#[test]
fn what_is_past_the_fork_in_memory_alone_takes_a_restart_and_no_base_backup() {
    let root = TempRoot::new("memory");
    let mut cluster = Cluster::new(&root);
    cluster.fail_over();
    cluster.ahead.follow(&cluster.behind.conninfo());
    cluster.ahead.sql("select pg_reload_conf()");
    let ended = cluster.ahead.wait_for_end();
    assert_eq!(ended.code, Some(1), "{ended}");
    let refused = |line: &&str| line.contains("timeline 2 is not a child of this directory's history");
    let line = ended.stderr.lines().find(refused).unwrap_or_else(|| panic!("{ended}"));
    assert!(line.contains("in memory alone") && line.contains("start this server again"), "{line}");
    assert!(lsns_in(line).len() == 2 && !line.contains("base backup"), "{line}");
    cluster.ahead.start();
    cluster.ahead.wait_for_replay(cluster.behind.flush_lsn());
    assert_eq!(cluster.ahead.sql("select * from t order by 1"), "1\n3");
}

#[test]
fn the_last_of_a_cascade_that_is_past_the_fork_is_refused_by_the_standby_it_follows() {
    let root = TempRoot::new("cascade");
    let mut cluster = Cluster::new(&root);
    cluster.ahead.sql("checkpoint");
    cluster.fail_over();
    let mut middle = standby(&root, "middle", &cluster.behind);
    middle.start();
    middle.wait_for_replay(cluster.behind.flush_lsn());
    cluster.ahead.follow(&middle.conninfo());
    cluster.ahead.sql("select pg_reload_conf()");
    assert_refused(&mut cluster.ahead, Ok(()));
    // The one before it is none the worse.
    cluster.behind.sql("insert into t values (5)");
    middle.wait_for_replay(cluster.behind.flush_lsn());
    assert_eq!(middle.sql("select * from t order by 1"), "1\n3\n5");
    let followers = middle.sql("select count(*) from pg_stat_replication");
    assert_eq!(followers, "0");
}

/// Where the new timeline left the old one.
fn fork(server: &Walwriter) -> Lsn {
    let history = std::fs::read_to_string(server.wal_dir().join("00000002.history")).unwrap();
    lsns_in(&history)[0]
}

#[test]
fn an_archive_that_is_past_the_fork_is_refused_and_follows_once_what_is_named_is_away() {
    let root = TempRoot::new("witness");
    let archive = root.dir("archive");
    let leader = Walwriter::start_new(&root, "leader", &[]);
    let receiver = walreceiver(&root, &leader.conninfo(), &archive).spawn();
    wait_until("the receiver to stream", || {
        leader.sql("select count(*) from pg_stat_replication where state = 'streaming'") == "1"
    });
    // A segment that is of both histories.
    leader.sql("create table before (id int)");
    leader.sql("select pg_switch_wal()");
    let mut cluster = Cluster::of(&root, leader);
    let size = SegmentSize::new(1 << 20).unwrap();
    let name = |lsn: Lsn, timeline| size.segment_ending_at(lsn).file_name(TimelineId::new(timeline), size);
    for id in [4, 5] {
        cluster.leader.sql(&format!("insert into t values ({id})"));
        cluster.leader.sql("select pg_switch_wal()");
    }
    let finished = archive.join(name(cluster.leader.flush_lsn(), 1));
    wait_until("two segments in the archive", || finished.exists());
    receiver.terminate().success();
    cluster.fail_over();
    let left = fork(&cluster.behind);

    let refused = walreceiver(&root, &cluster.behind.conninfo(), &archive).arg("-n").run();
    let line = refused.one_line_failure("this directory holds WAL of timeline 1 up to");
    let first = size.segment_of(left).file_name(TimelineId::FIRST, size);
    let [end, at] = lsns_in(&line)[..] else { panic!("{line}") };
    assert!(at == left && end > left && line.contains(&format!("move \"{first}\"")), "{line}");

    // As the line says.
    for file in walship_tests::archive::wal_files(&archive) {
        if file >= first {
            std::fs::rename(archive.join(&file), root.path().join(&file)).unwrap();
        }
    }
    assert!(!walship_tests::archive::segments(&archive).is_empty());
    let receiver = walreceiver(&root, &cluster.behind.conninfo(), &archive).spawn();
    cluster.behind.sql("select pg_switch_wal()");
    let finished = archive.join(name(cluster.behind.flush_lsn(), 2));
    wait_until("the new timeline in the archive", || finished.exists());
    receiver.terminate().success();
    Tool::ours(&root, "walreceiver").args(["verify", "-D"]).arg(&archive).succeed();
}
