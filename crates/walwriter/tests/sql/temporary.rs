//! Temporary tables, and the counters of `serial` columns.

use super::server::Server;

const TABLES: &str = "select schemaname, tablename from pg_tables order by 1, 2";

#[test]
fn a_temporary_table_is_there_for_its_session_alone() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (a int); insert into t values (1)");
    one.query("create temp table t (a int primary key, b text); insert into t values (2, 'x')");
    one.query("create temporary table if not exists u (a int)");
    assert_eq!(one.rows("select * from t"), ["2|x"]);
    assert_eq!(one.rows("select * from pg_temp.t"), ["2|x"]);
    assert_eq!(one.rows("select * from public.t"), ["1"]);
    assert_eq!(one.rows(TABLES), ["pg_temp_3|t", "pg_temp_3|u", "public|t"]);
    assert_eq!(other.rows("select * from t"), ["1"]);
    assert_eq!(other.rows(TABLES), ["public|t"]);
    for name in ["u", "pg_temp.u", "pg_temp_3.u"] {
        assert_eq!(other.error(&format!("select * from {name}")).0, "42P01", "{name}");
    }
    other.query("create temp table t (c bigint)");
    assert_eq!(other.rows(TABLES), ["pg_temp_4|t", "public|t"]);
    assert_eq!(one.rows("select * from t"), ["2|x"]);
    // What is dropped first is what is found first.
    one.query("drop table t");
    assert_eq!(one.rows("select * from t"), ["1"]);
}

#[test]
fn temporary_tables_go_with_their_session() {
    let server = Server::start();
    let mut keeper = server.connect();
    let trees = |client: &mut super::client::Client<'_>| client.rows("select count(*) from pg_class");
    keeper.query("create table t (a int)");
    let before = trees(&mut keeper);
    let mut client = server.connect();
    client.query("create temp table u (a serial); insert into u default values");
    client.query("create temp table v (a int); begin; create temp table w (a int)");
    drop(client);
    assert_eq!(trees(&mut keeper), before);
    let mut client = server.connect();
    client.query("create temp table u (a int)");
    assert_eq!(client.error("select 1 from u; discard temp").0, "0A000");
    client.query("discard temp");
    assert_eq!(client.error("select * from u").0, "42P01");
    client.query("create temp table u (a int); insert into u values (7)");
    assert_eq!(client.rows("select * from u"), ["7"]);
    assert_eq!(client.error("begin; discard temp").0, "0A000");
}

#[test]
fn temporary_tables_of_a_crash_are_dropped_before_there_are_new_ones() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create temp table t (a int); insert into t values (1)");
    let crashed = server.copy_as_if_crashed();
    drop(client);
    let mut client = crashed.connect();
    assert_eq!(client.error("select * from t").0, "42P01");
    assert_eq!(client.error("select * from pg_temp_3.t").0, "42P01");
    client.query("create temp table t (b int)");
    assert_eq!(client.rows("select * from t"), [""; 0]);
    assert_eq!(client.rows(TABLES), ["pg_temp_3|t"]);
}

#[test]
fn on_commit_drop_ends_with_the_transaction() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("begin; create temp table t (a int) on commit drop; insert into t values (1)");
    assert_eq!(client.rows("select * from t"), ["1"]);
    client.query("savepoint s; create temp table u (a int) on commit drop; rollback to s; commit");
    assert_eq!(client.error("select * from t").0, "42P01");
    client.query("create temp table t (a int) on commit preserve rows; insert into t values (2)");
    assert_eq!(client.rows("select * from t"), ["2"]);
    assert_eq!(client.error("create temp table x (a int) on commit delete rows").0, "0A000");
    assert_eq!(client.error("create table x (a int) on commit drop").0, "42P16");
    assert_eq!(client.error("create temp table public.x (a int)").0, "42P16");
}

#[test]
fn serial_columns_count_and_never_give_a_number_twice() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id serial primary key, big bigserial, v text)");
    assert_eq!(client.rows("insert into t (v) values ('a'), ('b') returning id, big"), ["1|1", "2|2"]);
    client.query("begin; insert into t (v) values ('c'); rollback");
    assert_eq!(client.rows("insert into t (v) values ('d') returning id"), ["4"]);
    assert_eq!(client.rows("insert into t values (100, 200, 'e') returning id"), ["100"]);
    assert_eq!(client.error("insert into t (id) values (null)").0, "23502");
    assert_eq!(
        client.rows("select column_default from information_schema.columns where column_name = 'id'"),
        ["nextval('t_id_seq'::regclass)"]
    );
    drop(client);
    let server = server.restart();
    let mut client = server.connect();
    // As after a crash of PostgreSQL, the numbers that were made available in advance are lost.
    assert_eq!(client.rows("insert into t (v) values ('f') returning id, big"), ["33|33"]);
    client.query("insert into t (v) select 'g' from generate_series(1, 66)");
    assert_eq!(client.rows("select max(big), count(*) from t where v = 'g'"), ["99|66"]);
    client.query("drop table t; create table t (id smallserial)");
    assert_eq!(client.rows("insert into t default values returning id"), ["1"]);
    assert_eq!(client.error("truncate t restart identity").0, "0A000");
    assert_eq!(client.error("create table x (a serial null)").0, "42601");
    assert_eq!(client.error("select nextval(16384, 0)").0, "42883");
}

#[test]
fn much_data_is_copied_into_temporary_tables_too() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key, v text); create temp table t (id int, v text)");
    client.copying = (0..9000).map(|id| format!("{id}\tvalue {id}\n")).collect::<String>().into_bytes();
    client.query("copy t from stdin");
    assert_eq!(client.rows("select count(*), max(id) from t"), ["9000|8999"]);
    assert_eq!(client.rows("select count(*) from public.t"), ["0"]);
    client.query("drop table t");
    assert_eq!(client.rows("select count(*) from t"), ["0"]);
}
