//! What psql asks to describe a table: `\d name`, `\d+ name`.
//!
//! psql first looks the name up, then asks one query each for the table, its columns, its indexes, and what tables may
//! have besides, which here is nothing. The texts are those of psql 15 to 18 against a server of version 15.
//! Source: `describeTableDetails`, `describeOneTableDetails` in `bin/psql/describe.c`.

/// Catalogs of what there is none of, each in a query of its own.
const NOTHING: &[&str] = &[
    "FROM pg_catalog.pg_policy pol\n",
    "FROM pg_catalog.pg_statistic_ext\n",
    "FROM pg_catalog.pg_publication p\n",
    "FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i\n",
    // Foreign keys, and names of NOT NULL: psql 18 asks for them in any case.
    "FROM pg_catalog.pg_constraint r\n",
    "FROM pg_catalog.pg_constraint c\n",
    "FROM pg_catalog.pg_constraint c JOIN\n",
];

/// The query to execute in place of `text`, if it is one of those.
pub(super) fn rewrite(text: &str) -> Option<String> {
    let text = text.trim_start();
    if text.starts_with("SELECT c.oid,\n  n.nspname,\n  c.relname\nFROM pg_catalog.pg_class c\n") {
        return find(text);
    }
    let (oid, query) = if text.starts_with("SELECT c.relchecks, c.relkind, c.relhasindex,") {
        (oid_behind(text, "WHERE c.oid = '")?, table())
    } else if text
        .starts_with("SELECT a.attname,\n  pg_catalog.format_type(a.atttypid, a.atttypmod),\n  (SELECT ")
    {
        (oid_behind(text, "WHERE a.attrelid = '")?, columns(text))
    } else if text.starts_with("SELECT c2.relname, i.indisprimary, i.indisunique,") {
        (oid_behind(text, "WHERE c.oid = '")?, indexes())
    } else {
        let is_psqls = text.starts_with("SELECT ") && text.contains(" = '") && text.contains("ORDER BY ");
        let nothing = is_psqls && NOTHING.iter().any(|catalog| text.contains(catalog));
        return nothing
            .then(|| "select null::text as nothing from pg_catalog.pg_tables where false".to_owned());
    };
    Some(query.replace("$oid", &oid.to_string()))
}

fn oid_behind(text: &str, words: &str) -> Option<u32> {
    let (_, rest) = text.rsplit_once(words)?;
    rest.split_once('\'')?.0.parse().ok()
}

/// The tables that a pattern means. Indexes, which psql would describe too, are not found.
fn find(text: &str) -> Option<String> {
    let mut query = "select oid, nspname, relname from pg_catalog.pg_class where relkind = 'r'".to_owned();
    for column in ["relname", "nspname"] {
        if let Some((_, rest)) = text.split_once(&format!("{column} OPERATOR(pg_catalog.~) '^(")) {
            query.push_str(&format!(" and {column} like '{}'", like(rest.split_once(")$'")?.0)?));
        }
    }
    query.push_str(" order by 2, 3");
    Some(query)
}

/// The pattern of LIKE that means what a regular expression means which psql has made of a name with `*` and `?`.
pub(super) fn like(regex: &str) -> Option<String> {
    let mut pattern = String::new();
    let mut rest = regex.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '.' if rest.next_if_eq(&'*').is_some() => pattern.push('%'),
            '.' => pattern.push('_'),
            '_' => pattern.push_str("\\_"),
            '\\' => match rest.next()? {
                // A regular expression's letters, doubled backslashes and quotes mean something else.
                c if c.is_alphanumeric() || matches!(c, '\\' | '\'' | '%') => return None,
                c => pattern.push(c),
            },
            ' ' | '-' => pattern.push(c),
            c if c.is_alphanumeric() => pattern.push(c),
            _ => return None,
        }
    }
    Some(pattern)
}

fn table() -> String {
    "select 0::smallint as relchecks, relkind, relhasindex, false as relhasrules, false as relhastriggers, \
     false as relrowsecurity, false as relforcerowsecurity, false as relhasoids, relispartition, '' as reloptions, \
     reltablespace, '' as reloftype, relpersistence, 'd' as relreplident, 'heap' as amname \
     from pg_catalog.pg_class where oid = $oid"
        .to_owned()
}

fn columns(text: &str) -> String {
    let mut query = "select attname, format_type, default_text as pg_get_expr, attnotnull, \
                     null::text as attcollation, attidentity, attgenerated"
        .to_owned();
    if text.contains("a.attstorage,\n") {
        query.push_str(
            ", case when attlen = -1 then 'x' else 'p' end as attstorage, '' as attcompression, \
             null::integer as attstattarget, null::text as col_description",
        );
    }
    query.push_str(" from pg_catalog.pg_attribute where attrelid = $oid order by attnum");
    query
}

fn indexes() -> String {
    "select index_name as relname, indisprimary, indisunique, false as indisclustered, indisvalid, \
     definition as pg_get_indexdef, null::text as pg_get_constraintdef, 'p' as contype, false as condeferrable, \
     false as condeferred, false as indisreplident, 0 as reltablespace, false as conperiod \
     from pg_catalog.pg_index where indrelid = $oid"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_psql_means() {
        for (regex, pattern) in [
            ("t", Some("t")),
            ("pg_t.*", Some("pg\\_t%")),
            ("a.c", Some("a_c")),
            ("My table", Some("My table")),
            ("a\\$b", Some("a$b")),
            ("a|b", None),
            ("it''s", None),
            ("a\\d", None),
        ] {
            assert_eq!(like(regex).as_deref(), pattern, "{regex}");
        }
    }
}
