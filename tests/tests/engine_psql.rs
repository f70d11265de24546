//! psql's own commands against walwriter.

use walship_tests::{TempRoot, Tool, Version, Walwriter};

/// What the psql of every version at hand prints, if they agree.
fn shown(server: &Walwriter, root: &TempRoot, command: &str) -> String {
    let conninfo = format!("{} dbname=postgres", server.conninfo());
    let mut printed: Vec<String> = Vec::new();
    for version in Version::at_hand() {
        let psql = Tool::postgres(root, version, "psql").args(["-X", "-d", &conninfo, "-c", command]);
        printed.push(psql.succeed().lines().map(|line| format!("{}\n", line.trim_end())).collect());
    }
    assert!(printed.iter().all(|one| *one == printed[0]), "{printed:#?}");
    printed.swap_remove(0)
}

#[test]
fn psql_describes_a_table_as_it_describes_postgresqls() {
    let root = TempRoot::new("psql");
    let server = Walwriter::start_new(&root, "server", &[]);
    server.sql(
        "create table t (id int primary key, s serial, name text not null default 'x', v varchar(10), \
         at timestamptz default now(), c char(4))",
    );
    server.sql("create table h (a int, b bytea)");
    server.sql("create table \"Odd one\" (x int, y int, constraint odd_k primary key (y, x))");
    // As PostgreSQL 15 and its psql print them.
    let t = r#"                                    Table "public.t"
 Column |           Type           | Collation | Nullable |           Default
--------+--------------------------+-----------+----------+------------------------------
 id     | integer                  |           | not null |
 s      | integer                  |           | not null | nextval('t_s_seq'::regclass)
 name   | text                     |           | not null | 'x'::text
 v      | character varying(10)    |           |          |
 at     | timestamp with time zone |           |          | now()
 c      | character(4)             |           |          |
Indexes:
    "t_pkey" PRIMARY KEY, btree (id)

"#;
    assert_eq!(shown(&server, &root, "\\d t"), t);
    assert_eq!(shown(&server, &root, "\\d public.t"), t);
    let h = r#"                 Table "public.h"
 Column |  Type   | Collation | Nullable | Default
--------+---------+-----------+----------+---------
 a      | integer |           |          |
 b      | bytea   |           |          |

"#;
    assert_eq!(shown(&server, &root, "\\d h"), h);
    let odd = r#"              Table "public.Odd one"
 Column |  Type   | Collation | Nullable | Default
--------+---------+-----------+----------+---------
 x      | integer |           | not null |
 y      | integer |           | not null |
Indexes:
    "odd_k" PRIMARY KEY, btree (y, x)

"#;
    assert_eq!(shown(&server, &root, "\\d \"Odd one\""), odd);
    let detailed = r#"                                            Table "public.h"
 Column |  Type   | Collation | Nullable | Default | Storage  | Compression | Stats target | Description
--------+---------+-----------+----------+---------+----------+-------------+--------------+-------------
 a      | integer |           |          |         | plain    |             |              |
 b      | bytea   |           |          |         | extended |             |              |
Access method: heap

"#;
    assert_eq!(shown(&server, &root, "\\d+ h"), detailed);
    let list = r#"          List of relations
 Schema |  Name   | Type  |  Owner
--------+---------+-------+----------
 public | Odd one | table | postgres
 public | h       | table | postgres
 public | t       | table | postgres
(3 rows)

"#;
    assert_eq!(shown(&server, &root, "\\d"), list);
    let missing = server.psql(["-X", "-c", "\\d nosuch"]).run();
    assert!(missing.stderr.contains("Did not find any relation named \"nosuch\"."), "{}", missing.stderr);
}
