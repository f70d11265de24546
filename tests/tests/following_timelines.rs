//! Timelines: what is received across a promotion is served across it, to followers that were there and to late ones.

use std::path::Path;

use wal::{Lsn, SegmentSize, TimelineId};
use walship_tests::receiver::{pg_receivewal, walreceiver};
use walship_tests::{
    Options, Postgres, Process, Shutdown, TempRoot, Version, Walsender, archive, wait_until,
};

fn small_segments() -> Options {
    Options::default().wal_segment_mib(1)
}

/// A leader and a standby of it.
fn pair(root: &TempRoot, version: Version) -> (Postgres, Postgres) {
    let leader = Postgres::start_new(root, "leader", version, small_segments());
    let mut standby = leader.clone_with_pg_basebackup("standby");
    standby.follow(&leader.conninfo());
    standby.start();
    leader.pgbench(["-i", "-q", "-s", "1"]);
    standby.wait_for_replay(leader.flush_lsn());
    (leader, standby)
}

/// A walreceiver at that server, once it streams.
fn receive(server: &Postgres, archive: &Path) -> Process {
    server.sql("select pg_create_physical_replication_slot('w', true)");
    let receiver = walreceiver(server.root(), &server.conninfo(), archive).args(["-S", "w"]).spawn();
    wait_until("the receiver to stream", || {
        // There may be standbys, too.
        server.sql(
            "select count(*) from pg_stat_replication join pg_replication_slots on pid = active_pid \
             where state = 'streaming' and slot_name = 'w'",
        ) == "1"
    });
    receiver
}

/// Waits until the directory has the finished segment in which the WAL up to `end` lies.
fn wait_for_segment(directory: &Path, timeline: u32, end: Lsn) {
    let size = SegmentSize::new(1 << 20).unwrap();
    let name = size.segment_ending_at(end).file_name(TimelineId::new(timeline), size);
    wait_until(&format!("{name} in {}", directory.display()), || directory.join(&name).exists());
}

fn received_timeline(standby: &Postgres) -> String {
    standby.sql("select received_tli from pg_stat_wal_receiver")
}

#[test]
fn followers_cross_a_promotion_that_happens_while_they_stream() {
    for version in Version::at_hand() {
        let root = TempRoot::new("promotion");
        let (leader, upstream) = pair(&root, version);
        let archive = root.dir("archive");
        let receiver = receive(&upstream, &archive);
        let mut follower = leader.clone_with_pg_basebackup("follower");
        let sender = Walsender::start_new(&root, &archive);
        follower.follow(&sender.conninfo());
        follower.start();
        let received = root.dir("received");
        let stock = pg_receivewal(&root, version, &sender.conninfo(), &received).spawn();
        leader.sql("create table before as select 1 as x");
        follower.wait_for_replay(leader.flush_lsn());
        assert_eq!(received_timeline(&follower), "1");
        wait_until("pg_receivewal to stream", || !archive::wal_files(&received).is_empty());

        upstream.promote();
        upstream.sql("create table after as select 2 as x");
        follower.wait_for_replay(upstream.flush_lsn());
        assert_eq!(received_timeline(&follower), "2");
        assert_eq!(follower.sql("select before.x, after.x from before, after"), "1|2");
        assert_eq!(sender.identify().1, 2);
        upstream.pgbench(["-n", "-t", "500"]);
        let end = upstream.switch_wal();
        for directory in [&archive, &received] {
            wait_for_segment(directory, 2, end);
        }
        stock.interrupt().success();
        receiver.interrupt().success();
        // pg_receivewal came later, so it has less of timeline 1.
        let first = archive::wal_files(&received).into_iter().next().unwrap();
        for name in archive::wal_files(&archive).into_iter().filter(|name| *name < first) {
            std::fs::remove_file(archive.join(name)).unwrap();
        }
        archive::assert_identical(&received, &archive);
        assert!(received.join("00000002.history").exists());
    }
}

#[test]
fn a_follower_that_comes_after_two_promotions_goes_through_both_switch_points() {
    let root = TempRoot::new("promotions");
    let (mut leader, mut second) = pair(&root, Version::V15);
    let archive = root.dir("archive");
    let mut late = leader.clone_with_pg_basebackup("late");
    second.sql("select pg_create_physical_replication_slot('w', true)");
    let receiver = receive_anew(&second, &archive);
    leader.sql("create table t as select 1 as timeline");
    second.wait_for_replay(leader.flush_lsn());
    leader.stop(Shutdown::Immediate);
    second.promote();
    second.sql("insert into t values (2)");
    let mut third = second.clone_with_pg_basebackup("third");
    third.follow(&second.conninfo());
    third.start();
    second.pgbench(["-n", "-t", "200"]);
    third.wait_for_replay(second.flush_lsn());
    wait_for_archive(&root, &archive, second.flush_lsn());
    third.sql("select pg_create_physical_replication_slot('w', true)");
    receiver.interrupt().success();
    second.stop(Shutdown::Immediate);
    third.promote();
    third.sql("insert into t values (3)");
    // The archive goes on with a server whose timeline branched off behind what it has.
    let receiver = receive_anew(&third, &archive);
    let end = third.switch_wal();
    wait_for_segment(&archive, 3, end);

    let sender = Walsender::start_new(&root, &archive);
    late.follow(&sender.conninfo());
    late.start();
    late.wait_for_replay(end);
    assert_eq!(late.sql("select string_agg(timeline::text, ',' order by timeline) from t"), "1,2,3");
    assert_eq!(received_timeline(&late), "3");
    for history in ["00000002.history", "00000003.history"] {
        assert_eq!(
            std::fs::read(archive.join(history)).unwrap(),
            std::fs::read(third.wal_dir().join(history)).unwrap()
        );
    }
    receiver.interrupt().success();
}

