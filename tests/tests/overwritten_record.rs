//! A leader that loses the end of a long record in a crash starts its new WAL in the middle of it: receivers, senders
//! and their followers go along, as PostgreSQL's own do.

use wal::{Lsn, SegmentSize, TimelineId};
use walship_tests::proxy::{Proxy, Verdict};
use walship_tests::receiver::{pg_receivewal, walreceiver};
use walship_tests::{Options, Postgres, Process, TempRoot, Tool, Version, Walsender, archive, wait_until};

fn segment_size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

fn name_of(lsn: Lsn) -> String {
    segment_size().segment_of(lsn).file_name(TimelineId::FIRST, segment_size())
}

/// Writes a record of three segments, kills the leader, and takes from it all but the segment in which the record
/// begins, as if it had never written more. Gives the end of that segment, before which `received` has to be.
fn lose_the_end_of_a_record(leader: &mut Postgres, received: impl FnOnce(Lsn)) -> Lsn {
    let start = leader.flush_lsn();
    let rest = segment_size().end_of(segment_size().segment_of(start));
    leader.sql("select pg_logical_emit_message(true, 'long', repeat('x', 3000000))");
    assert!(leader.flush_lsn().bytes_since(rest) > 1 << 20);
    received(rest);
    leader.kill9();
    for name in archive::segments(&leader.wal_dir()).into_iter().filter(|name| *name >= name_of(rest)) {
        std::fs::remove_file(leader.wal_dir().join(name)).unwrap();
    }
    // The checkpoint that recovery starts from lies before it.
    leader.start();
    assert!(leader.sql("select pg_current_wal_flush_lsn()").parse::<Lsn>().unwrap() > rest);
    rest
}

fn leader(root: &TempRoot) -> Postgres {
    let options = Options::default().wal_segment_mib(1).setting("max_wal_size", "1GB");
    let leader =
        Postgres::start_new(root, "leader", Version::V15, options.setting("checkpoint_timeout", "1h"));
    leader.sql("select pg_create_physical_replication_slot(slot, true) from (values ('w'), ('p')) v(slot)");
    leader
}

fn receive(leader: &Postgres, conninfo: &str) -> Process {
    let receiver = walreceiver(leader.root(), conninfo, &leader.root().join("archive"));
    receiver.args(["-S", "w", "--synchronous"]).spawn()
}

/// What comes after the loss arrives, everywhere, and is what pg_receivewal receives.
fn assert_goes_on(leader: &Postgres, mut standby: Postgres, overwritten: Lsn) {
    let root = leader.root().clone();
    let (ours, theirs) = (root.join("archive"), root.dir("theirs"));
    let receiver = receive(leader, &leader.conninfo());
    let stock = pg_receivewal(&root, Version::V15, &leader.conninfo(), &theirs).args(["-S", "p"]).spawn();
    let sender = Walsender::start_new(&root, &ours);
    standby.follow(&sender.conninfo());
    standby.start();
    leader.sql("create table after as select generate_series(1, 1000) as n");
    standby.wait_for_replay(leader.flush_lsn());
    assert_eq!(standby.sql("select count(*) from after"), "1000");
    let end = leader.switch_wal();
    assert!(end > overwritten);
    let last = segment_size().segment_ending_at(end).file_name(TimelineId::FIRST, segment_size());
    wait_until("the last segment", || ours.join(&last).exists() && theirs.join(&last).exists());
    receiver.interrupt().success();
    stock.interrupt().success();
    archive::assert_identical(&ours, &theirs);
    Tool::ours(&root, "walreceiver").arg("verify").arg("-D").arg(&ours).succeed();
    let flags = std::fs::read(ours.join(name_of(overwritten))).unwrap()[2];
    assert_eq!(flags & 0x08, 0x08, "no record was overwritten");
}

#[test]
fn a_receiver_that_comes_later_reads_past_an_overwritten_record() {
    let root = TempRoot::new("overwritten");
    let mut leader = leader(&root);
    let standby = leader.clone_with_pg_basebackup("standby");
    root.dir("archive");
    let overwritten = lose_the_end_of_a_record(&mut leader, |_| {});
    assert_goes_on(&leader, standby, overwritten);
}

#[test]
fn a_receiver_that_has_the_beginning_of_the_lost_record_goes_on_with_what_replaced_it() {
    let root = TempRoot::new("overwritten");
    let mut leader = leader(&root);
    let standby = leader.clone_with_pg_basebackup("standby");
    root.dir("archive");
    // The server gets no further than the end of the segment in which the record begins: it died there.
    let limit = segment_size().end_of(segment_size().segment_of(leader.flush_lsn()));
    let proxy = Proxy::start(leader.port(), move |message| match message.as_wal() {
        Some((start, wal)) if start.saturating_add(wal.len() as u64) > limit => {
            let before = limit.bytes_since(start) as usize;
            Verdict::ReplaceAndHang(message.with_wal(start, &wal[..before]).encode())
        }
        _ => Verdict::Pass,
    });
    let receiver = receive(&leader, &proxy.conninfo());
    wait_until("the receiver to be where the leader is", || proxy.flushed() >= leader.flush_lsn());
    let overwritten = lose_the_end_of_a_record(&mut leader, |rest| {
        assert_eq!(rest, limit);
        wait_until("the beginning of the record", || proxy.flushed() >= rest);
    });
    receiver.interrupt().success();
    drop(proxy);
    assert_goes_on(&leader, standby, overwritten);
}
