//! COPY.

use super::client::Server;

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
