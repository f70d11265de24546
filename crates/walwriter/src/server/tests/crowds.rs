//! Many clients, slow ones, and those that vanish.

use std::io::Write as _;
use std::sync::atomic::Ordering::SeqCst;

use super::client::query;
use super::*;

#[test]
fn many_idle_connections_do_not_slow_the_others() {
    let server = start_with(ServerOptions { max_connections: 1000, most_sockets: 2064, ..options() });
    let mut idle: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    for client in &mut idle {
        assert_eq!(client.query("rows 10 1000"), "TDDDDDDDDDDCZI");
    }
    assert_eq!(idle[150].query("one"), "TDCZI");
    assert_eq!(server.server().registry().sessions(), 300);
}

#[test]
fn a_slow_reader_stops_its_own_statement_only_and_gets_everything() {
    let server = start_with(ServerOptions { workers: 1, ..options() });
    let mut slow = server.connect();
    // 400 MB are asked for. What the system's buffers take, and a little more, is produced before somebody reads.
    slow.send(&query("rows 40000 10000"));
    let mut other = server.connect();
    let produced = || server.database.rows.load(SeqCst);
    eventually(|| {
        let before = produced();
        (0..20).for_each(|_| assert_eq!(other.query("one"), "TDCZI"));
        before > 0 && produced() == before
    });
    assert!(produced() < 4_000, "{} rows were produced for nobody", produced());
    let mut rows = 0;
    while let Some((tag, _)) = slow.receive() {
        rows += usize::from(tag == b'D');
        if tag == b'Z' {
            break;
        }
    }
    assert_eq!(rows, 40_000);
}

#[test]
fn clients_that_vanish_take_their_sessions_with_them_whatever_they_were_doing() {
    let server = start();
    server.database.synchronous.store(true, SeqCst);
    for text in ["one", "block", "commit", "copy in", "rows 1000000 1000", "begin"] {
        let mut client = server.connect();
        client.send(&query(text));
    }
    // On a Unix socket it shows even while a statement is at work.
    let mut stream = std::os::unix::net::UnixStream::connect(&server.socket).unwrap();
    stream.write_all(b"\0\0\0\x15\0\x03\0\0user\0tester\0\0").unwrap();
    stream.write_all(&query("spin")).unwrap();
    drop(stream);
    let mut half = server.connect();
    half.send(&query("one")[..4]);
    drop(half);
    eventually(|| server.database.open_sessions.load(SeqCst) == 0);
    eventually(|| server.server().registry().sockets.load(SeqCst) == 0);
    assert_eq!(server.connect().query("one"), "TDCZI");
}

#[test]
fn who_closes_its_side_early_still_gets_its_answers() {
    let server = start();
    let mut client = server.connect();
    client.send(&[query("rows 1000 1000"), query("one")].concat());
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.tags().ends_with("DCZI"));
    assert_eq!(client.tags(), "TDCZI");
    assert!(client.is_closed());
}

#[test]
fn commits_of_one_round_share_a_flush() {
    let server = start_with(ServerOptions { workers: 1, ..options() });
    let clients: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    let rounds = 50;
    std::thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || (0..rounds).for_each(|_| assert_eq!(client.query("commit"), "CZI")));
        }
    });
    assert!(server.database.flushes.load(SeqCst) <= 16 * rounds);
}
