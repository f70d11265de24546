//! Many clients, slow ones, and those that vanish.

use std::io::Write as _;
use std::sync::atomic::Ordering::SeqCst;

use super::client::query;
use super::*;

#[test]
fn many_idle_connections_hold_no_buffers_and_do_not_slow_the_others() {
    let server = start_with(ServerOptions { max_connections: 1000, ..options() });
    let before = resident();
    let mut idle: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    for client in &mut idle {
        assert_eq!(client.query("rows 10 1000"), "TDDDDDDDDDDCZI");
    }
    let each = resident().saturating_sub(before) / idle.len();
    assert!(each < 32 << 10, "{each} bytes for each connection");
    assert_eq!(idle[150].query("one"), "TDCZI");
    assert_eq!(server.server().registry().sessions(), 300);
}

/// This process's resident memory in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_slow_reader_bounds_its_own_output_and_gets_everything() {
    let server = start_with(ServerOptions { workers: 1, ..options() });
    let mut slow = server.connect();
    // 400 MB are asked for, and a server that did not wait for its reader would have them in memory.
    let before = resident();
    slow.send(&query("rows 40000 10000"));
    let mut other = server.connect();
    for _ in 0..50 {
        assert_eq!(other.query("one"), "TDCZI");
    }
    assert!(resident().saturating_sub(before) < 64 << 20);
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
