//! A panic in any thread and a broken invariant end the program at once, with one line, and nothing that was acknowledged
//! is lost by it.

use walship_tests::receiver::{pg_receivewal, walreceiver};
use walship_tests::{Process, Shutdown, TempRoot, Tool, Version, Walsender, Walwriter, wait_until};

/// What the line about a panic says beside the panic's own message.
const LINE: [&str; 3] = ["thread \"", "panicked at crates/", "this is a bug, and ends the process: "];

/// Invariants broken on a leader, and what the line says of them.
const BROKEN_ON_A_LEADER: [(&str, &str); 11] = [
    ("write the log elsewhere", "what is pending begins where the last write ended"),
    ("call durable what was not written", "nothing is durable, FFFFFFFF/FFFFFFFF, that was not written"),
    ("insert behind the log's end", "the log ends where its layout goes on"),
    ("take recovery's start back", "where recovery starts never goes back"),
    ("write a page before its log", "is written before the log"),
    ("publish an older version of a page", "the versions of block "),
    ("show readers an older snapshot", "snapshots ascend"),
    ("forget a lock's first holder", "further holders follow a first one"),
    ("send what is not durable", "a chunk lies between what is sent"),
    ("end a run before what it changes", "and now by what ends at 0/0"),
    ("keep none of the log", "nothing is needed, from FFFFFFFF/FFFFFFFF on, that is not in the log"),
];

/// A leader with a table of acknowledged numbers, in a root whose processes commit faults.
fn leader(root: &TempRoot) -> Walwriter {
    root.allow_faults();
    let server = Walwriter::start_new(root, "leader", &[]);
    server.sql("create table acknowledged (n int8 primary key)");
    server
}

#[track_caller]
fn insert(server: &Walwriter, n: u32) {
    server.sql(&format!("insert into acknowledged values ({n})"));
}

/// Insists that `server` has all numbers up to `n`, which were acknowledged.
#[track_caller]
fn assert_has(server: &Walwriter, n: u32) {
    let found = server.sql(&format!("select count(*) from acknowledged where n between 1 and {n}"));
    assert_eq!(found, n.to_string(), "rows that were acknowledged");
}

/// Has a leader with a follower end of each of `faults`, whose second part its last line says, and start again: it
/// has everything that was acknowledged, and is sound in the end.
#[track_caller]
fn assert_a_leader_ends_of_each<'a>(root: &TempRoot, faults: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let mut leader = leader(root);
    let received = root.dir("received");
    for (n, (fault, says)) in (1..).zip(faults) {
        insert(&leader, n);
        // There is somebody to send to, and a thread for that.
        let follower = pg_receivewal(root, Version::V15, &leader.conninfo(), &received).arg("-n").spawn();
        wait_until("the follower", || leader.sql("select count(*) from pg_stat_replication") == "1");
        let poke = poke(root, &leader);
        assert_ends_of(root, &mut leader, fault, says, poke);
        follower.wait();
        leader.start();
        assert_has(&leader, n);
    }
    leader.stop(Shutdown::Fast).success();
    leader.assert_sound();
}

/// Something that connects, writes, and asks for a checkpoint, and may come to nothing.
fn poke(root: &TempRoot, server: &Walwriter) -> impl FnMut() + use<> {
    let (root, conninfo) = (root.clone(), format!("{} dbname=postgres", server.conninfo()));
    let mut n = 1_000_000_000;
    move || {
        n += 1;
        let insert = format!("insert into acknowledged values ({n})");
        let psql = Tool::postgres(&root, Version::V15, "psql").args(["-XAtq", "-d", &conninfo]);
        psql.args(["-c", &insert, "-c", "checkpoint"]).run();
    }
}

/// Asks the running server for `fault`, and insists that it ends of it and leaves no trace of an orderly end.
#[track_caller]
fn assert_ends_of(root: &TempRoot, server: &mut Walwriter, fault: &str, says: &str, poke: impl FnMut()) {
    root.request_fault(server.name(), fault);
    server.ends_at_once(&[&LINE[..], &[says]].concat(), poke);
    assert!(server.data().join("postmaster.pid").exists(), "as after a crash");
    assert!(!server.data().join("walship.confirmed").exists());
    let control = Tool::postgres(root, Version::V15, "pg_controldata").arg(server.data()).succeed();
    assert!(!control.contains("shut down"), "{control}");
}

#[test]
fn a_panic_in_any_thread_of_a_leader_ends_it() {
    let threads = [
        "panic in a worker",
        "panic in the acceptor",
        "panic in the checkpointer",
        "panic in the log's writer",
        "panic in the synchronous commit's thread",
        "panic in the source's thread",
        "panic in a connection",
    ];
    assert_a_leader_ends_of_each(&TempRoot::new("panics"), threads.map(|fault| (fault, fault)));
}

