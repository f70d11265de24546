//! INSERT, UPDATE, DELETE.

use super::server::Server;

#[test]
fn rows_are_inserted_changed_and_deleted_and_shown_as_they_are_then() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key, v int default 7, s text not null default 'x')");
    assert_eq!(client.rows("insert into t (id) values (1), (2) returning id, v, s"), ["1|7|x", "2|7|x"]);
    let reply = client.query("update t set v = v + id where id >= 1 returning v");
    assert_eq!(
        (reply.text(), reply.tags),
        (vec!["8".to_owned(), "9".to_owned()], vec!["UPDATE 2".to_owned()])
    );
    assert_eq!(client.rows("delete from t where v = 9 returning *"), ["2|9|x"]);
    assert_eq!(client.query("delete from t where id = 5").tags, ["DELETE 0"]);
    assert_eq!(client.rows("select * from t"), ["1|8|x"]);
}

#[test]
fn a_conflict_is_an_error_or_what_the_statement_says() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key, v int)");
    client.query("insert into t values (1, 10)");
    let error = client.try_query("insert into t values (1, 11)").unwrap_err();
    assert_eq!(error.code.as_str(), "23505");
    assert_eq!(error.message, "duplicate key value violates unique constraint \"t_pkey\"");
    assert_eq!(error.detail.as_deref(), Some("Key (id)=(1) already exists."));
    assert_eq!(client.query("insert into t values (1, 11) on conflict do nothing").tags, ["INSERT 0 0"]);
    let upsert =
        "insert into t values (1, 5), (2, 6) on conflict (id) do update set v = t.v + excluded.v returning *";
    assert_eq!(client.rows(upsert), ["1|15", "2|6"]);
    let twice = "insert into t values (3, 1), (3, 2) on conflict (id) do update set v = excluded.v";
    assert_eq!(client.error(twice).0, "21000");
    assert_eq!(client.rows("select * from t order by id"), ["1|15", "2|6"]);
}

#[test]
fn nulls_are_refused_where_they_may_not_be() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key, v int not null)");
    for statement in ["insert into t values (1, null)", "insert into t (v) values (1)"] {
        assert_eq!(client.error(statement).0, "23502", "{statement}");
    }
    client.query("insert into t values (1, 1)");
    let (code, message) = client.error("update t set v = null");
    assert_eq!(code, "23502");
    assert_eq!(message, "null value in column \"v\" of relation \"t\" violates not-null constraint");
}

#[test]
fn an_update_of_keys_moves_each_row_once() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key, v int)");
    client.query("insert into t select g, g from generate_series(1, 500) g");
    assert_eq!(client.query("update t set id = id + 1000").tags, ["UPDATE 500"]);
    assert_eq!(
        client.rows("select count(*), min(id), max(id) from t where id - v = 1000"),
        ["500|1001|1500"]
    );
    assert_eq!(client.error("update t set id = 1001 where id = 1002").0, "23505");
}

#[test]
fn an_insert_from_its_own_table_sees_only_what_was_there() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (v int)");
    client.query("insert into t values (1), (2), (3)");
    assert_eq!(client.query("insert into t select v + 10 from t").tags, ["INSERT 0 3"]);
    assert_eq!(client.rows("select count(*), max(v) from t"), ["6|13"]);
}

#[test]
fn rows_without_a_key_keep_their_order_over_a_restart() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (v int)");
    client.query("insert into t values (3), (1)");
    drop(client);
    let server = server.restart();
    let mut client = server.connect();
    client.query("insert into t values (2)");
    assert_eq!(client.rows("select v from t"), ["3", "1", "2"]);
}
