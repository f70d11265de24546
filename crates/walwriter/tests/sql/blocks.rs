//! Transaction blocks, savepoints, isolation.

use walwriter::session::TransactionStatus;

use super::server::Server;

#[test]
fn a_block_is_committed_or_rolled_back_as_a_whole() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key)");
    one.query("begin; insert into t values (1)");
    assert_eq!(one.status(), TransactionStatus::InBlock);
    assert_eq!((one.rows("select * from t"), other.rows("select * from t")), (vec!["1".into()], vec![]));
    one.query("rollback");
    assert_eq!(one.rows("select * from t"), Vec::<String>::new());
    one.query("begin; insert into t values (2); commit");
    assert_eq!(other.rows("select * from t"), ["2"]);
}

#[test]
fn statements_far_behind_in_a_long_text_are_executed_as_those_at_its_beginning() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key)");
    let inserts: String = (0..200).map(|id| format!("insert into t values ({id}); ")).collect();
    assert_eq!(client.query(&inserts).tags.len(), 200);
    assert_eq!(client.rows("select count(*) from t"), ["200"]);
    let (code, ..) = client.error(&format!("{}select nope", "select 'é'; ".repeat(100)));
    assert_eq!(code, "42703");
    // What is no SQL at the end keeps what is before it from being executed.
    assert_eq!(client.error(&format!("{}selec 1", "delete from t; ".repeat(100))).0, "42601");
    assert_eq!(client.rows("select count(*) from t"), ["200"]);
}

#[test]
fn a_failed_block_refuses_everything_until_it_ends() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key)");
    client.query("begin; insert into t values (1)");
    assert_eq!(client.error("select 1 / 0").0, "22012");
    assert_eq!(client.status(), TransactionStatus::Failed);
    assert_eq!(client.error("select 1").0, "25P02");
    assert_eq!(client.query("commit").tags, ["ROLLBACK"]);
    assert_eq!(client.status(), TransactionStatus::Idle);
    assert_eq!(client.rows("select count(*) from t"), ["0"]);
}

#[test]
fn savepoints_bring_back_rows_tables_and_settings() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key)");
    client.query("begin; insert into t values (1); savepoint a; set application_name = 'x'");
    client.query("create table u (id int); insert into t values (2)");
    assert_eq!(client.error("insert into t values (1)").0, "23505");
    client.query("rollback to a");
    assert_eq!(client.error("select * from u").0, "42P01");
    client.query("rollback to a; insert into t values (3); release a");
    assert_eq!(client.error("rollback to a").0, "3B001");
    client.query("rollback");
    client.query("begin; savepoint a; insert into t values (3); savepoint b; insert into t values (4)");
    client.query("rollback to b; commit");
    assert_eq!(client.rows("select * from t"), ["3"]);
    assert_eq!(client.rows("show application_name"), [""]);
}

#[test]
fn repeatable_read_sees_one_state_and_refuses_to_change_what_others_changed() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key, v int); insert into t values (1, 1), (2, 2)");
    one.query("begin isolation level repeatable read");
    assert_eq!(one.rows("select sum(v) from t"), ["3"]);
    other.query("update t set v = 10 where id = 1; insert into t values (3, 3)");
    assert_eq!(one.rows("select sum(v) from t"), ["3"]);
    assert_eq!(one.query("update t set v = 5 where id = 3").tags, ["UPDATE 0"]);
    assert_eq!(one.query("update t set v = 5 where id = 2").tags, ["UPDATE 1"]);
    let (code, message) = one.error("update t set v = 5 where id = 1");
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("40001", "could not serialize access due to concurrent update")
    );
    one.query("rollback");
    assert_eq!(one.rows("show transaction_isolation"), ["read committed"]);
}

#[test]
fn a_read_only_transaction_writes_nothing() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key)");
    for statement in [
        "insert into t values (1)",
        "update t set id = 1",
        "delete from t",
        "create table u (a int)",
        "truncate t",
    ] {
        client.query("begin read only");
        let (code, message) = client.error(statement);
        assert_eq!(code, "25006", "{statement}");
        assert!(message.starts_with("cannot execute ") && message.ends_with(" in a read-only transaction"));
        client.query("rollback");
    }
    client.query("set default_transaction_read_only = on");
    assert_eq!(client.error("delete from t").1, "cannot execute DELETE in a read-only transaction");
}

#[test]
fn an_implicit_transaction_covers_all_statements_of_a_query() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key)");
    assert_eq!(client.error("insert into t values (1); insert into t values (1)").0, "23505");
    assert_eq!(client.rows("select count(*) from t"), ["0"]);
    let reply = client.query("commit");
    assert_eq!(reply.notices, ["there is no transaction in progress"]);
}
