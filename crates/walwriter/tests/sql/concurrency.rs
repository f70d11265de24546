//! Sessions that meet on rows and tables.

use super::server::Server;

#[test]
fn an_update_waits_and_then_changes_what_is_there() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key, v int); insert into t values (1, 1), (2, 1), (3, 1)");
    one.query("begin; update t set v = v + 10 where id = 2");
    let waiting = other.start("update t set v = v + 1 where v < 100");
    one.query("commit");
    assert_eq!(other.finish(waiting).unwrap().tags, ["UPDATE 3"]);
    assert_eq!(other.rows("select v from t"), ["2", "12", "2"]);
}

#[test]
fn a_row_that_changed_while_it_was_waited_for_is_looked_at_again() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key, v int); insert into t values (1, 1), (2, 2)");
    one.query("begin; update t set v = 50 where id = 1; delete from t where id = 2");
    let waiting = other.start("delete from t where v < 10");
    one.query("commit");
    assert_eq!(other.finish(waiting).unwrap().tags, ["DELETE 0"]);
    assert_eq!(other.rows("select * from t"), ["1|50"]);
}

#[test]
fn an_insert_waits_for_another_of_the_same_key() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key, v int)");
    one.query("begin; insert into t values (1, 1)");
    let waiting = other.start("insert into t values (1, 2) on conflict (id) do update set v = t.v + 100");
    one.query("commit");
    other.finish(waiting).unwrap();
    one.query("begin; insert into t values (2, 1)");
    let waiting = other.start("insert into t values (2, 2)");
    one.query("rollback");
    other.finish(waiting).unwrap();
    one.query("begin; delete from t where id = 2");
    let waiting = other.start("insert into t values (2, 3)");
    one.query("rollback");
    assert_eq!(other.finish(waiting).unwrap_err().code.as_str(), "23505");
    assert_eq!(other.rows("select * from t"), ["1|101", "2|2"]);
}

#[test]
fn a_circle_of_waits_is_found() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key, v int); insert into t values (1, 1), (2, 1)");
    one.query("begin; update t set v = 2 where id = 1");
    other.query("begin; update t set v = 3 where id = 2");
    let waiting = other.start("update t set v = 3 where id = 1");
    assert_eq!(one.error("update t set v = 2 where id = 2"), ("40P01".into(), "deadlock detected".into()));
    other.finish(waiting).unwrap();
    other.query("commit");
    assert_eq!(other.rows("select v from t"), ["3", "3"]);
}

#[test]
fn select_for_update_keeps_others_from_the_rows_it_returns() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key, v int); insert into t values (1, 1), (2, 1), (3, 1)");
    one.query("begin");
    assert_eq!(one.rows("select id from t where id < 3 order by id limit 1 for update"), ["1"]);
    assert_eq!(other.error("select * from t for update nowait").0, "55P03");
    assert_eq!(other.rows("select id from t for update skip locked"), ["2", "3"]);
    let waiting = other.start("update t set v = 2 where id = 1");
    one.query("commit");
    other.finish(waiting).unwrap();
}

#[test]
fn a_lock_is_not_waited_for_longer_than_lock_timeout() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key, v int); insert into t values (1, 1)");
    one.query("begin; update t set v = 2");
    other.query("set lock_timeout = '20ms'");
    assert_eq!(other.error("update t set v = 3").1, "canceling statement due to lock timeout");
}

#[test]
fn a_writer_that_waits_for_truncate_writes_to_the_new_table() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key, v int); insert into t values (1, 1)");
    one.query("begin; truncate t");
    let waiting = other.start("insert into t values (1, 2)");
    one.query("commit");
    other.finish(waiting).unwrap();
    assert_eq!(one.rows("select * from t"), ["1|2"]);
    other.query("begin; update t set v = 3");
    let waiting = one.start("drop table t");
    other.query("commit");
    one.finish(waiting).unwrap();
    assert_eq!(other.error("select * from t").0, "42P01");
}

#[test]
fn what_sessions_do_can_be_watched() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect_with(&[("application_name", "first")]), server.connect());
    let mut watcher = server.connect();
    one.query("create table t (id int primary key, v int); insert into t values (1, 1)");
    one.query("begin; update t set v = 2 where id = 1");
    let waiting = other.start("update t set v = 3 where id = 1");
    let activity = "select state, wait_event_type, application_name, query from pg_stat_activity \
                    where pid <> pg_backend_pid() order by backend_start";
    assert_eq!(
        watcher.rows(activity),
        [
            "idle in transaction|Client|first|update t set v = 2 where id = 1",
            "active|Lock||update t set v = 3 where id = 1",
        ]
    );
    let mine = "select state, query from pg_stat_activity where pid = pg_backend_pid()";
    assert_eq!(watcher.rows(mine), [format!("active|{mine}")]);
    one.query("commit; set application_name = 'another'");
    other.finish(waiting).unwrap();
    other.query("");
    let open = "select application_name, state, query_start is null, xact_start is null from pg_stat_activity \
                where pid <> pg_backend_pid() order by backend_start";
    assert_eq!(watcher.rows(open), ["another|idle|f|t", "|idle|f|t"]);
    drop(one);
    assert_eq!(watcher.rows("select count(*) from pg_stat_activity"), ["2"]);
}
