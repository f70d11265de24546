//! A walsender over the `pg_wal` of a PostgreSQL server that runs, dies and comes back under it.

use wal::{Lsn, SegmentSize, TimelineId};
use walship_tests::receiver::pg_receivewal;
use walship_tests::{Options, Postgres, TempRoot, Version, Walsender, archive, wait_until};

fn segment_size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

fn name_of(lsn: Lsn) -> String {
    segment_size().segment_ending_at(lsn).file_name(TimelineId::FIRST, segment_size())
}

#[test]
fn of_a_running_server_what_is_certainly_durable_is_served_and_never_more() {
    let root = TempRoot::new("running");
    let options = Options::default().wal_segment_mib(1).setting("wal_keep_size", "1GB");
    let mut server = Postgres::start_new(&root, "server", Version::V15, options);
    let sender = Walsender::start_new(&root, &server.wal_dir());
    let received = root.dir("received");
    let follower = pg_receivewal(&root, Version::V15, &sender.conninfo(), &received).spawn();
    wait_until("the follower to stream", || !archive::wal_files(&received).is_empty());
    let mut load = server.pgbench_tool(["-n", "-f", "-", "-c", "2", "-T", "120"]);
    load = load.stdin("select pg_logical_emit_message(true, 'some', repeat('x', 500));");
    let mut load = load.spawn();
    for _ in 0..20 {
        // Asked in this order, what is served can only have been flushed before.
        let (_, _, served) = sender.identify();
        assert!(served <= server.flush_lsn(), "{served} is served, {} flushed", server.flush_lsn());
    }
    assert!(load.is_running());
    load.interrupt();
    let end = server.switch_wal();
    // The next segment begun is what makes this one certain.
    server.script("create table t as select generate_series(1, 1000); checkpoint;");
    wait_until("the finished segments", || received.join(name_of(end)).exists());
    for name in archive::segments(&received) {
        let (ours, theirs) = (received.join(&name), server.wal_dir().join(&name));
        assert!(std::fs::read(ours).unwrap() == std::fs::read(theirs).unwrap(), "{name} differs");
    }

    // Killed, the server leaves WAL to its very end, which is then served, and after its return what follows.
    server.sql("create table last_words as select 1");
    let acknowledged = server.flush_lsn();
    server.kill9();
    sender.wait_for_end(acknowledged);
    server.start();
    let end = server.switch_wal();
    server.script("create table u as select generate_series(1, 1000); checkpoint;");
    wait_until("what came after", || received.join(name_of(end)).exists());
    for name in archive::segments(&received) {
        let (ours, theirs) = (received.join(&name), server.wal_dir().join(&name));
        assert!(std::fs::read(ours).unwrap() == std::fs::read(theirs).unwrap(), "{name} differs");
    }
    follower.interrupt().success();
}
