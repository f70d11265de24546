//! Queries.

use super::server::Server;

#[test]
fn rows_are_found_by_key_by_range_and_by_any_column() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("create table t (a int, b int, c text, primary key (a, b))");
    client.query("insert into t values (1, 1, 'one'), (1, 2, 'two'), (2, 1, null), (3, 1, 'four')");
    assert_eq!(client.rows("select c from t where a = 1 and b = 2"), ["two"]);
    assert_eq!(client.rows("select * from t where a = 1 order by b desc"), ["1|2|two", "1|1|one"]);
    assert_eq!(client.rows("select a, b from t where a > 1"), ["2|1", "3|1"]);
    assert_eq!(client.rows("select a from t where c like 'o%' or c is null"), ["1", "2"]);
    assert_eq!(client.rows("select count(*), sum(a), min(c), max(b) from t"), ["4|7|four|2"]);
    assert_eq!(client.rows("select a from t order by c nulls first, a limit 2 offset 1"), ["3", "1"]);
    assert_eq!(client.rows("select c from t where a = 9"), Vec::<String>::new());
}
