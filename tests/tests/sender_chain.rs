//! Two archives in a row, and many followers at once.

use wal::{SegmentSize, TimelineId};
use walship_tests::receiver::{pg_receivewal, walreceiver};
use walship_tests::{
    DEADLINE, Options, Postgres, Process, TempRoot, Version, Walsender, archive, wait_for, wait_until,
};

#[test]
fn a_standby_at_the_end_of_two_receivers_and_two_senders_has_everything() {
    let root = TempRoot::new("chain");
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default().wal_segment_mib(1));
    leader.sql("select pg_create_physical_replication_slot(slot, true) from (values ('w'), ('p')) v(slot)");
    let (first, second, direct) = (root.dir("first"), root.dir("second"), root.dir("direct"));
    let stock = pg_receivewal(&root, Version::V15, &leader.conninfo(), &direct).args(["-S", "p"]).spawn();
    let receiver = walreceiver(&root, &leader.conninfo(), &first).args(["-S", "w"]).spawn();
    wait_until("something to serve", || !archive::wal_files(&first).is_empty());
    let upper = Walsender::start_new(&root, &first);
    upper.command("CREATE_REPLICATION_SLOT \"w\" PHYSICAL RESERVE_WAL");
    let relay = walreceiver(&root, &upper.conninfo(), &second).args(["-S", "w"]).spawn();
    wait_until("something to serve", || !archive::wal_files(&second).is_empty());
    let mut lower = Walsender::start_new(&root, &second);
    let mut standby = leader.clone_with_pg_basebackup("standby");
    standby.follow(&lower.conninfo());
    standby.start();

    leader.pgbench(["-i", "-q", "-s", "1"]);
    standby.wait_for_replay(leader.flush_lsn());
    lower.kill9();
    leader.pgbench(["-n", "-c", "2", "-t", "500"]);
    lower.start();
    leader.sql("create table last_words as select 'heard' as word");
    standby.wait_for_replay(leader.flush_lsn());
    assert_eq!(standby.sql("select word from last_words"), "heard");

    let end = leader.switch_wal();
    let size = SegmentSize::new(1 << 20).unwrap();
    let last = size.segment_ending_at(end).file_name(TimelineId::FIRST, size);
    wait_until("the archives to be equally long", || {
        [&direct, &first, &second].iter().all(|directory| directory.join(&last).exists())
    });
    for process in [relay, receiver, stock] {
        process.interrupt().success();
    }
    archive::assert_identical(&first, &direct);
    // The second began where the first stood when it came.
    let begin = archive::segments(&second).into_iter().next().unwrap();
    for name in archive::segments(&direct).into_iter().filter(|name| *name < begin) {
        std::fs::remove_file(direct.join(name)).unwrap();
    }
    assert!(archive::assert_identical(&second, &direct) > 10);
}

