//! Stock PostgreSQL is content with walsender alone: standbys and pg_receivewal stream from it, from old positions too.

use std::path::{Path, PathBuf};

use wal::{Lsn, SegmentNo, SegmentSize, TimelineId};
use walship_tests::receiver::{pg_receivewal, walreceiver};
use walship_tests::{
    Options, Postgres, Process, Shutdown, TempRoot, Version, Walsender, archive, wait_until,
};

fn small_segments() -> Options {
    Options::default().wal_segment_mib(1).setting("max_wal_size", "1GB")
}

fn segment_size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

/// A walreceiver with a slot of its own, from the server's current segment on.
fn start_receiver(leader: &Postgres, archive: &Path) -> Process {
    leader.sql("select pg_create_physical_replication_slot('w', true)");
    let receiver = walreceiver(leader.root(), &leader.conninfo(), archive).args(["-S", "w"]).spawn();
    wait_until("the receiver to stream", || {
        leader.sql("select count(*) from pg_stat_replication where state = 'streaming'") == "1"
    });
    receiver
}

/// A directory in which pg_receivewal goes on after the archive's first segment, and has to fetch all the others.
fn after_the_first_segment(root: &TempRoot, name: &str, archive: &Path) -> PathBuf {
    let directory = root.dir(name);
    let first = archive::segments(archive).into_iter().next().expect("a finished segment");
    root.file(directory.join(&first), std::fs::read(archive.join(&first)).unwrap());
    directory
}

/// The start of the segment that follows the one in which `lsn` lies.
fn next_segment(lsn: Lsn) -> Lsn {
    segment_size().end_of(segment_size().segment_of(lsn))
}

#[test]
fn a_stock_standby_and_pg_receivewal_catch_up_and_then_follow_what_is_written() {
    for version in Version::at_hand() {
        let root = TempRoot::new("follow");
        let leader = Postgres::start_new(&root, "leader", version, small_segments());
        let archive = root.dir("archive");
        let receiver = start_receiver(&leader, &archive);
        let mut standby = leader.clone_with_pg_basebackup("standby");
        leader.pgbench(["-i", "-q", "-s", "2"]);
        leader.switch_wal();
        let sender = Walsender::start_new(&root, &archive);
        standby.follow(&sender.conninfo());
        standby.start();
        let received = after_the_first_segment(&root, "received", &archive);
        let follower = pg_receivewal(&root, version, &sender.conninfo(), &received).spawn();
        standby.wait_for_replay(leader.flush_lsn());

        leader.pgbench(["-n", "-c", "2", "-t", "300"]);
        leader.sql("create table last_words as select 'heard' as word");
        standby.wait_for_replay(leader.flush_lsn());
        assert_eq!(standby.sql("select word from last_words"), "heard");
        let sums = "select sum(abalance), count(*) from pgbench_accounts";
        assert_eq!(standby.sql(sums), leader.sql(sums));
        let from = standby.sql("select status, sender_port from pg_stat_wal_receiver");
        assert_eq!(from, format!("streaming|{}", sender.port()));

        let end = next_segment(leader.switch_wal());
        wait_until("both archives to be complete", || {
            let last = segment_size().segment_ending_at(end).file_name(TimelineId::FIRST, segment_size());
            [&archive, &received].iter().all(|directory| directory.join(&last).exists())
        });
        follower.interrupt().success();
        receiver.interrupt().success();
        let segments = archive::assert_identical(&received, &archive);
        assert!(segments > 10, "{segments} segments");
    }
}

#[test]
fn followers_catch_up_from_a_finished_archive_that_nobody_writes_to() {
    let root = TempRoot::new("finished");
    let mut leader = Postgres::start_new(&root, "leader", Version::V15, small_segments());
    let archive = root.dir("archive");
    let receiver = start_receiver(&leader, &archive);
    let mut standby = leader.clone_with_pg_basebackup("standby");
    leader.pgbench(["-i", "-q", "-s", "1"]);
    leader.sql("create table last_words as select 'heard' as word");
    // Shutting down, the leader waits until its follower has everything.
    leader.stop(Shutdown::Fast);
    receiver.interrupt().success();

    let sender = Walsender::start_new(&root, &archive);
    standby.follow(&sender.conninfo());
    standby.start();
    standby.wait_for_replay(sender.identify().2);
    assert_eq!(standby.sql("select word from last_words"), "heard");
    let received = after_the_first_segment(&root, "received", &archive);
    let follower = pg_receivewal(&root, Version::V15, &sender.conninfo(), &received).spawn();
    wait_until("pg_receivewal to have every finished segment", || {
        archive::segments(&received) == archive::segments(&archive)
    });
    follower.interrupt().success();
    assert!(archive::assert_identical(&received, &archive) > 5);
}

