//! SET, SHOW, PREPARE, functions of the session, portals.

use std::time::Instant;

use super::server::Server;

#[test]
fn settings_are_set_shown_and_reset() {
    let server = Server::start();
    let mut client = server.connect_with(&[("application_name", "tests"), ("client_encoding", "UTF8")]);
    assert_eq!(client.rows("show application_name"), ["tests"]);
    client.query("set statement_timeout to '2s'; set extra_float_digits = 3; set search_path = public");
    assert_eq!(client.rows("show statement_timeout"), ["2s"]);
    client.query("begin; set local application_name = 'x'");
    assert_eq!(client.rows("select current_setting('application_name')"), ["x"]);
    client.query("commit; reset statement_timeout");
    assert_eq!(client.rows("show application_name"), ["tests"]);
    assert_eq!(client.rows("show statement_timeout"), ["0"]);
    assert_eq!(client.error("show no_such_thing").0, "42704");
    assert_eq!(client.error("set no_such_thing = 1").0, "42704");
    assert_eq!(client.rows("select setting from pg_settings where name = 'server_encoding'"), ["UTF8"]);
}

#[test]
fn prepared_statements_survive_changes_of_their_tables() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key, v text); insert into t values (1, 'a')");
    let prepared =
        walwriter::session::Session::prepare(&mut client.session, "select v from t where id = $1", &[])
            .unwrap();
    let ask = |client: &mut super::client::Client<'_>| {
        client.execute_prepared(&prepared, &[Some("1")], u64::MAX).map(|reply| reply.text())
    };
    assert_eq!(ask(&mut client).unwrap(), ["a"]);
    client.query("truncate t; insert into t values (1, 'b')");
    assert_eq!(ask(&mut client).unwrap(), ["b"]);
    client.query("drop table t; create table t (id int primary key, v int)");
    let error = ask(&mut client).unwrap_err();
    assert_eq!(error.message, "cached plan must not change result type");
    client.query("prepare p (int) as select $1 + 1");
    assert_eq!(client.rows("execute p (41)"), ["42"]);
    client.query("deallocate p");
    assert_eq!(client.error("execute p (41)").0, "26000");
}

#[test]
fn a_portal_gives_its_rows_in_portions() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key); insert into t select g from generate_series(1, 5) g");
    let prepare = |client: &mut super::client::Client<'_>, text| {
        walwriter::session::Session::prepare(&mut client.session, text, &[]).unwrap()
    };
    let select = prepare(&mut client, "select id from t");
    let reply = client.execute_prepared(&select, &[], 2).unwrap();
    assert_eq!((reply.rows.len(), reply.tags.join(" ")), (5, "suspended suspended SELECT 1".to_owned()));
    let update = prepare(&mut client, "update t set id = id + 10 returning id");
    let reply = client.execute_prepared(&update, &[], 3).unwrap();
    assert_eq!(
        (reply.text().join(" "), reply.tags.join(" ")),
        ("11 12 13 14 15".to_owned(), "suspended UPDATE 5".to_owned())
    );
}

#[test]
fn functions_ask_the_server() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.rows("select pg_is_in_recovery(), current_user, pg_backend_pid()"), ["f|tester|7"]);
    client.query("create table t (id int primary key)");
    assert_eq!(client.rows("select pg_current_wal_flush_lsn() <= pg_current_wal_insert_lsn()"), ["t"]);
    assert_eq!(client.rows("select pg_wal_lsn_diff('1/10', '1/0')"), ["16"]);
    assert_eq!(client.rows("select pg_walfile_name('0/2000000')"), ["000000010000000000000001"]);
    assert_eq!(client.error("select pg_promote()").0, "55000");
    let before = Instant::now();
    assert_eq!(client.rows("select 1, pg_sleep(0.05)"), ["1|"]);
    assert!(before.elapsed().as_millis() >= 50);
    client.query("checkpoint");
}

#[test]
fn texts_that_differ_in_literals_share_a_plan_and_nothing_else() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key, v text)");
    for (id, v) in [(1, "'a'"), (2, "null"), (3, "'it''s'")] {
        client.query(&format!("insert into t values ({id}, {v})"));
    }
    for (id, v) in [(1, "a"), (2, "-"), (3, "it's")] {
        assert_eq!(client.rows(&format!("select v from t where id = {id}")), [v]);
    }
    client.query("drop table t; create table t (v text, id bigint primary key)");
    assert_eq!(client.rows("select v from t where id = 1"), Vec::<String>::new());
    client.query("insert into t values ('b', 1)");
    assert_eq!(client.rows("select v from t where id = 1"), ["b"]);
    assert_eq!(client.error("select v from t where id = 'x'").0, "22P02");
}
