//! A leader that has lost WAL, by an older copy of its directory put back: nobody's word of the other log counts.

use std::path::Path;

use wal::Lsn;
use walship_tests::receiver::walreceiver;
use walship_tests::{
    DEADLINE, Process, Shutdown, TempRoot, Tool, Walsender, Walwriter, wait_for, wait_until,
};

/// A leader with an empty table `t`, and a standby called `one` that follows it. A copy of the leader's directory as it was
/// then, shut down, is in `older`.
fn leader_standby_and_copy(root: &TempRoot) -> (Walwriter, Walwriter) {
    let mut leader = Walwriter::start_new(root, "leader", &[]);
    let directory = root.dir("one");
    let conninfo = format!("{} application_name=one", leader.conninfo());
    let tool = Tool::ours(root, "basebackup").args(["-d", &conninfo, "-c", "fast", "-R", "-D"]);
    tool.arg(&directory).succeed();
    let mut one = Walwriter::in_directory(root, "one", &directory);
    one.configure("wal_retrieve_retry_interval", "20ms");
    leader.sql("create table t (id int primary key, v text)");
    leader.stop(Shutdown::Fast).success();
    copy(root, leader.data(), &root.path().join("older"));
    leader.start();
    one.start();
    (leader, one)
}

fn copy(root: &TempRoot, from: &Path, to: &Path) {
    Tool::new(root, "cp", "/bin/cp").arg("-a").arg(from).arg(to).succeed();
}

/// Kills the leader, and puts the copy in its place.
fn put_back(root: &TempRoot, leader: &mut Walwriter) {
    leader.kill9();
    std::fs::remove_dir_all(leader.data()).unwrap();
    copy(root, &root.path().join("older"), leader.data());
}

/// An insert that nobody acknowledges; it is durable here.
#[track_caller]
fn insert_in_vain(leader: &Walwriter, id: u32) -> Process {
    let before = leader.flush_lsn();
    let insert = format!("insert into t values ({id}, repeat('other', {id}))");
    let waits = leader.psql(["-XAtq", "-c", &insert]).named("insert").spawn();
    wait_until("the insert to be durable here", || leader.flush_lsn() > before);
    waits
}

/// Ends the log with its segment, durably; there.
#[track_caller]
fn end_the_segment(leader: &Walwriter) -> Lsn {
    leader.sql("select pg_switch_wal()");
    let ends = || Some(leader.flush_lsn()).filter(|end| end.as_u64() % (1 << 20) == 0);
    wait_for("the switch to be durable", DEADLINE, ends)
}

fn make_synchronous(leader: &Walwriter, names: &str) {
    leader.configure("synchronous_standby_names", names);
    leader.sql("select pg_reload_conf()");
    wait_until("the new setting", || leader.sql("show synchronous_standby_names") == names);
}

#[test]
fn a_standby_and_a_witness_that_are_ahead_acknowledge_nothing_and_are_shown() {
    let root = TempRoot::new("older");
    let (mut leader, one) = leader_standby_and_copy(&root);
    let archive = root.dir("archive");
    let conninfo = format!("{} application_name=witness", leader.conninfo());
    let mut witness = walreceiver(&root, &conninfo, &archive).arg("--synchronous").spawn();
    make_synchronous(&leader, "ANY 1 (one, witness)");
    leader.sql("insert into t values (1, 'mine')");
    for id in 2..5 {
        leader.sql(&format!("insert into t values ({id}, 'mine')"));
    }
    let end = leader.flush_lsn();
    one.wait_for_replay(end);
    wait_until("the witness to have all", || {
        leader.sql("select flush_lsn = sent_lsn from pg_stat_replication where application_name = 'witness'")
            == "t"
    });

    put_back(&root, &mut leader);
    leader.configure("synchronous_standby_names", "ANY 1 (one, witness)");
    leader.start();
    wait_until("the standby to be shown as ahead", || {
        let ahead = "select state, sync_state, flush_lsn > sent_lsn from pg_stat_replication where application_name = 'one'";
        leader.sql(ahead) == "ahead|quorum|t"
    });
    let status = Tool::ours(&root, "walwriter").args(["status", "-D"]).arg(leader.data()).succeed();
    assert!(status.contains("ahead"), "{status}");
    assert!(leader.log().contains("this server has lost WAL"), "{}", leader.log());
    assert!(leader.log().contains(&end.to_string()), "{}", leader.log());
    wait_until("both to say that their leader has less", || {
        let said = |log: &str| log.contains("this directory has WAL of timeline 1 up to");
        said(&one.log()) && said(&witness.stderr())
    });
    // Enough to come to lie where the other log had been acknowledged.
    let mut waiting = Vec::new();
    for id in 1000..1040 {
        waiting.push(insert_in_vain(&leader, id));
        if leader.flush_lsn() > end {
            break;
        }
    }
    assert!(leader.flush_lsn() > end);
    wait_until("both to find it out", || {
        let forked = |log: &str| log.contains("the histories have forked");
        forked(&one.log()) && !witness.is_running() && forked(&witness.stderr())
    });
    assert!(waiting.iter_mut().all(Process::is_running), "nobody has it");
    leader.kill9();
    for insert in waiting {
        assert_ne!(insert.wait().code, Some(0));
    }
    one.promote();
    assert_eq!(one.sql("select count(*), max(id) from t"), "4|4");
}

