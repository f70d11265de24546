//! Slots of a walsender: made, read and dropped by PostgreSQL's tools, and remembered.

use std::path::PathBuf;

use wal::Lsn;
use walship_tests::receiver::{pg_receivewal, walreceiver};
use walship_tests::{Options, Postgres, Process, TempRoot, Tool, Version, Walsender, archive, wait_until};

/// A leader, its archive and a sender over that.
struct Served {
    root: TempRoot,
    leader: Postgres,
    archive: PathBuf,
    sender: Walsender,
    receiver: Process,
}

fn serve() -> Served {
    let root = TempRoot::new("slots");
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default().wal_segment_mib(1));
    let archive = root.dir("archive");
    let receiver = walreceiver(&root, &leader.conninfo(), &archive).spawn();
    wait_until("something to serve", || !archive::wal_files(&archive).is_empty());
    let sender = Walsender::start_new(&root, &archive);
    leader.sql("create table t as select generate_series(1, 30000)");
    sender.wait_for_end(leader.flush_lsn());
    Served { root, leader, archive, sender, receiver }
}

/// The position of slot `s`.
fn restart_lsn(sender: &Walsender) -> Lsn {
    let row = sender.command("READ_REPLICATION_SLOT s");
    let columns: Vec<_> = row.split('|').collect();
    assert_eq!((columns[0], columns[2]), ("physical", "1"), "{row}");
    columns[1].parse().unwrap()
}

#[test]
fn slots_are_made_read_and_dropped_through_psql() {
    let served = serve();
    let sender = &served.sender;
    assert_eq!(sender.command("READ_REPLICATION_SLOT s"), "||");
    assert_eq!(sender.command("CREATE_REPLICATION_SLOT s PHYSICAL"), "s|0/0||");
    assert_eq!(sender.command("READ_REPLICATION_SLOT s"), "physical||");
    let again = sender.try_command("CREATE_REPLICATION_SLOT s PHYSICAL");
    assert!(again.stderr.contains("42710") && again.stderr.contains("already exists"), "{again}");
    sender.command("DROP_REPLICATION_SLOT s");
    let gone = sender.try_command("DROP_REPLICATION_SLOT s");
    assert!(gone.stderr.contains("42704") && gone.stderr.contains("does not exist"), "{gone}");

    sender.command("CREATE_REPLICATION_SLOT s PHYSICAL RESERVE_WAL");
    assert!(restart_lsn(sender).is_valid());
    let bad_name = sender.try_command("CREATE_REPLICATION_SLOT \"../s\" PHYSICAL");
    assert!(bad_name.stderr.contains("42602"), "{bad_name}");
    let logical = sender.try_command("CREATE_REPLICATION_SLOT l LOGICAL pgoutput");
    assert_ne!(logical.code, Some(0), "{logical}");
    sender.command("CREATE_REPLICATION_SLOT passing TEMPORARY PHYSICAL");
    assert_eq!(sender.command("READ_REPLICATION_SLOT passing"), "||");
}

#[test]
fn slots_are_made_and_dropped_through_receivers() {
    let Served { root, sender, leader: _leader, receiver: _receiver, .. } = serve();
    let directory = root.dir("received");
    let stock = || pg_receivewal(&root, Version::V15, &sender.conninfo(), &directory);
    let ours = || walreceiver(&root, &sender.conninfo(), &directory);
    for receiver in [&stock as &dyn Fn() -> Tool, &ours] {
        let run = |option: &str| receiver().args(["-S", "s", option]).run();
        run("--create-slot").success();
        assert_eq!(sender.command("READ_REPLICATION_SLOT s").split('|').next(), Some("physical"));
        let again = run("--create-slot");
        assert!(again.code == Some(1) && again.stderr.contains("already exists"), "{again}");
        receiver().args(["-S", "s", "--create-slot", "--if-not-exists"]).run().success();
        run("--drop-slot").success();
        assert_eq!(sender.command("READ_REPLICATION_SLOT s"), "||");
        let gone = run("--drop-slot");
        assert!(gone.code == Some(1) && gone.stderr.contains("does not exist"), "{gone}");
    }
}

#[test]
fn a_slot_remembers_its_followers_position_over_restarts_and_kills() {
    let Served { root, leader, archive, mut sender, receiver } = serve();
    sender.command("CREATE_REPLICATION_SLOT s PHYSICAL RESERVE_WAL");
    let began = restart_lsn(&sender);
    let received = root.dir("received");
    let stock = pg_receivewal(&root, Version::V15, &sender.conninfo(), &received);
    let follower = stock.args(["-S", "s", "--synchronous"]).spawn();
    leader.sql("create table more as select generate_series(1, 60000)");
    let end = leader.flush_lsn();
    wait_until("the slot to advance", || restart_lsn(&sender) >= end);
    assert!(end > began);
    let busy = pg_receivewal(&root, Version::V15, &sender.conninfo(), &root.dir("other"));
    let busy = busy.args(["-S", "s", "-n"]).run();
    assert!(busy.code == Some(1) && busy.stderr.contains("is active"), "{busy}");
    follower.interrupt().success();
    let at_rest = restart_lsn(&sender);

    sender.terminate().success();
    sender.start();
    assert_eq!(restart_lsn(&sender), at_rest);
    sender.kill9();
    sender.start();
    assert_eq!(restart_lsn(&sender), at_rest);

    // A receiver with nothing of its own begins where the slot says.
    leader.script("create table yet_more as select generate_series(1, 60000); select pg_switch_wal()");
    wait_until("everything in the archive", || sender.identify().2 >= leader.flush_lsn());
    let anew = root.dir("anew");
    let follower = pg_receivewal(&root, Version::V15, &sender.conninfo(), &anew).args(["-S", "s"]).spawn();
    wait_until("everything to be received", || {
        archive::segments(&anew).last() == archive::segments(&archive).last()
    });
    follower.interrupt().success();
    let size = wal::SegmentSize::new(1 << 20).unwrap();
    let first = size.segment_of(at_rest).file_name(wal::TimelineId::FIRST, size);
    assert_eq!(archive::segments(&anew).first(), Some(&first));
    receiver.interrupt().success();
}
