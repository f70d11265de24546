//! COPY.

use super::server::Server;

#[test]
fn copied_rows_come_back_as_they_went_in() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key, v text)");
    client.copying = b"1\tone\n2\t\\N\n3\ta\\tb\n".to_vec();
    assert_eq!(client.query("copy t from stdin").tags, ["COPY 3"]);
    let reply = client.query("copy t to stdout");
    assert_eq!(
        (reply.copied.as_str(), reply.tags),
        ("1\tone\n2\t\\N\n3\ta\\tb\n", vec!["COPY 3".to_owned()])
    );
    let reply = client
        .query("copy (select v from t where id <> 2 order by id desc) to stdout with (format csv, header)");
    assert_eq!(reply.copied, "v\na\tb\none\n");
}

#[test]
fn a_key_that_exists_fails_the_whole_copy_and_says_where() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int primary key, v text)");
    client.copying = b"1\ta\n2\tb\n1\tc\n".to_vec();
    let error = client.try_query("copy t from stdin").unwrap_err();
    assert_eq!((error.code.as_str(), error.context.as_deref()), ("23505", Some("COPY t, line 3")));
    client.copying = b"1\ta\nx\tb\n".to_vec();
    assert_eq!(client.error("copy t from stdin").0, "22P02");
    assert_eq!(client.rows("select count(*) from t"), ["0"]);
}

/// More lines than a COPY gathers before it chooses how to place them: keys from `keys`, each with a text of 100 bytes.
fn lines(keys: impl Iterator<Item = u32>) -> Vec<u8> {
    keys.map(|key| format!("{key}\t{key:0100}\n")).collect::<String>().into_bytes()
}

#[test]
fn a_large_copy_into_an_empty_table_is_all_there_or_not_at_all_in_whatever_order_it_comes() {
    let server = Server::start();
    let mut client = server.connect();
    let mut other = server.connect();
    client.query("create table t (id int primary key, v text)");
    client.copying = lines((1..=3000).chain([77]));
    assert_eq!(client.error("copy t from stdin").0, "23505");
    client.query("begin");
    client.copying = lines(1..=3000);
    client.query("copy t from stdin");
    assert_eq!(other.rows("select count(*) from t"), ["0"]);
    assert_eq!(client.rows("select count(*), min(id), max(id) from t"), ["3000|1|3000"]);
    client.query("rollback");
    assert_eq!(client.rows("select count(*) from t"), ["0"]);
    client.copying = lines((0..3000).map(|n| n * 1231 % 3000 + 1));
    assert_eq!(client.query("copy t from stdin").tags, ["COPY 3000"]);
    assert_eq!(other.rows("select count(*), min(id), max(id) from t"), ["3000|1|3000"]);
    // It is not empty any more.
    client.copying = lines(3001..=6000);
    assert_eq!(client.query("copy t from stdin").tags, ["COPY 3000"]);
    client.copying = lines(6001..=9000).into_iter().chain(lines(5..6)).collect();
    assert_eq!(client.error("copy t from stdin").0, "23505");
    assert_eq!(other.rows("select count(*), max(id) from t"), ["6000|6000"]);
    client.query("create table k (v text)");
    client.copying =
        lines(1..=3000).into_iter().map(|byte| if byte == b'\t' { b' ' } else { byte }).collect();
    client.query("copy k from stdin");
    client.query("insert into k values ('one more')");
    assert_eq!(other.rows("select count(*) from k"), ["3001"]);
}

#[test]
fn a_copy_in_no_order_is_sorted_in_little_memory_and_says_which_line_has_a_key_again() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("set maintenance_work_mem = '1MB'; create table t (id int primary key, v text)");
    // The first few are in order.
    let keys = || (1..=50).chain((0..20_000).map(|n| n * 7919 % 20_000 + 51));
    client.copying = lines(keys());
    assert_eq!(client.query("copy t from stdin").tags, ["COPY 20050"]);
    assert_eq!(client.rows("select count(*), min(id), max(id), sum(id) from t"), ["20050|1|20050|201011275"]);
    assert_eq!(client.rows("select count(*) from t where v::int = id"), ["20050"]);
    client.query("insert into t values (20051, 'one more'); delete from t where id < 20051");
    client.query("truncate t");
    client.copying = lines(keys().chain([4711, 20_052]));
    let error = client.try_query("copy t from stdin").unwrap_err();
    assert_eq!((error.code.as_str(), error.context.as_deref()), ("23505", Some("COPY t, line 20051")));
    client.copying = lines(keys().take(10_000).chain([3]));
    let error = client.try_query("copy t from stdin").unwrap_err();
    assert_eq!((error.code.as_str(), error.context.as_deref()), ("23505", Some("COPY t, line 10001")));
    assert_eq!(client.rows("select count(*) from t"), ["0"]);
    let after = server.copy_as_if_crashed();
    assert_eq!(after.connect().rows("select count(*) from t"), ["0"]);
}

#[test]
fn a_large_copy_into_an_empty_table_waits_for_nobody_who_is_writing_to_it() {
    let server = Server::start();
    let mut client = server.connect();
    let mut other = server.connect();
    client.query("create table t (id int primary key, v text)");
    other.query("begin; insert into t values (100000, 'first')");
    client.copying = lines(1..=3000);
    assert_eq!(client.query("copy t from stdin").tags, ["COPY 3000"]);
    other.query("commit");
    assert_eq!(other.rows("select count(*) from t"), ["3001"]);
}

#[test]
fn rows_copied_into_a_table_of_the_same_transaction_are_like_others() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int, v text)");
    client.query("insert into t values (0, 'before')");
    let data: String = (1..=3000).map(|id| format!("{id}\tvalue {id}\n")).collect();
    client.query("begin; truncate t");
    client.copying = data.clone().into_bytes();
    client.query("copy t from stdin with (freeze on)");
    client.query("insert into t values (3001, 'after')");
    client.query("commit");
    assert_eq!(client.rows("select count(*), min(id), max(id) from t"), ["3001|1|3001"]);
    assert_eq!(client.rows("select v from t where id in (1, 3000)"), ["value 1", "value 3000"]);
    client.query("begin; truncate t");
    client.copying = data.into_bytes();
    client.query("copy t from stdin; rollback");
    assert_eq!(client.rows("select count(*) from t"), ["3001"]);
    client.query("begin; create table k (id int primary key, v text)");
    client.copying = b"1\ta\n5\tb\n3\tc\n".to_vec();
    client.query("copy k from stdin; commit");
    assert_eq!(client.rows("select * from k"), ["1|a", "3|c", "5|b"]);
}

#[test]
fn the_binary_format_goes_both_ways() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (id int, v varchar(3))");
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let rows = b"\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x03abc\0\x02\0\0\0\x04\0\0\0\x08\xff\xff\xff\xff\xff\xff";
    client.copying = [&header[..], rows].concat();
    assert_eq!(client.query("copy t from stdin (format binary)").tags, ["COPY 2"]);
    assert_eq!(client.rows("select * from t order by id"), ["7|abc", "8|-"]);
    let reply = client.query("copy (select id, v from t order by id) to stdin with binary");
    assert_eq!(reply.copied, String::from_utf8_lossy(&[&header[..], rows].concat()));
    client.copying = [&header[..], b"\0\x02\0\0\0\x02\0\x07\0\0\0\x01a"].concat();
    assert_eq!(client.error("copy t from stdin binary").0, "22P03");
    client.copying = [&header[..], b"\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x04abcd\xff\xff"].concat();
    assert_eq!(client.error("copy t from stdin binary").0, "22001");
    assert_eq!(client.rows("select count(*) from t"), ["2"]);
}
