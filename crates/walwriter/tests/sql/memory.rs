//! What is more than memory should hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::EngineOptions;
use wal::Lsn;
use walwriter::session::Session;

use super::server::Server;

/// A transaction may write as much as the pool has room for, and the pages changed twice as much.
fn small() -> EngineOptions {
    EngineOptions { shared_buffers: 1 << 20, max_transaction_size: 1 << 20, ..EngineOptions::default() }
}

#[test]
fn a_large_commit_leaves_its_thread_to_others() {
    let options = EngineOptions { shared_buffers: 1 << 20, ..EngineOptions::default() };
    let server = Server::start_with(options);
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key, v text)");
    let fill = "insert into t select g, repeat('x', 400) from generate_series(1, 20000) g";
    one.query("begin");
    one.query(fill);
    // Several times the pool: the first step gives the thread back before the commit is done.
    let waiting = one.start("commit");
    assert!(["0", "20000"].contains(&other.rows("select count(*) from t")[0].as_str()));
    assert_eq!(other.query("insert into t values (0, 'waits if it must')").tags, ["INSERT 0 1"]);
    assert_eq!(one.finish(waiting).unwrap().tags, ["COMMIT"]);
    assert_eq!(other.rows("select count(*), max(length(v)) from t"), ["20001|400"]);

    // The same without a block, and with one to follow.
    assert_eq!(one.query("delete from t").tags, ["DELETE 20001"]);
    assert_eq!(
        one.query(&format!("begin; {fill}; commit and chain; select count(*) from t")).text(),
        ["20000"]
    );
    one.query("rollback");
    drop(other);
    drop(one);
    let server = server.restart();
    assert_eq!(server.connect().rows("select count(*) from t"), ["20000"]);
}

#[test]
fn a_transaction_beyond_its_limit_fails_and_the_session_goes_on() {
    let server = Server::start_with(small());
    let mut client = server.connect();
    client.query("create table t (id int primary key, v text)");
    let too_large =
        client.try_query("insert into t select g, repeat('x', 1500) from generate_series(1, 2000) g");
    let error = too_large.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("54000", "transaction is larger than the limit of 1048576 bytes")
    );
    assert!(error.hint.unwrap().contains("max_transaction_size"));
    assert_eq!(client.rows("select count(*) from t"), ["0"]);
    for part in 0..4 {
        let from = part * 500;
        client.query(&format!(
            "insert into t select g, repeat('x', 1500) from generate_series({from}, {}) g",
            from + 499
        ));
    }
    // Little to write, but on every page, and each is in memory twice.
    let (code, message) = client.error("delete from t where id % 3 = 0");
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("54000", "the pages that the transaction changes take more than 2097152 bytes")
    );
    assert_eq!(client.rows("select count(*) from t"), ["2000"]);
    client.query("begin; delete from t where id % 3 = 0");
    assert_eq!(client.error("commit").0, "54000");
    assert_eq!(client.query("delete from t where id < 100").tags, ["DELETE 100"]);
    assert_eq!(client.rows("select count(*) from t"), ["1900"]);
}

#[test]
fn writes_wait_while_a_synchronous_standby_lags_too_far_and_reads_do_not() {
    // For fewer pages than the table has: one older version of each of them cannot be kept.
    let server = Server::start_with(EngineOptions { version_memory: 24 << 13, ..EngineOptions::default() });
    let (mut writer, mut reader) = (server.connect(), server.connect());
    writer.query("create table t (id int primary key, v text)");
    writer.query("insert into t select g, repeat('x', 1000) from generate_series(0, 499) g");
    // A standby that acknowledges nothing more for a while.
    let engine = server.executor.engine();
    let acknowledged = Arc::new(AtomicU64::new(engine.confirmed().as_u64()));
    let (rule, confirms) = (Arc::clone(&acknowledged), Arc::downgrade(engine));
    engine.set_durability(move |flushed| {
        let acknowledged = Lsn::new(rule.load(Ordering::SeqCst));
        confirms.upgrade().unwrap().confirm(flushed.min(acknowledged));
    });
    let mut updates = 0;
    let waiting = loop {
        let text = format!("update t set v = 'y' || v where id = {updates}");
        match writer.start_unconfirmed(&text) {
            Some(waiting) => break waiting,
            None => updates += 1,
        }
        assert!(updates < 500, "memory without bound");
    };
    assert!(updates > 30, "{updates} updates are not much");
    let changed = "select count(*) from t where v like 'y%'";
    assert_eq!(reader.rows(changed), ["0"]);
    assert!(reader.start_unconfirmed("delete from t where id = 499").is_some());
    reader.session.fail();

    acknowledged.store(u64::MAX, Ordering::SeqCst);
    engine.log().flush(engine.log().inserted()).unwrap();
    engine.confirm(engine.log().flushed());
    assert_eq!(writer.finish(waiting).unwrap().tags, ["UPDATE 1"]);
    assert_eq!(reader.rows(changed), [(updates + 1).to_string()]);
}

#[test]
fn what_is_sorted_may_be_more_than_work_mem() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key, a int, b text)");
    client.query("insert into t select g, g * 7919 % 1000, case when g % 10 = 0 then null else repeat('x', g % 50) end from generate_series(1, 20000) g");
    for order in
        ["a, id desc", "a desc nulls last, b desc, id", "b nulls first, a, id", "b desc nulls last, id"]
    {
        let text = format!("select id, a, b from t order by {order}");
        client.query("set work_mem = '64MB'");
        let expected = client.rows(&text);
        client.query("set work_mem = '64kB'");
        assert!(client.rows(&text) == expected, "{order}");
        let part = client.rows(&format!("{text} limit 300 offset 15000"));
        assert!(part == expected[15_000..15_300], "{order}");
    }
    client.query("set maintenance_work_mem = '1MB'");
    client.query("create table u (a int, id int, b text)");
    client.query("insert into u select a, id, repeat('y', 200) from t");
    client.query("alter table u add primary key (a, id)");
    let rows = client.rows("select a, id from u");
    assert!(rows == client.rows("select a, id from t order by a, id"));
}
