//! COPY in both directions.

use std::sync::atomic::Ordering::SeqCst;

use super::client::{bare, bind, cancel, copy_data, execute, parse, query};
use super::*;

#[test]
fn copied_data_is_handed_on_as_it_arrives() {
    let server = start();
    let mut client = server.connect();
    client.send(&query("copy in; one"));
    assert_eq!(client.receive().unwrap().0, b'G');
    // One message that is never held as a whole: half of it is enough to be seen.
    let rows = b"row\n".repeat(100_000);
    let message = copy_data(&rows);
    let (half, rest) = message.split_at(message.len() / 2);
    client.send(half);
    eventually(|| server.database.copied.load(SeqCst) as usize == half.len() - 5);
    client.send(&[rest, &copy_data(b"row\n")[..], &bare(b'H')[..], &bare(b'c')[..]].concat());
    let (tag, body) = client.receive().unwrap();
    assert_eq!((tag, body.as_slice()), (b'C', &b"COPY 100001\0"[..]));
    assert_eq!(client.tags(), "TDCZI");
}

#[test]
fn a_copy_that_fails_is_passed_over_to_its_end() {
    let server = start();
    let mut client = server.connect();
    let data = [
        query("copy in"),
        copy_data(b"good\n"),
        copy_data(b"bad!\n"),
        copy_data(&[b'x'; 100_000]),
        bare(b'c'),
    ];
    client.send(&data.concat());
    assert_eq!(client.tags(), "GE(42601)ZI");
    assert_eq!(client.query("one"), "TDCZI");
    client.send(&[query("copy in"), vec![b'f', 0, 0, 0, 9, b'g', b'o', b'n', b'e', 0]].concat());
    assert_eq!(client.tags(), "GE(57014)ZI");
    client.send(&[query("copy in"), query("one")].concat());
    assert_eq!(client.tags(), "GE(08P01)ZI");
}

#[test]
fn a_copy_in_the_extended_protocol_ignores_sync_and_after_an_error_waits_for_it() {
    let server = start();
    let mut client = server.connect();
    let sync = bare(b'S');
    client.send(&[parse("", "copy in"), bind("", "", &[]), execute("", 0), sync.clone()].concat());
    client.send(&[copy_data(b"row\n"), bare(b'c'), sync.clone()].concat());
    assert_eq!(client.tags(), "12GCZI");
    client.send(
        &[bind("", "", &[]), execute("", 0), copy_data(b"!"), copy_data(b"x"), bare(b'c'), sync].concat(),
    );
    assert_eq!(client.tags(), "2GE(42601)ZI");
    assert_eq!(client.query("copy out 3"), "HdddcCZI");
}

#[test]
fn a_malformed_message_during_a_copy_fails_it_and_the_client_is_told_when_it_may_go_on() {
    let server = start();
    let mut client = server.connect();
    let malformed = [b'c', 0, 0, 0, 5, b'?'].to_vec();
    client.send(&[query("copy in"), copy_data(b"row\n"), malformed.clone()].concat());
    assert_eq!(client.tags(), "GE(08P01)ZI");
    let started = [parse("", "copy in"), bind("", "", &[]), execute("", 0)].concat();
    // In the extended protocol that is at the next Sync, whatever the message was to be.
    for malformed in [malformed, b"Q\0\0\0\x05?".to_vec()] {
        client.send(&[started.clone(), malformed, bare(b'S')].concat());
        assert_eq!(client.tags(), "12GE(08P01)ZI");
    }
}

#[test]
fn a_copy_that_waits_for_data_can_be_cancelled_and_takes_its_time() {
    let server = start();
    let mut client = server.connect();
    client.send(&query("copy in"));
    assert_eq!(client.receive().unwrap().0, b'G');
    cancel(&server, &client);
    client.send(&[copy_data(b"row\n"), bare(b'c')].concat());
    assert_eq!(client.tags(), "E(57014)ZI");
    assert_eq!(server.database.copied.load(SeqCst), 0);
    let mut client = server.connect_with(&[("options", "-c statement_timeout=30")]);
    client.send(&query("copy in"));
    assert_eq!(client.receive().unwrap().0, b'G');
    eventually(|| {
        client.send(&copy_data(b"row\n"));
        !client.hears_nothing()
    });
    assert_eq!(client.tags(), "E(57014)ZI");
}