#[test]
fn ten_followers_at_once_receive_the_same_bytes() {
    let root = TempRoot::new("ten");
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default().wal_segment_mib(1));
    leader.sql("select pg_create_physical_replication_slot('w', true)");
    let archive = root.dir("archive");
    let receiver = walreceiver(&root, &leader.conninfo(), &archive).args(["-S", "w"]).spawn();
    let mut standby = leader.clone_with_pg_basebackup("standby");
    leader.pgbench(["-i", "-q", "-s", "1"]);
    leader.switch_wal();
    wait_until("finished segments", || archive::segments(&archive).len() > 5);
    let sender = Walsender::start_with(&root, &archive, &["-c", "max_wal_senders=20"]);

    // A standby, one of our own receivers, and eight of PostgreSQL's, all from the beginning.
    standby.follow(&sender.conninfo());
    standby.start();
    let first = archive::segments(&archive).into_iter().next().unwrap();
    let follow = |number: usize| -> Process {
        let directory = root.dir(format!("follower-{number}"));
        root.file(directory.join(&first), std::fs::read(archive.join(&first)).unwrap());
        match number {
            0 => walreceiver(&root, &sender.conninfo(), &directory).spawn(),
            _ => pg_receivewal(&root, Version::V15, &sender.conninfo(), &directory).spawn(),
        }
    };
    let followers: Vec<_> = (0..9).map(follow).collect();
    leader.pgbench(["-n", "-c", "4", "-t", "500"]);
    let end = leader.switch_wal();
    leader.sql("create table last_words as select 'heard' as word");
    standby.wait_for_replay(leader.flush_lsn());
    assert_eq!(standby.sql("select word from last_words"), "heard");
    let size = SegmentSize::new(1 << 20).unwrap();
    let last = size.segment_ending_at(end).file_name(TimelineId::FIRST, size);
    for number in 0..9 {
        let file = root.join(format!("follower-{number}")).join(&last);
        wait_for("everybody to have every segment", DEADLINE * 2, || file.exists().then_some(()));
    }
    wait_until("the archive to have it, too", || archive.join(&last).exists());
    receiver.interrupt().success();
    for (number, follower) in followers.into_iter().enumerate() {
        follower.interrupt().success();
        assert!(archive::assert_identical(&root.join(format!("follower-{number}")), &archive) > 10);
    }
}

#[test]
fn a_follower_too_many_is_told_so_and_the_others_stay() {
    let root = TempRoot::new("too-many");
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default().wal_segment_mib(1));
    let archive = root.dir("archive");
    let receiver = walreceiver(&root, &leader.conninfo(), &archive).spawn();
    wait_until("something to serve", || !archive::wal_files(&archive).is_empty());
    let sender = Walsender::start_with(&root, &archive, &["-c", "max_wal_senders=1"]);
    let received = root.dir("received");
    let follower = pg_receivewal(&root, Version::V15, &sender.conninfo(), &received).spawn();
    wait_until("the first follower", || !archive::wal_files(&received).is_empty());
    let other = root.dir("other");
    let refused = pg_receivewal(&root, Version::V15, &sender.conninfo(), &other).arg("-n").run();
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("max_wal_senders"), "{refused}");
    leader.sql("create table t as select generate_series(1, 30000)");
    leader.switch_wal();
    wait_until("the first follower to go on", || !archive::segments(&received).is_empty());
    follower.interrupt().success();
    receiver.interrupt().success();
}

#[test]
fn a_promotion_travels_down_a_chain_of_senders() {
    let root = TempRoot::new("chain-promotion");
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default().wal_segment_mib(1));
    let mut upstream = leader.clone_with_pg_basebackup("upstream");
    upstream.follow(&leader.conninfo());
    upstream.start();
    upstream.sql("select pg_create_physical_replication_slot('w', true)");
    let (first, second) = (root.dir("first"), root.dir("second"));
    let receiver = walreceiver(&root, &upstream.conninfo(), &first).args(["-S", "w"]).spawn();
    let upper = Walsender::start_new(&root, &first);
    upper.command("CREATE_REPLICATION_SLOT \"w\" PHYSICAL RESERVE_WAL");
    let relay = walreceiver(&root, &upper.conninfo(), &second).args(["-S", "w"]).spawn();
    let lower = Walsender::start_new(&root, &second);
    let mut standby = leader.clone_with_pg_basebackup("standby");
    standby.follow(&lower.conninfo());
    standby.start();
    leader.sql("create table before as select 1 as x");
    standby.wait_for_replay(leader.flush_lsn());

    upstream.promote();
    upstream.sql("create table after as select 2 as x");
    standby.wait_for_replay(upstream.flush_lsn());
    assert_eq!(standby.sql("select before.x, after.x from before, after"), "1|2");
    assert_eq!(standby.sql("select received_tli from pg_stat_wal_receiver"), "2");
    let history = |directory: &std::path::Path| std::fs::read(directory.join("00000002.history")).unwrap();
    assert_eq!(history(&first), history(&second));
    for process in [relay, receiver] {
        process.interrupt().success();
    }
}
