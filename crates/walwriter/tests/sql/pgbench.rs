//! What pgbench sends.

use super::server::Server;

#[test]
fn what_pgbench_sends_to_fill_its_tables_and_to_run_works() {
    let server = Server::start();
    let mut client = server.connect();
    client.query("drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers");
    client.query(
        "create table pgbench_history(tid int,bid int,aid    int,delta int,mtime timestamp,filler char(22))",
    );
    client.query("create table pgbench_tellers(tid int not null,bid int,tbalance int,filler char(84)) with (fillfactor=100)");
    client.query("create table pgbench_accounts(aid    int not null,bid int,abalance int,filler char(84)) with (fillfactor=100)");
    client.query(
        "create table pgbench_branches(bid int not null,bbalance int,filler char(88)) with (fillfactor=100)",
    );
    client
        .query("begin; truncate table pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers");
    client.query("insert into pgbench_branches(bid,bbalance) values(1,0)");
    client.query("insert into pgbench_tellers(tid,bid,tbalance) values (1,1,0)");
    client.copying = (1..=1000).flat_map(|aid| format!("{aid}\t1\t0\t\n").into_bytes()).collect();
    assert_eq!(client.query("copy pgbench_accounts from stdin with (freeze on)").tags, ["COPY 1000"]);
    client.query("commit");
    client.query("vacuum analyze pgbench_accounts");
    for (table, column) in [("branches", "bid"), ("tellers", "tid"), ("accounts", "aid")] {
        client.query(&format!("alter table pgbench_{table} add primary key ({column})"));
    }
    let partitions = "select o.n, p.partstrat, pg_catalog.count(i.inhparent) from pg_catalog.pg_class as c join \
        pg_catalog.pg_namespace as n on (n.oid = c.relnamespace) cross join lateral (select \
        pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname)) as o(n) left join \
        pg_catalog.pg_partitioned_table as p on (p.partrelid = c.oid) left join pg_catalog.pg_inherits as i on \
        (c.oid = i.inhparent) where c.relname = 'pgbench_accounts' and o.n is not null group by 1, 2 order by 1 asc limit 1";
    assert_eq!(client.rows(partitions), ["2|-|0"]);
    for delta in [5, -3] {
        client.query("BEGIN;");
        client.query(&format!("UPDATE pgbench_accounts SET abalance = abalance + {delta} WHERE aid = 77;"));
        client.query("SELECT abalance FROM pgbench_accounts WHERE aid = 77;");
        client.query(&format!("UPDATE pgbench_tellers SET tbalance = tbalance + {delta} WHERE tid = 1;"));
        client.query(&format!("UPDATE pgbench_branches SET bbalance = bbalance + {delta} WHERE bid = 1;"));
        client.query(&format!(
            "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, 77, {delta}, CURRENT_TIMESTAMP);"
        ));
        client.query("END;");
    }
    assert_eq!(client.rows("select sum(delta), count(mtime) from pgbench_history"), ["2|2"]);
    assert_eq!(client.rows("select abalance from pgbench_accounts where aid = 77"), ["2"]);
}
