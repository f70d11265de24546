//! Where the WAL of a server ends that was killed: walsender says what PostgreSQL says.

use std::time::Duration;

use wal::{Lsn, SegmentSize};
use walship_tests::receiver::{pg_receivewal, read_wal, records_in};
use walship_tests::{Options, Postgres, Random, TempRoot, Version, Walsender, wait_until};

fn segment_size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

/// `lsn`, or the start of the page if it is right behind a page's header: two names of one position.
fn before_page_header(lsn: Lsn) -> Lsn {
    let header = if u64::from(segment_size().offset_of(lsn)) < 8192 { 40 } else { 24 };
    if lsn.as_u64() % 8192 == header { Lsn::new(lsn.as_u64() - header) } else { lsn }
}

#[test]
fn walsender_ends_the_wal_of_a_killed_server_where_pg_waldump_does() {
    let mut random = Random::new();
    let root = TempRoot::new("end-of-wal");
    // Few segments and many checkpoints: files are recycled, with old WAL in them behind the new.
    let options = Options::default().wal_segment_mib(1).setting("max_wal_size", "6MB");
    let mut server =
        Postgres::start_new(&root, "server", Version::V15, options.setting("min_wal_size", "4MB"));
    server.pgbench(["-i", "-q", "-s", "2"]);
    for round in 0..6 {
        let load = server.pgbench_tool(["-n", "-c", "3", "-T", "60"]).spawn();
        server.sql("checkpoint");
        random.moment(Duration::from_millis(1500));
        server.kill9();
        load.wait();
        let control = walship_tests::Tool::postgres(&root, Version::V15, "pg_controldata");
        let control = control.arg(server.data()).succeed();
        let redo = control.lines().find_map(|line| line.strip_prefix("Latest checkpoint's REDO location:"));
        let redo: Lsn = redo.expect("a redo location").trim().parse().unwrap();
        let last = *records_in(&root, &server.wal_dir(), Some(redo)).last().expect("a record");

        let sender = Walsender::start_new(&root, &server.wal_dir());
        let (system, timeline, end) = sender.identify();
        let expected = before_page_header(last.end(segment_size()));
        assert_eq!(before_page_header(end), expected, "round {round}, last record {last:?}");
        assert_eq!((system, timeline), (server_id(&control), 1));

        // And that far it serves, not further.
        let received = root.dir(format!("received-{round}"));
        let follower = pg_receivewal(&root, Version::V15, &sender.conninfo(), &received).spawn();
        let from = segment_size().floor(Lsn::new(end.as_u64() - 1));
        let original = read_wal(&server.wal_dir(), 1, segment_size(), from, end).unwrap();
        wait_until("everything to be received", || {
            read_wal(&received, 1, segment_size(), from, end).is_some_and(|received| received == original)
        });
        follower.interrupt().success();
        let beyond = read_wal(
            &received,
            1,
            segment_size(),
            end,
            segment_size().end_of(segment_size().segment_of(from)),
        );
        assert!(beyond.is_none_or(|beyond| beyond.iter().all(|&byte| byte == 0)), "round {round}");
        drop(sender);
        server.start();
    }
}

/// The system identifier that pg_controldata printed.
fn server_id(control: &str) -> String {
    let id = control.lines().find_map(|line| line.strip_prefix("Database system identifier:"));
    id.expect("a system identifier").trim().to_owned()
}
