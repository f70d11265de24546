//! Queries that tools send to find out about tables, which join catalogs: each is known as a whole, and replaced by a
//! query over one view that gives the same result here.

use super::describe;

/// The query to execute in place of `text`, if it is one of those.
pub(crate) fn rewrite(text: &str) -> Option<String> {
    // Every one of them names its catalogs in full.
    if !text.contains("pg_catalog.") {
        return None;
    }
    pgbench_partitions(text).or_else(|| psql_tables(text)).or_else(|| describe::rewrite(text))
}

/// psql lists tables: `\d`, and `\dt` with or without a pattern (`listTables` in `describe.c`).
fn psql_tables(text: &str) -> Option<String> {
    let rest = text.trim_start().strip_prefix("SELECT n.nspname as \"Schema\",\n  c.relname as \"Name\",")?;
    let (_, rest) = rest.split_once("as \"Owner\"\nFROM pg_catalog.pg_class c")?;
    let (_, rest) = rest.split_once("WHERE c.relkind IN (")?;
    let (kinds, rest) = rest.split_once(')')?;
    let mut query = "select schemaname as \"Schema\", tablename as \"Name\", 'table' as \"Type\", tableowner as \"Owner\" \
                     from pg_catalog.pg_tables where "
        .to_owned();
    query.push_str(if kinds.contains("'r'") { "true" } else { "false" });
    if let Some((_, pattern)) = rest.split_once("c.relname OPERATOR(pg_catalog.~) '^(") {
        let (name, _) = pattern.split_once(")$'")?;
        query.push_str(&format!(" and tablename like '{}'", describe::like(name)?));
    }
    query.push_str(" order by 1, 2");
    Some(query)
}

/// Whether a pattern matches itself alone.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// pgbench asks how `pgbench_accounts` is partitioned, and whether it is there at all (`GetTableInfo`).
fn pgbench_partitions(text: &str) -> Option<String> {
    let rest = text.trim_start().strip_prefix("select o.n, p.partstrat, pg_catalog.count(i.inhparent)")?;
    let (_, table) = rest.split_once("c.relname = '")?;
    let (table, _) = table.split_once('\'')?;
    is_plain(table).then(|| {
        format!(
            "select 2 as n, null::text as partstrat, 0::bigint as count from pg_catalog.pg_tables \
             where tablename = '{table}' limit 1"
        )
    })
}
