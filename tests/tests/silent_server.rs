//! A server that does not answer keeps nobody from stopping a receiver.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use walship_tests::proxy::{Proxy, Verdict};
use walship_tests::receiver::walreceiver;
use walship_tests::{Finished, Options, Postgres, Process, TempRoot, Version, archive, wait_until};

/// Interrupts the receiver, which must not take until its server's silence is noticed.
fn interrupt_soon(mut receiver: Process) -> Finished {
    receiver.signal(rustix::process::Signal::INT);
    receiver.wait_within(Duration::from_secs(30))
}

#[test]
fn a_receiver_whose_server_does_not_let_it_in_can_be_interrupted() {
    let root = TempRoot::new("silent");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let conninfo = format!("host=127.0.0.1 port={} user=postgres", listener.local_addr().unwrap().port());
    let archive = root.dir("archive");
    let receiver = walreceiver(&root, &conninfo, &archive).spawn();
    let connection = listener.accept().unwrap();
    interrupt_soon(receiver).success();
    drop(connection);
    assert!(archive::wal_files(&archive).is_empty());
}

#[test]
fn a_receiver_whose_server_falls_silent_can_be_interrupted_and_keeps_what_it_has() {
    let root = TempRoot::new("silent");
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default().wal_segment_mib(1));
    leader.sql("create table t as select generate_series(1, 1000)");
    let (silent, falls_silent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (tampered, when) = (Arc::clone(&silent), Arc::clone(&falls_silent));
    let proxy = Proxy::start(leader.port(), move |_| {
        if when.load(Ordering::SeqCst) {
            tampered.store(true, Ordering::SeqCst);
            return Verdict::ReplaceAndHang(Vec::new());
        }
        Verdict::Pass
    });
    let archive = root.dir("archive");
    let receiver = walreceiver(&root, &proxy.conninfo(), &archive).arg("--synchronous").spawn();
    wait_until("the first WAL", || proxy.flushed().is_valid());
    falls_silent.store(true, Ordering::SeqCst);
    leader.sql("create table u as select generate_series(1, 1000)");
    wait_until("the server to fall silent", || silent.load(Ordering::SeqCst));
    interrupt_soon(receiver).success();
    assert_eq!(archive::wal_files(&archive).len(), 1);
}
