//! Access paths, order, groups, names.

use super::{Catalog, show};
use crate::expr::{EvalContext, NoServer};
use crate::key;
use crate::plan::{Access, Aggregation, KeyBounds, LockWait, Source};
use crate::types::{Type, Value};
use std::ops::Bound;

fn access(catalog: &Catalog, text: &str) -> (Access, bool, bool) {
    let (select, _) = catalog.select(text);
    match select.source {
        Source::Table { access, .. } => (access, select.filter.is_some(), !select.order_by.is_empty()),
        other => panic!("{other:?}"),
    }
}

fn bounds(catalog: &Catalog, text: &str) -> Option<KeyBounds> {
    let (select, _) = catalog.select(text);
    let Source::Table { access, table } = select.source else { panic!() };
    access.bounds(&table, &EvalContext::new(&[], &NoServer)).unwrap()
}

#[test]
fn keys_are_found_in_conditions() {
    let catalog = Catalog::new();
    for (condition, points, filter) in [
        ("a = 1", Some(1), false),
        ("1 = a and b = 2", Some(1), true),
        ("a = 1::bigint", Some(1), false),
        ("a in (3, 1, 3)", Some(2), false),
        ("a = 10000000000", Some(0), false),
        ("a = null", Some(0), false),
        ("a = b", None, true),
        ("a = 1.5", None, true),
        ("a + 1 = 2", None, true),
        ("a = 1 or a = 2", None, true),
        ("a <> 1", None, true),
    ] {
        let (select, _) = catalog.select(&format!("select * from t where {condition}"));
        let Source::Table { table, access } = &select.source else { panic!() };
        let keys = match access {
            Access::Range { .. } => None,
            _ => Some(access.keys(table, &EvalContext::new(&[], &NoServer)).unwrap().len()),
        };
        assert_eq!((keys, select.filter.is_some()), (points, filter), "{condition}");
    }
    let (composite, filter, _) = access(&catalog, "select 1 from pair where y = 'b' and x = 1");
    assert!(matches!(composite, Access::Point(values) if values.len() == 2) && !filter);
    let (heap, filter, _) = access(&catalog, "select 1 from heap where a = 1");
    assert!(matches!(heap, Access::Range { .. }) && filter);
}

#[test]
fn ranges_have_the_bounds_of_their_conditions() {
    let catalog = Catalog::new();
    let int = |v: i32| {
        let mut out = Vec::new();
        key::encode(&Value::Int4(v), Type::Int4, &mut out).unwrap();
        out
    };
    let range = |lower, upper| Some(KeyBounds { lower, upper });
    let bounds = |condition: &str| bounds(&catalog, &format!("select * from t where {condition}"));
    assert_eq!(bounds("a >= 1 and a < 5"), range(Bound::Included(int(1)), Bound::Excluded(int(5))));
    assert_eq!(bounds("a > 1 and a <= 5"), range(Bound::Included(int(2)), Bound::Excluded(int(6))));
    assert_eq!(bounds("a between 1 and 5"), range(Bound::Included(int(1)), Bound::Excluded(int(6))));
    assert_eq!(bounds("5 > a"), range(Bound::Unbounded, Bound::Excluded(int(5))));
    assert_eq!(bounds("a > 5 and a < 3"), None);
    assert_eq!(bounds("a > 10000000000"), None);
    assert_eq!(bounds("a > -10000000000"), range(Bound::Unbounded, Bound::Unbounded));
    assert_eq!(bounds("a < null"), None);
    assert_eq!(bounds("b < 5"), range(Bound::Unbounded, Bound::Unbounded));
    let pair = |text: &str| super::queries::bounds(&catalog, text);
    let mut with_text = int(1);
    with_text.extend_from_slice(b"b\0");
    assert_eq!(
        pair("select * from pair where x = 1 and y >= 'b'"),
        range(Bound::Included(with_text), Bound::Excluded(int(2)))
    );
    assert_eq!(
        pair("select * from pair where x = 1"),
        range(Bound::Included(int(1)), Bound::Excluded(int(2)))
    );
}

#[test]
fn the_order_of_the_key_needs_no_sort() {
    let catalog = Catalog::new();
    for (clause, sorted, reversed) in [
        ("from t order by a", false, false),
        ("from t order by a desc", false, true),
        ("from t order by a desc, b", false, true),
        ("from t order by b", true, false),
        ("from pair order by x, y", false, false),
        ("from pair order by x desc, y desc", false, true),
        ("from pair order by x, y desc", true, false),
        ("from pair order by y", true, false),
        ("from pair where x = 1 order by y desc", false, true),
        ("from pair where x = 1 order by x, y", false, false),
        ("from pair where x > 1 order by x desc", false, true),
        ("from t where a = 1 order by b", false, false),
        ("from t where a in (1, 2) order by a", true, false),
        ("from heap order by a", true, false),
    ] {
        let (access, _, sort) = access(&catalog, &format!("select 1 {clause}"));
        let reverse = matches!(access, Access::Range { reverse: true, .. });
        assert_eq!((sort, reverse), (sorted, reversed), "{clause}");
    }
}

#[test]
fn columns_have_the_names_postgresql_gives_them() {
    let catalog = Catalog::new();
    let text = "select a, t.b, A as \"X\", 1, 1::int8, 'x'::text, c::varchar, count(*), lower(c), true, \
                case when true then 1 end, coalesce(a, 1), current_timestamp, a + 1, now(), substring(c from 1), \
                extract(epoch from h), -1 from t group by a, b, c, h";
    let (_, plan) = catalog.select(text);
    let names: Vec<_> = plan.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "a",
            "b",
            "X",
            "?column?",
            "int8",
            "text",
            "c",
            "count",
            "lower",
            "bool",
            "case",
            "coalesce",
            "current_timestamp",
            "?column?",
            "now",
            "substring",
            "extract",
            "?column?"
        ]
    );
    let (_, all) = catalog.select("select t.*, * from t");
    assert_eq!(all.columns.len(), 26);
}

