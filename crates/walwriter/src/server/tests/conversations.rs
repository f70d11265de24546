//! Messages and their answers.

use std::sync::atomic::Ordering::SeqCst;

use super::client::{bare, bind, cancel, describe, execute, field, parse, query, send_cancel};
use super::*;

#[test]
fn a_query_of_many_statements_ends_at_its_first_error() {
    let server = start();
    let mut client = server.connect();
    assert_eq!(client.query("one; commit; rows 3 5"), "TDCCTDDDCZI");
    assert_eq!(client.query("one; fail; one"), "TDCE(42601)ZI");
    assert_eq!(client.query("one; one !"), "E(42601)ZI");
    assert_eq!(client.query(" "), "IZI");
    assert_eq!(client.query("begin"), "CZT");
    assert_eq!(client.query("fail"), "E(42601)ZE");
    assert_eq!(client.query("one"), "E(25P02)ZE");
    assert_eq!(client.query("end"), "CZI");
    assert_eq!(client.query("param"), "E(42P02)ZI");
}

#[test]
fn a_pipeline_is_answered_in_order_and_passed_over_after_an_error_until_sync() {
    let server = start();
    let mut client = server.connect();
    let sync = bare(b'S');
    let parts = [
        parse("p", "param"),
        describe(b'S', "p"),
        bind("", "p", &[b"hello"]),
        describe(b'P', ""),
        execute("", 0),
        bind("", "p", &[b"again"]),
        execute("", 0),
        sync.clone(),
    ];
    client.send(&parts.concat());
    assert_eq!(client.tags(), "1tT2TDC2DCZI");
    let parts = [
        bind("", "p", &[b"x"]),
        execute("", 0),
        bind("", "none", &[]),
        execute("", 0),
        query("one"),
        sync.clone(),
        bind("", "p", &[b"y"]),
        execute("", 0),
        sync.clone(),
    ];
    client.send(&parts.concat());
    assert_eq!(client.tags(), "2DCE(26000)ZI");
    assert_eq!(client.tags(), "2DCZI");
    let wrong = [
        (vec![parse("p", "one")], "E(42P05)"),
        (vec![bind("", "p", &[])], "E(08P01)"),
        (vec![execute("nowhere", 0)], "E(34000)"),
        (vec![describe(b'P', "nowhere")], "E(34000)"),
        (vec![describe(b'X', "")], "E(08P01)"),
        (vec![parse("", "fail"), bind("", "", &[]), execute("", 0)], "12E(42601)"),
    ];
    for (messages, answer) in wrong {
        client.send(&[messages.concat(), sync.clone()].concat());
        assert_eq!(client.tags(), format!("{answer}ZI"));
    }
    client.send(&[b'F', 0, 0, 0, 4]);
    assert_eq!(client.tags(), "E(0A000)ZI");
    let failed_and_malformed_sync = [execute("nowhere", 0), vec![b'S', 0, 0, 0, 5, 0]].concat();
    client.send(&failed_and_malformed_sync);
    assert_eq!(client.tags(), "E(34000)E(08P01)ZI");
    client.send(&[b'S', 0, 0, 0, 5, 0]);
    assert_eq!(client.tags(), "E(08P01)ZI");
}

#[test]
fn a_portal_gives_as_many_rows_as_asked_for_and_goes_with_its_transaction() {
    let server = start();
    let mut client = server.connect();
    let parts = [
        parse("", "rows 5 1"),
        bind("c", "", &[]),
        execute("c", 2),
        execute("c", 2),
        execute("c", 2),
        execute("c", 2),
        bare(b'S'),
        execute("c", 1),
        bare(b'S'),
    ];
    client.send(&parts.concat());
    assert_eq!(client.tags(), "12DDsDDsDCCZI");
    assert_eq!(client.tags(), "E(34000)ZI");
}

#[test]
fn messages_cut_anywhere_are_put_together() {
    let server = start();
    let mut client = server.connect();
    let whole = [parse("s", "param"), bind("", "s", &[&[b'x'; 3000]]), execute("", 0), bare(b'S')].concat();
    for size in [1, 7, 1000] {
        whole.chunks(size).for_each(|piece| client.send(piece));
        let close = [vec![b'C', 0, 0, 0, 7, b'S', b's', 0], bare(b'S')].concat();
        assert_eq!(client.tags(), "12DCZI", "{size}");
        client.send(&close);
        assert_eq!(client.tags(), "3ZI");
    }
}

#[test]
fn a_value_of_64_mib_goes_through_and_a_claim_beyond_a_gibibyte_does_not() {
    let server = start();
    let mut client = server.connect();
    let value = vec![b'v'; 64 << 20];
    client.send(&[parse("", "param"), bind("", "", &[&value]), execute("", 0), bare(b'S')].concat());
    assert_eq!(client.tags(), "12DCZI");
    client.send(&[b'Q', 0x40, 0, 0, 0, b'x']);
    let (tag, body) = client.receive().unwrap();
    assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "08P01"));
    assert!(field(&body, b'M').contains("invalid message length"));
    assert!(client.is_closed());
}