#[test]
fn a_panic_in_any_thread_of_a_standby_and_a_broken_invariant_end_it() {
    let root = TempRoot::new("panics");
    let mut leader = leader(&root);
    let directory = root.dir("standby");
    let backup = Tool::ours(&root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast", "-R", "-D"]);
    backup.arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(&root, "standby", &directory);
    standby.start();
    let faults = [
        ("panic in replay", "panic in replay"),
        ("panic in the receiving task", "panic in the receiving task"),
        ("panic in the writing of WAL", "panic in the writing of WAL"),
        ("panic in the syncing of WAL", "panic in the syncing of WAL"),
        ("replay more than was read", "that was not read, up to 0/0"),
    ];
    for (n, (fault, says)) in (1..).zip(faults) {
        insert(&leader, n);
        let poke = poke(&root, &leader);
        assert_ends_of(&root, &mut standby, fault, says, poke);
        standby.start();
        standby.wait_for_replay(leader.flush_lsn());
        assert_has(&standby, n);
    }
    standby.assert_ends_as(&mut leader);
}

#[test]
fn a_panic_in_any_thread_of_a_receiver_or_sender_ends_it() {
    let root = TempRoot::new("panics");
    let leader = leader(&root);
    let archive = root.dir("archive");
    let receive = || {
        let mut receiver = walreceiver(&root, &leader.conninfo(), &archive).arg("-v").spawn();
        receiver.wait_for_stderr("starting log streaming");
        receiver
    };
    let mut receiver = receive();
    let ends = |process: &mut Process, name: &str, fault: &str| {
        root.request_fault(name, fault);
        process.ends_at_once(&[&LINE[..], &[fault]].concat(), poke(&root, &leader));
    };
    for fault in ["panic in the receiving task", "panic in the writing of WAL", "panic in the syncing of WAL"]
    {
        ends(&mut receiver, "walreceiver", fault);
        receiver = receive();
    }

    let mut sender = Walsender::start_new(&root, &archive);
    let served = root.dir("served");
    for fault in ["panic in the source's thread", "panic in a connection"] {
        let follower = pg_receivewal(&root, Version::V15, &sender.conninfo(), &served).args(["-n", "-v"]);
        let mut follower = follower.spawn();
        follower.wait_for_stderr("starting log streaming");
        ends(sender.process(), "walsender", fault);
        follower.wait();
        sender.start_again();
    }
    let end = leader.flush_lsn();
    sender.wait_for_end(end);
    receiver.terminate().success();
    sender.terminate().success();
}

#[test]
fn a_panic_and_a_broken_invariant_end_a_base_backup() {
    let root = TempRoot::new("panics");
    let leader = leader(&root);
    let faults = [
        ("panic in unpacking", "panic in unpacking"),
        ("panic in streaming beside a backup", "panic in streaming beside a backup"),
        ("begin a segment in its middle", "a segment is begun at its start"),
    ];
    for (n, (fault, says)) in (1..).zip(faults) {
        let directory = root.dir(format!("backup{n}"));
        root.request_fault("basebackup", fault);
        let backup = Tool::ours(&root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast"]);
        let mut backup = backup.args(["-X", "stream", "-D"]).arg(&directory).spawn();
        let line = backup.ends_at_once(&[&LINE[..], &[says]].concat(), || {});
        assert!(line.starts_with("basebackup: error: "), "{line}");
        assert!(!directory.join("backup_manifest").exists(), "nothing that passes for a backup");
    }
}

#[test]
fn a_broken_invariant_ends_a_leader_and_nothing_that_was_acknowledged_is_lost() {
    assert_a_leader_ends_of_each(&TempRoot::new("invariants"), BROKEN_ON_A_LEADER);
}

#[test]
fn a_broken_invariant_ends_a_receiver_and_a_sender() {
    let root = TempRoot::new("invariants");
    let leader = leader(&root);
    let archive = root.dir("archive");
    let receive = || {
        let mut receiver =
            walreceiver(&root, &leader.conninfo(), &archive).args(["-v", "--synchronous"]).spawn();
        receiver.wait_for_stderr("starting log streaming");
        receiver
    };
    let ends = |process: &mut Process, name: &str, fault: &str, says: &str| {
        root.request_fault(name, fault);
        process.ends_at_once(&[&LINE[..], &[says]].concat(), poke(&root, &leader));
    };
    for fault in ["report as durable what was not written", "sync more than was written"] {
        ends(
            &mut receive(),
            "walreceiver",
            fault,
            "nothing is durable, FFFFFFFF/FFFFFFFF, that was not written",
        );
    }

    let receiver = receive();
    let mut sender = Walsender::start_new(&root, &archive);
    let served = root.dir("served");
    let follower = pg_receivewal(&root, Version::V15, &sender.conninfo(), &served).args(["-n", "-v"]);
    let mut follower = follower.spawn();
    follower.wait_for_stderr("starting log streaming");
    ends(sender.process(), "walsender", "send what is not durable", "a chunk lies between what is sent");
    follower.wait();
    // Nothing that was acknowledged is missing, or different.
    sender.start_again();
    sender.wait_for_end(leader.flush_lsn());
    receiver.terminate().success();
    sender.terminate().success();
    let verified = Tool::ours(&root, "walreceiver").args(["verify", "-D"]).arg(&archive).run();
    assert!(verified.code == Some(0), "{verified}");
}