#[test]
fn compressed_segments_are_served_like_others() {
    for method in ["gzip", "lz4"] {
        let root = TempRoot::new("compressed");
        let leader = Postgres::start_new(&root, "leader", Version::V15, small_segments());
        leader
            .sql("select pg_create_physical_replication_slot(slot, true) from (values ('w'), ('p')) v(slot)");
        let (archive, plain) = (root.dir("archive"), root.dir("plain"));
        let compressed =
            walreceiver(&root, &leader.conninfo(), &archive).args(["-S", "w", "-Z", method]).spawn();
        let uncompressed =
            pg_receivewal(&root, Version::V15, &leader.conninfo(), &plain).args(["-S", "p"]).spawn();
        let mut standby = leader.clone_with_pg_basebackup("standby");
        leader.pgbench(["-i", "-q", "-s", "1"]);
        leader.sql("create table last_words as select 'heard' as word");
        leader.switch_wal();
        let suffix = if method == "gzip" { ".gz" } else { ".lz4" };
        wait_until("the archives to be equally long", || {
            let ours = archive::wal_files(&archive).iter().filter(|name| name.ends_with(suffix)).count();
            ours > 5 && ours == archive::segments(&plain).len()
        });
        let sender = Walsender::start_new(&root, &archive);
        standby.follow(&sender.conninfo());
        standby.start();
        standby.wait_for_replay(leader.flush_lsn());
        assert_eq!(standby.sql("select word from last_words"), "heard");
        let received = after_the_first_segment(&root, "received", &plain);
        let follower = pg_receivewal(&root, Version::V15, &sender.conninfo(), &received).spawn();
        wait_until("everything to be received", || archive::segments(&received) == archive::segments(&plain));
        follower.interrupt().success();
        uncompressed.interrupt().success();
        compressed.interrupt().success();
        archive::assert_identical(&received, &plain);
    }
}

#[test]
fn what_is_not_there_is_refused_in_postgresqls_words_and_the_connection_stays_usable() {
    let root = TempRoot::new("refused");
    let leader = Postgres::start_new(&root, "leader", Version::V15, small_segments());
    let archive = root.dir("archive");
    let receiver = start_receiver(&leader, &archive);
    leader.pgbench(["-i", "-q", "-s", "1"]);
    receiver.interrupt().success();
    let sender = Walsender::start_new(&root, &archive);
    let (system, timeline, end) = sender.identify();
    assert_eq!((system, timeline), (leader.system_id(), 1));
    for (command, sqlstate) in [
        ("START_REPLICATION 0/100000 TIMELINE 7", "XX000"),
        ("TIMELINE_HISTORY 1", "58P01"),
        ("START_REPLICATION SLOT \"none\" 0/100000", "42704"),
        ("START_REPLICATION nowhere", "42601"),
        ("SELECT 1", "0A000"),
    ] {
        let refused = sender.try_command(command);
        assert!(refused.stderr.contains(sqlstate), "{command}: {refused}");
    }
    // Refused once the stream has begun, which psql cannot cope with.
    let after = |segment: SegmentNo, words: &str| {
        let directory = root.dir(format!("after-{segment:?}"));
        let name = segment.file_name(TimelineId::FIRST, segment_size());
        root.file(directory.join(name), vec![0; 1 << 20]);
        let refused = pg_receivewal(&root, Version::V15, &sender.conninfo(), &directory).arg("-n").run();
        assert!(refused.code == Some(1) && refused.stderr.contains(words), "{refused}");
    };
    after(SegmentNo::new(1), "requested WAL segment 000000010000000000000002 has already been removed");
    let ahead = segment_size().segment_of(end.saturating_add(1 << 30));
    after(ahead, "is ahead of the WAL flush position of this server");
    assert_eq!(sender.command("SHOW wal_segment_size"), "1MB");
    assert_eq!(sender.command("SHOW data_directory_mode"), "0700");
}