#[test]
fn groups_become_rows_of_keys_and_results() {
    let catalog = Catalog::new();
    let text = "select l + 1, count(*), sum(a) * 2, avg(a), min(c), count(distinct c), max(b), sum(b), \
                count(*) filter (where a > 1) from t group by l + 1 having count(*) > 1 order by 2 desc";
    let (select, plan) = catalog.select(text);
    let grouping = select.grouping.unwrap();
    let mut aggregation = Aggregation::new(&grouping);
    let rows = [(1, 10, "x", 5), (2, 10, "y", 6), (4, 10, "x", 7), (9, 20, "z", 8)];
    for (a, l, c, b) in rows {
        let mut row = vec![Value::Null; 13];
        (row[0], row[1], row[2], row[11]) = (Value::Int4(a), Value::Int8(b), Value::text(c), Value::Int2(l));
        aggregation.add(&grouping, &EvalContext::new(&[], &NoServer).with_values(&row)).unwrap();
    }
    let rows = aggregation.finish(&grouping).unwrap();
    let mut shown = Vec::new();
    for row in &rows {
        let base = EvalContext::new(&[], &NoServer);
        let context = base.with_values(row);
        if grouping.having.as_ref().is_none_or(|having| having.eval_condition(&context).unwrap()) {
            let values = select.projection.iter().zip(&plan.columns);
            shown.push(
                values.map(|(e, c)| show(&e.eval(&context).unwrap(), c.ty)).collect::<Vec<_>>().join("|"),
            );
        }
    }
    assert_eq!(shown, ["11|3|14|2.3333333333333333|x|2|7|18|2"]);
    assert_eq!(plan.columns[7].ty, Type::Numeric);
}

#[test]
fn aggregates_without_rows_give_one_row_and_groups_none() {
    let catalog = Catalog::new();
    for (text, expected) in
        [("select count(*), sum(a), max(c) from t", vec!["0|-|-"]), ("select a from t group by a", vec![])]
    {
        let (select, plan) = catalog.select(text);
        let grouping = select.grouping.unwrap();
        let rows = Aggregation::new(&grouping).finish(&grouping).unwrap();
        let shown: Vec<String> = rows
            .iter()
            .map(|row| {
                row.iter().zip(&plan.columns).map(|(v, c)| show(v, c.ty)).collect::<Vec<_>>().join("|")
            })
            .collect();
        assert_eq!(shown, expected);
    }
}

#[test]
fn wrong_queries_have_postgresqls_codes_and_positions() {
    let catalog = Catalog::new();
    for (text, code, position) in [
        ("select * from nosuch", "42P01", Some(15)),
        ("select nosuch from t", "42703", Some(8)),
        ("select  t.nosuch from t", "42703", Some(11)),
        ("select u.a from t", "42P01", Some(8)),
        ("select a from t where b", "42804", Some(23)),
        ("select a, count(*) from t", "42803", None),
        ("select a from t where count(*) > 1", "42803", Some(23)),
        ("select a from t order by 2", "42P10", Some(26)),
        ("select distinct a from t order by b", "42P10", None),
        ("select sum(c) from t", "42883", Some(8)),
        ("select sum(count(*)) from t", "42803", Some(12)),
        ("select a from t limit 'x'", "22P02", None),
        ("select * from t, heap", "0A000", None),
        ("select * from t join heap on true", "0A000", None),
        ("select 1 union select 2", "0A000", None),
        ("with x as (select 1) select * from x", "0A000", None),
        ("select *", "42601", None),
        ("select 1; select nosuch", "42703", Some(18)),
    ] {
        let statements = crate::parse::parse(text).unwrap();
        let error = crate::plan::plan(statements.last().unwrap(), &catalog, &[]).unwrap_err();
        assert_eq!((error.sqlstate(), error.position()), (code, position), "{text}: {error}");
    }
}

#[test]
fn other_sources_and_clauses_are_understood() {
    let catalog = Catalog::new();
    assert!(matches!(
        catalog.select("select tablename from pg_catalog.pg_tables").0.source,
        Source::System(_)
    ));
    assert!(
        matches!(catalog.select("values (1, 'a'), (2.5, null)").0.source, Source::Values(rows) if rows.len() == 2)
    );
    assert!(matches!(catalog.select("select x from (values (1), (2)) as v(x)").0.source, Source::Values(_)));
    assert!(matches!(
        catalog.select("select g from generate_series(1, 10, 2) g").0.source,
        Source::Series { .. }
    ));
    let (select, plan) =
        catalog.select("select a from t order by b limit $1 offset 5 for update skip locked");
    assert_eq!(plan.params, [Type::Int8]);
    assert_eq!(select.lock.map(|l| (l.exclusive, l.wait)), Some((true, LockWait::Skip)));
    assert!(select.limit.is_some() && select.offset.is_some());
    assert_eq!(
        catalog.plan("select $1, $2::int, $3 + a from t where c = $4 and d like $5").unwrap().params,
        [Type::Text, Type::Int4, Type::Int4, Type::Text, Type::Text]
    );
}

#[test]
fn parameters_are_counted_to_the_most_that_a_message_can_have() {
    let catalog = Catalog::new();
    assert_eq!(catalog.plan("select a from t where a = $65535").unwrap().params.len(), 65_535);
    for none in ["$0", "$65536", "$99999999999"] {
        let error = catalog.plan(&format!("select {none}::int")).unwrap_err();
        assert_eq!(error.sqlstate(), "42P02");
    }
}
