//! Replies that wait for what they show to be confirmed.

use std::sync::atomic::Ordering::SeqCst;

use super::client::{bare, bind, cancel, execute, parse, query};
use super::*;

#[test]
fn a_commit_is_answered_after_its_flush_and_many_share_one() {
    let server = start();
    let mut client = server.connect();
    assert_eq!(client.query("commit"), "CZI");
    let flushes = server.database.flushes.load(SeqCst);
    assert_eq!(flushes, 1);
    assert_eq!(client.query("one"), "TDCZI");
    assert_eq!(server.database.flushes.load(SeqCst), flushes);
}

#[test]
fn a_synchronous_commit_waits_without_holding_up_others_and_a_cancel_ends_the_wait_with_a_warning() {
    let server = start();
    server.database.synchronous.store(true, SeqCst);
    let (mut waits, mut other) = (server.connect(), server.connect());
    waits.send(&[query("commit"), query("one")].concat());
    assert!(waits.hears_nothing());
    assert_eq!(other.query("one"), "TDCZI");
    server.database.confirm();
    assert_eq!(waits.tags(), "CZI");
    assert_eq!(waits.tags(), "TDCZI");
    waits.send(&query("commit"));
    assert!(waits.hears_nothing());
    cancel(&server, &waits);
    assert_eq!(waits.tags(), "N(01000)CZI");
    assert_eq!(waits.query("one"), "TDCZI", "the cancelled wait is over for good");
}

#[test]
fn rows_that_are_not_confirmed_are_not_shown_even_if_the_wait_is_cancelled() {
    let server = start();
    server.database.synchronous.store(true, SeqCst);
    let mut client = server.connect();
    client.send(&query("one; read"));
    assert!(client.hears_nothing());
    cancel(&server, &client);
    assert_eq!(client.tags(), "TDCTE(57014)ZI");
}

#[test]
fn an_error_does_not_show_what_is_not_confirmed_either() {
    let server = start();
    server.database.synchronous.store(true, SeqCst);
    let mut client = server.connect();
    let extended = [parse("", "read fail"), bind("", "", &[]), execute("", 0), bare(b'S')].concat();
    for (message, answer, cancelled) in
        [(query("read fail"), "TDE(42601)ZI", "TE(57014)ZI"), (extended, "12DE(42601)ZI", "12E(57014)ZI")]
    {
        client.send(&message);
        assert!(client.hears_nothing());
        server.database.confirm();
        assert_eq!(client.tags(), answer);
        client.send(&message);
        assert!(client.hears_nothing());
        cancel(&server, &client);
        assert_eq!(client.tags(), cancelled);
    }
}

#[test]
fn who_is_stopped_hears_so_at_once_and_sees_nothing_that_is_not_confirmed() {
    let server = start();
    server.database.synchronous.store(true, SeqCst);
    let mut client = server.connect();
    assert_eq!(client.query("read cancel"), "TE(57014)ZI");
    assert_eq!(client.query("read terminate"), "TE(57P01).");
}

#[test]
fn an_announcement_is_heard_even_if_the_reply_that_was_held_back_comes_to_nothing() {
    let server = start_with(ServerOptions { workers: 1, ..options() });
    server.database.synchronous.store(true, SeqCst);
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send(&query("read"));
    assert!(client.hears_nothing());
    server.server().announce("in_hot_standby", "off");
    assert_eq!(other.receive(), Some((b'S', b"in_hot_standby\0off\0".to_vec())));
    cancel(&server, &client);
    let tags: Vec<u8> = std::iter::from_fn(|| client.receive()).map(|(tag, _)| tag).take(4).collect();
    assert_eq!(tags, *b"TSEZ");
}