/// A walreceiver with the slot that is there already.
fn receive_anew(server: &Postgres, archive: &Path) -> Process {
    let receiver = walreceiver(server.root(), &server.conninfo(), archive).args(["-S", "w"]).spawn();
    wait_until("the receiver to stream", || {
        server.sql("select count(*) from pg_stat_replication where application_name = 'walreceiver' and state = 'streaming'")
            != "0"
    });
    receiver
}

/// Waits until the directory has everything up to `lsn`, as a sender would say.
fn wait_for_archive(root: &TempRoot, archive: &Path, lsn: Lsn) {
    let mut sender = Walsender::start_new(root, archive);
    sender.wait_for_end(lsn);
    sender.terminate().success();
}

#[test]
fn a_receiver_with_several_hosts_goes_over_to_the_one_that_was_promoted() {
    let root = TempRoot::new("several-hosts");
    let (mut leader, standby) = pair(&root, Version::V15);
    for server in [&leader, &standby] {
        server.sql("select pg_create_physical_replication_slot('w', true)");
    }
    let (archive, hosts) = (root.dir("archive"), "host=127.0.0.1,127.0.0.1 user=postgres");
    let ports = format!("port={},{} target_session_attrs=read-write", leader.port(), standby.port());
    let receiver = walreceiver(&root, &format!("{hosts} {ports}"), &archive).args(["-S", "w"]).spawn();
    let sender = loop_until_served(&root, &archive);
    leader.sql("create table t as select 1 as x");
    let acknowledged = leader.flush_lsn();
    sender.wait_for_end(acknowledged);
    standby.wait_for_replay(acknowledged);
    leader.kill9();
    standby.promote();
    standby.sql("insert into t values (2)");
    let end = standby.switch_wal();
    wait_for_segment(&archive, 2, end);
    assert_eq!(sender.identify().1, 2);
    receiver.interrupt().success();
}

fn loop_until_served(root: &TempRoot, archive: &Path) -> Walsender {
    wait_until("something to serve", || !archive::wal_files(archive).is_empty());
    Walsender::start_new(root, archive)
}

#[test]
fn a_timeline_that_forked_off_behind_what_a_follower_has_is_refused() {
    let root = TempRoot::new("fork");
    let (leader, standby) = pair(&root, Version::V15);
    let archive = root.dir("archive");
    standby.promote();
    standby.sql("create table t as select 1 as x");
    let receiver = receive(&standby, &archive);
    standby.pgbench(["-n", "-t", "500"]);
    let end = standby.switch_wal();
    wait_for_segment(&archive, 2, end);
    let sender = Walsender::start_new(&root, &archive);
    // The old leader goes on by itself on timeline 1, past the fork.
    leader.pgbench(["-n", "-t", "1000"]);
    let beyond = leader.flush_lsn();
    let refused = sender.try_command(&format!("START_REPLICATION {beyond} TIMELINE 1"));
    assert!(refused.stderr.contains("is not in this server's history"), "{refused}");
    receiver.interrupt().success();
}

#[test]
fn timeline_numbers_that_were_skipped_keep_nobody_from_the_newest() {
    let root = TempRoot::new("skipped");
    let (mut leader, upstream) = pair(&root, Version::V15);
    let archive = root.dir("archive");
    let receiver = receive(&leader, &archive);
    let mut follower = leader.clone_with_pg_basebackup("follower");
    let mut restored = leader.clone_with_pg_basebackup("restored");
    leader.sql("create table before as select 1 as x");
    let end = leader.flush_lsn();
    upstream.wait_for_replay(end);
    wait_until("the archive to have everything", || {
        let written = format!("select count(*) from pg_stat_replication where write_lsn >= '{end}'");
        leader.sql(&written) == "2"
    });
    receiver.interrupt().success();
    leader.stop(Shutdown::Immediate);
    // Standbys that took these numbers were thrown away.
    for timeline in 2..=6 {
        let history = format!("1\t{end}\ttaken elsewhere\n");
        root.file(upstream.wal_dir().join(format!("{timeline:08X}.history")), history);
    }
    upstream.promote();
    let receiver = receive(&upstream, &archive);
    upstream.sql("create table after as select 2 as x");
    let end = upstream.switch_wal();
    wait_for_segment(&archive, 7, end);
    let names = archive::wal_files(&archive);
    let histories: Vec<_> = names.into_iter().filter(|name| name.ends_with(".history")).collect();
    assert_eq!(histories, ["00000007.history"]);

    let sender = Walsender::start_new(&root, &archive);
    follower.follow(&sender.conninfo());
    follower.start();
    follower.wait_for_replay(end);
    assert_eq!(follower.sql("select before.x, after.x from before, after"), "1|2");
    assert_eq!(received_timeline(&follower), "7");

    receiver.interrupt().success();
    let fetch = walship_tests::Tool::ours(&root, "walreceiver");
    let command = format!("{} fetch -D {} %f %p", fetch.program().display(), archive.display());
    restored.configure("restore_command", &command);
    root.file(restored.data().join("recovery.signal"), "");
    restored.start();
    wait_until("the end of recovery", || restored.sql("select pg_is_in_recovery()") == "f");
    assert_eq!(restored.sql("select before.x, after.x from before, after"), "1|2");
}