#[test]
fn at_the_end_of_the_log_a_record_is_sent_that_proves_whose_it_is() {
    let root = TempRoot::new("boundary");
    let (mut leader, mut one) = leader_standby_and_copy(&root);
    make_synchronous(&leader, "one");
    leader.sql("insert into t values (1, 'mine')");
    let boundary = end_the_segment(&leader);
    wait_until("the standby to have the segment", || {
        leader.sql(&format!("select flush_lsn >= '{boundary}' from pg_stat_replication")) == "t"
    });
    assert_eq!(leader.flush_lsn(), boundary);
    one.stop(Shutdown::Fast).success();
    one.start();
    // Nothing was left to send: what it says counts by the record that was appended for it.
    wait_until("the standby to be synchronous again", || {
        let counts = format!("select sync_state, flush_lsn > '{boundary}' from pg_stat_replication");
        leader.sql(&counts) == "sync|t"
    });
    leader.sql("insert into t values (2, 'mine')");

    // Another log, which ends where that one's segment does.
    let old = one.sql("select pg_last_wal_replay_lsn()");
    one.stop(Shutdown::Fast).success();
    put_back(&root, &mut leader);
    leader.configure("synchronous_standby_names", "one");
    leader.start();
    let local =
        ["-XAtq", "-c", "set synchronous_commit = local", "-c", "insert into t values (1, 'the other one')"];
    leader.psql(local).succeed();
    assert_eq!(end_the_segment(&leader), boundary);
    one.start();
    let mut waits = insert_in_vain(&leader, 2000);
    wait_until("the standby to find it out", || {
        one.log().contains("could not receive data from WAL stream: server sent")
            || one.log().contains("forked")
    });
    assert!(waits.is_running());
    assert_eq!(one.sql("select pg_last_wal_replay_lsn()"), old);
    waits.kill9();
}

/// A standby in directory `name`, from a backup of `leader`, which it follows as `one`. Running.
fn standby(root: &TempRoot, name: &str, leader: &Walwriter) -> Walwriter {
    let directory = root.dir(name);
    // Under another name: what the backup has received would count as well.
    let tool = Tool::ours(root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast", "-D"]);
    tool.arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(root, name, &directory);
    standby.follow(&format!("{} application_name=one", leader.conninfo()));
    standby.configure("wal_retrieve_retry_interval", "20ms");
    standby.start();
    standby
}

#[test]
fn a_follower_that_begins_beyond_the_end_is_shown_though_it_is_turned_away() {
    let root = TempRoot::new("beyond");
    let (mut leader, mut one) = leader_standby_and_copy(&root);
    // More than a segment that the older copy has not.
    for id in 1..4 {
        leader.sql(&format!("insert into t values ({id}, 'mine')"));
        end_the_segment(&leader);
    }
    leader.sql("insert into t values (4, 'mine')");
    let end = leader.flush_lsn();
    one.wait_for_replay(end);
    put_back(&root, &mut leader);
    leader.configure("synchronous_standby_names", "one");
    leader.start();
    let states = "select state, sync_state from pg_stat_replication where application_name = 'one'";
    wait_until("the standby to be shown", || {
        leader
            .sql("select state, flush_lsn > sent_lsn from pg_stat_replication where application_name = 'one'")
            == "ahead|t"
    });
    assert_eq!(leader.sql(states), "ahead|potential");
    let status = Tool::ours(&root, "walwriter").args(["status", "-D"]).arg(leader.data()).succeed();
    assert!(status.lines().any(|line| line.contains("one at") && line.contains(": ahead")), "{status}");
    assert!(leader.log().contains("this server has lost WAL"), "{}", leader.log());
    let mut waits = insert_in_vain(&leader, 1000);
    // It asks again and again, and is shown once.
    let refusals = || one.log().matches("is ahead of the WAL flush position").count();
    let before = refusals();
    wait_until("it to ask again", || refusals() > before + 2);
    assert_eq!(leader.sql(states), "ahead|potential");
    assert!(waits.is_running());

    // It is made anew, and what was waited for has come.
    one.stop(Shutdown::Fast).success();
    let anew = standby(&root, "anew", &leader);
    wait_until("it alone to be shown", || leader.sql(states) == "streaming|sync");
    assert_eq!(waits.wait().code, Some(0));
    anew.wait_for_replay(leader.flush_lsn());
    assert_eq!(anew.sql("select id from t"), "1000");
}

#[test]
fn a_follower_that_begins_beyond_what_a_sender_has_is_shown_until_that_has_it_too() {
    let root = TempRoot::new("witness");
    let leader = Walwriter::start_new(&root, "leader", &[]);
    leader.sql("create table t (id int primary key, v text)");
    let archive = root.dir("archive");
    let receive = || walreceiver(&root, &leader.conninfo(), &archive).spawn();
    let receiver = receive();
    wait_until("the receiver to stream", || {
        leader.sql("select count(*) from pg_stat_replication where state = 'streaming'") == "1"
    });
    receiver.terminate().success();
    let one = standby(&root, "one", &leader);
    for id in 0..2 {
        end_the_segment(&leader);
        leader.sql(&format!("insert into t values ({id}, '')"));
    }
    one.wait_for_replay(leader.flush_lsn());
    let sender = Walsender::start_new(&root, &archive);
    one.configure("primary_conninfo", &format!("{} application_name=one", sender.conninfo()));
    one.sql("select pg_reload_conf()");
    let status = || Tool::ours(&root, "walsender").args(["status", "-D"]).arg(&archive).succeed();
    let state = |status: &str| {
        let lines = status.lines().filter(|line| line.starts_with("one "));
        lines.map(|line| line.split_whitespace().nth(2).unwrap().to_owned()).collect::<Vec<_>>()
    };
    wait_until("the standby to be shown", || state(&status()) == ["ahead"]);
    let receiver = receive();
    wait_until("the standby to stream", || state(&status()) == ["streaming"]);
    receiver.terminate().success();
}