#[test]
fn changed_settings_are_told_before_ready_and_announcements_to_everybody() {
    let server = start();
    let mut client = server.connect();
    client.send(&query("set TimeZone UTC"));
    let told: Vec<_> = std::iter::from_fn(|| client.receive()).take(3).collect();
    assert_eq!(told[1], (b'S', b"TimeZone\0UTC\0".to_vec()));
    assert_eq!(told[2], (b'Z', b"I".to_vec()));
    server.server().announce("in_hot_standby", "off");
    assert_eq!(client.receive(), Some((b'S', b"in_hot_standby\0off\0".to_vec())));
}

#[test]
fn what_waits_for_a_lock_holds_nobody_up_and_can_be_cancelled() {
    let server = start_with(ServerOptions { workers: 1, ..options() });
    let (mut blocked, mut other) = (server.connect(), server.connect());
    blocked.send(&query("block"));
    eventually(|| !server.database.blocked.lock().is_empty());
    assert_eq!(other.query("one"), "TDCZI");
    server.database.wake();
    assert_eq!(blocked.tags(), "CZI");
    blocked.send(&query("block"));
    eventually(|| !server.database.blocked.lock().is_empty());
    cancel(&server, &blocked);
    assert_eq!(blocked.tags(), "E(57014)ZI");
    blocked.send(&query("spin"));
    assert_eq!(other.query("sleep; one"), "CTDCZI");
    cancel(&server, &blocked);
    assert_eq!(blocked.tags(), "E(57014)ZI");
    let mut stranger = Client::raw(server.port);
    let wrong = Client { process_id: other.process_id, secret: vec![0; 4], ..Client::raw(server.port) };
    send_cancel(&mut stranger, &wrong);
    assert_eq!(other.query("sleep"), "CZI");
}

#[test]
fn a_commit_that_waits_holds_nobody_up_and_can_be_cancelled_until_it_has_begun() {
    let server = start_with(ServerOptions { workers: 1, ..options() });
    let (mut committing, mut other) = (server.connect(), server.connect());
    let blocked = || !server.database.blocked.lock().is_empty();
    for sync in [false, true] {
        let message = |text: &str| match sync {
            false => query(text),
            true => [parse("", text), bind("", "", &[]), execute("", 0), bare(b'S')].concat(),
        };
        let prefix = if sync { "12" } else { "" };
        for text in ["late", "large"] {
            committing.send(&message(text));
            eventually(blocked);
            assert_eq!(other.query("one"), "TDCZI");
            server.database.wake();
            assert_eq!(committing.tags(), format!("{prefix}CZI"));
        }
        committing.send(&message("late"));
        eventually(blocked);
        cancel(&server, &committing);
        let failed = if sync { "12CE(57014)ZI" } else { "E(57014)ZI" };
        assert_eq!(committing.tags(), failed);
        server.database.blocked.lock().clear();
        committing.send(&message("large"));
        eventually(blocked);
        cancel(&server, &committing);
        server.database.wake();
        assert_eq!(committing.tags(), format!("{prefix}CZI"));
        assert_eq!(committing.query("one"), "TDCZI", "the request came too late, and is forgotten");
    }
}

#[test]
fn a_statement_and_an_idle_block_end_at_their_timeouts() {
    let server = start();
    let mut client = server.connect_with(&[("options", "-c statement_timeout=30 -c idle_timeout=30")]);
    assert_eq!(client.query("block"), "E(57014)ZI");
    assert_eq!(client.query("spin"), "E(57014)ZI");
    server.database.synchronous.store(true, SeqCst);
    assert_eq!(client.query("read"), "TE(57014)ZI", "also while its reply is held back");
    client.send(&query("commit"));
    assert!(client.hears_nothing(), "what has committed cannot end in an error any more");
    server.database.confirm();
    assert_eq!(client.tags(), "CZI");
    server.database.synchronous.store(false, SeqCst);
    assert_eq!(client.query("begin"), "CZT");
    assert_eq!(client.tags(), "E(25P03).");
    let mut client = server.connect_with(&[("options", "-c session_timeout=300")]);
    assert_eq!(client.query("begin"), "CZT");
    assert!(client.hears_nothing(), "it ended within a block");
    assert_eq!(client.query("end"), "CZI");
    assert_eq!(client.tags(), "E(57P05).");
    // Nor does one that has never said anything stay.
    let mut client = server.connect_with(&[("options", "-c session_timeout=30")]);
    assert_eq!(client.tags(), "E(57P05).");
}

#[test]
fn stopping_tells_everybody_whatever_they_do() {
    let mut server = start();
    server.database.synchronous.store(true, SeqCst);
    let mut idle = server.connect();
    let mut blocked = server.connect();
    blocked.send(&query("block"));
    let mut spinning = server.connect();
    spinning.send(&query("spin"));
    let mut waiting = server.connect();
    waiting.send(&query("commit"));
    assert!(waiting.hears_nothing() && blocked.hears_nothing());
    server.server.take().unwrap().stop();
    for client in [&mut idle, &mut blocked, &mut spinning, &mut waiting] {
        assert_eq!(client.tags(), "E(57P01).");
    }
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port)).is_err());
}
