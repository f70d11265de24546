//! CREATE, DROP, TRUNCATE, ALTER, and what catalogs say.

use super::server::Server;

#[test]
fn tables_are_created_dropped_and_found_again_after_a_restart() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id bigint primary key, v varchar(5), u uuid default gen_random_uuid())");
    assert_eq!(
        client.error("create table t (a int)"),
        ("42P07".into(), "relation \"t\" already exists".into())
    );
    let reply = client.query("create table if not exists t (a int)");
    assert_eq!(reply.notices, ["relation \"t\" already exists, skipping"]);
    client.query("insert into t values (1, 'abc')");
    drop(client);
    let server = server.restart();
    let mut client = server.connect();
    assert_eq!(client.rows("select id, v from t where u is not null"), ["1|abc"]);
    assert_eq!(client.error("insert into t values (2, 'abcdef')").0, "22001");
    client.query("drop table t");
    assert_eq!(client.error("select * from t").0, "42P01");
    assert_eq!(client.error("drop table t"), ("42P01".into(), "table \"t\" does not exist".into()));
    assert_eq!(client.query("drop table if exists t").notices, ["table \"t\" does not exist, skipping"]);
}

#[test]
fn changes_of_tables_are_rolled_back() {
    let server = Server::start();
    let (mut one, mut other) = (server.connect(), server.connect());
    one.query("create table t (id int primary key); insert into t values (1)");
    one.query(
        "begin; truncate t; create table u (a int); insert into t values (5); insert into u values (6)",
    );
    assert_eq!(one.rows("select id from t"), ["5"]);
    assert_eq!(one.rows("select tablename from pg_tables"), ["t", "u"]);
    assert_eq!(other.rows("select id from t"), ["1"]);
    assert_eq!(other.error("select * from u").0, "42P01");
    one.query("rollback");
    assert_eq!(one.rows("select id from t"), ["1"]);
    assert_eq!(one.error("select * from u").0, "42P01");
}

#[test]
fn a_primary_key_is_added_whatever_the_order_of_the_rows() {
    let server = Server::start();
    let mut client = server.connect();
    for (table, key) in [("ascending", "g"), ("descending", "1000 - g"), ("mixed", "(g * 37) % 1009")] {
        client.query(&format!("create table {table} (id int, v int)"));
        client.query(&format!("insert into {table} select {key}, g from generate_series(1, 900) g"));
        client.query(&format!("alter table {table} add primary key (id)"));
        assert_eq!(client.rows(&format!("select count(*), sum(v) from {table}")), ["900|405450"], "{table}");
        let first = client.rows(&format!("select id from {table} order by id limit 3"));
        let sorted = client.rows(&format!("select id from {table} order by id + 0 limit 3"));
        assert_eq!(first, sorted, "{table}");
        assert_eq!(
            client.error(&format!("insert into {table} select id, 0 from {table} limit 1")).0,
            "23505"
        );
    }
    client.query("create table bad (id int); insert into bad values (1), (2), (1)");
    let error = client.try_query("alter table bad add primary key (id)").unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.detail.as_deref()),
        ("23505", Some("Key (id)=(1) is duplicated."))
    );
    client.query("delete from bad; insert into bad values (null)");
    assert_eq!(client.error("alter table bad add primary key (id)").0, "23502");
    assert_eq!(client.error("alter table mixed add primary key (v)").0, "42P16");
}

#[test]
fn catalogs_say_what_tables_there_are() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (a int, b varchar(9) not null default 'x', primary key (a))");
    assert_eq!(client.rows("select schemaname, tablename, hasindexes from pg_tables"), ["public|t|t"]);
    assert_eq!(
        client.rows("select indexname, indexdef from pg_catalog.pg_indexes where tablename = 't'"),
        ["t_pkey|CREATE UNIQUE INDEX t_pkey ON public.t USING btree (a)"]
    );
    assert_eq!(
        client.rows(
            "select column_name, ordinal_position, is_nullable, data_type, character_maximum_length \
             from information_schema.columns where table_name = 't' order by ordinal_position"
        ),
        ["a|1|NO|integer|-", "b|2|NO|character varying|9"]
    );
    assert_eq!(client.rows("select relname, relkind from pg_class"), ["t|r", "t_pkey|i"]);
    assert_eq!(client.rows("select count(*) from pg_stat_replication"), ["0"]);
}

#[test]
fn psql_lists_tables() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table one (a int); create table two (a int)");
    // What `\dt two` of psql 15 sends.
    let list = "SELECT n.nspname as \"Schema\",\n  c.relname as \"Name\",\n  CASE c.relkind WHEN 'r' THEN 'table' END as \
        \"Type\",\n  pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\"\nFROM pg_catalog.pg_class c\n     LEFT JOIN \
        pg_catalog.pg_namespace n ON n.oid = c.relnamespace\nWHERE c.relkind IN ('r','p','')\n";
    let order = "  AND pg_catalog.pg_table_is_visible(c.oid)\nORDER BY 1,2;";
    let pattern = "  AND c.relname OPERATOR(pg_catalog.~) '^(two)$' COLLATE pg_catalog.default\n";
    assert_eq!(
        client.rows(&format!("{list}{order}")),
        ["public|one|table|postgres", "public|two|table|postgres"]
    );
    assert_eq!(client.rows(&format!("{list}{pattern}{order}")), ["public|two|table|postgres"]);
}

#[test]
fn tables_of_a_transaction_that_others_overtake_stay_its_own() {
    let server = Server::start();
    let (mut one, mut two, mut three) = (server.connect(), server.connect(), server.connect());
    one.query("begin; create table mine (a int)");
    two.query("create table other (a int)");
    // Reads the definitions anew, its own uncommitted one among them.
    one.query("insert into mine values (1); insert into other values (2)");
    assert_eq!(three.error("select * from mine").0, "42P01");
    assert_eq!(three.rows("select tablename from pg_tables"), ["other"]);
    one.query("rollback");
    assert_eq!(one.error("select * from mine").0, "42P01");
    one.query("create table mine (b int)");
    assert_eq!(three.rows("select tablename from pg_tables"), ["mine", "other"]);
}
