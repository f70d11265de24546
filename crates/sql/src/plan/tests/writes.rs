//! INSERT, UPDATE, DELETE, COPY, CREATE TABLE.

use super::{Catalog, show};
use crate::error::SqlError;
use crate::expr::{EvalContext, NoServer};
use crate::plan::{ConflictAction, InsertPlan, InsertSource, PlanNode, apply_assignments, unique_violation};
use crate::row::RowView;
use crate::types::{Type, Value};

fn insert(catalog: &Catalog, text: &str) -> InsertPlan {
    match catalog.plan(text).unwrap_or_else(|e| panic!("{text}: {e}")).node {
        PlanNode::Insert(insert) => *insert,
        other => panic!("{other:?}"),
    }
}

fn first_row(plan: &InsertPlan, params: &[Value<'_>]) -> Result<(Vec<u8>, Vec<u8>), SqlError> {
    let InsertSource::Values(rows) = &plan.source else { panic!() };
    let (mut key, mut row) = (Vec::new(), Vec::new());
    plan.encode(&rows[0], &EvalContext::new(params, &NoServer), &mut key, &mut row)?;
    Ok((key, row))
}

fn shown(plan: &InsertPlan, row: &[u8]) -> String {
    let view = RowView::new(plan.table.layout(), row).unwrap();
    let columns = plan.table.columns().iter().enumerate();
    columns.map(|(i, c)| show(&view.get(i).unwrap(), c.ty)).collect::<Vec<_>>().join("|")
}

#[test]
fn rows_are_made_of_values_and_defaults() {
    let catalog = Catalog::new();
    let text = "insert into t (e, a, b, d, f, g, h, i, j, k, l, m) values ('ab  ', '7', 2.6, 'abc', 3, 'yes', \
                '2020-01-01 00:00Z', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '[1,2]', '\\x01', -1, '2020-01-01')";
    let plan = insert(&catalog, text);
    let (key, row) = first_row(&plan, &[]).unwrap();
    assert_eq!(key, [0x80, 0, 0, 7]);
    assert_eq!(
        shown(&plan, &row),
        "7|3|x|abc|ab  |3|t|2020-01-01 00:00:00+00|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|[1, 2]|\\x01|-1|2020-01-01 00:00:00"
    );
    let plan = insert(&catalog, "insert into pair values ($1, $2, default)");
    let params = [Value::Int4(1), Value::text("k")];
    assert_eq!(
        first_row(&plan, &params).unwrap_err().message(),
        "null value in column \"z\" of relation \"pair\" violates not-null constraint"
    );
    let plan = insert(&catalog, "insert into pair values ($1, $2, 3)");
    let (key, row) = first_row(&plan, &params).unwrap();
    assert_eq!(key, b"\x80\0\0\x01k\0");
    let error = unique_violation(&plan.table, &row);
    assert_eq!(error.message(), "duplicate key value violates unique constraint \"pair_pkey\"");
    assert_eq!(error.detail(), Some("Key (x, y)=(1, k) already exists."));
    let long = "x".repeat(3000);
    assert_eq!(first_row(&plan, &[Value::Int4(1), Value::text(&long)]).unwrap_err().sqlstate(), "54000");
    assert!(
        matches!(insert(&catalog, "insert into heap default values").source, InsertSource::Values(rows) if rows.len() == 1)
    );
}

#[test]
fn wrong_rows_have_postgresqls_codes() {
    let catalog = Catalog::new();
    for (text, code) in [
        ("insert into t (d, a) values ('abcdef', 1)", "22001"),
        ("insert into t (e, a) values ('abcdef', 1)", "22001"),
        ("insert into t (l, a, h) values (100000, 1, null)", "22003"),
        ("insert into t (a) values (null)", "23502"),
    ] {
        let plan = insert(&catalog, text);
        assert_eq!(first_row(&plan, &[]).unwrap_err().sqlstate(), code, "{text}");
    }
    for (text, code) in [
        ("insert into t (a) values ('x')", "22P02"),
        ("insert into t (a) values (1, 2)", "42601"),
        ("insert into t (a, b) values (1)", "42601"),
        ("insert into t (a, a) values (1, 2)", "42701"),
        ("insert into t (nosuch) values (1)", "42703"),
        ("insert into nosuch values (1)", "42P01"),
        ("insert into t (g, a) values (1, 1)", "42804"),
        ("insert into pg_tables values ('a', 'b')", "42501"),
        ("insert into t (a) values (1) on conflict (b) do nothing", "42P10"),
        ("insert into t (a) values (1) on conflict do update set b = 1", "42601"),
        ("update t set nosuch = 1", "42703"),
        ("update t set a = 1, a = 2", "42601"),
        ("update t set a = 'x'::text", "42804"),
        ("update t set b = 1 from heap", "0A000"),
        ("delete from t where nosuch", "42703"),
        ("delete from t using heap", "0A000"),
        ("copy t (nosuch) from stdin", "42703"),
        ("truncate nosuch", "42P01"),
        ("drop table nosuch", "42P01"),
        ("vacuum nosuch", "42P01"),
    ] {
        assert_eq!(catalog.error(text).sqlstate(), code, "{text}");
    }
}

#[test]
fn conflicts_update_the_existing_row_from_the_proposed_one() {
    let catalog = Catalog::new();
    let text = "insert into pair as p values ($1, $2, $3) on conflict (y, x) do update set z = p.z + excluded.z \
                where p.z < 100 returning z, x as k";
    let plan = insert(&catalog, text);
    let old = first_row(&plan, &[Value::Int4(1), Value::text("a"), Value::Int4(40)]).unwrap().1;
    let params = [Value::Int4(1), Value::text("a"), Value::Int4(2)];
    let proposed = first_row(&plan, &params).unwrap().1;
    let Some(ConflictAction::Update { assignments, filter, changes_key: false }) =
        plan.conflict.as_ref().map(|c| &c.action)
    else {
        panic!()
    };
    let layout = plan.table.layout();
    let (old, proposed) = (RowView::new(layout, &old).unwrap(), RowView::new(layout, &proposed).unwrap());
    let base = EvalContext::new(&params, &NoServer);
    let context = base.with_row(old).with_excluded(proposed);
    assert!(filter.as_ref().unwrap().eval_condition(&context).unwrap());
    let mut new = Vec::new();
    apply_assignments(&plan.table, assignments, &old, &context, &mut new).unwrap();
    assert_eq!(shown(&plan, &new), "1|a|42");
    let types = catalog.plan(text).unwrap();
    assert_eq!(types.params, [Type::Int4, Type::Text, Type::Int4]);
    assert_eq!(types.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["z", "k"]);
}

#[test]
fn copy_names_its_columns() {
    let catalog = Catalog::new();
    let PlanNode::CopyFrom(copy) = catalog.plan("copy t (c, a) from stdin").unwrap().node else { panic!() };
    assert_eq!(copy.columns, [2, 0]);
    let plan = catalog.plan("copy heap to stdout").unwrap();
    assert!(matches!(plan.node, PlanNode::CopyTo(_)) && plan.columns.len() == 2);
    let plan = catalog.plan("copy (select a + 1 as n from t where a < 5) to stdout csv").unwrap();
    assert_eq!(plan.columns[0].name, "n");
}

#[test]
fn tables_are_created_as_described() {
    let catalog = Catalog::new();
    let create = |text: &str| match catalog.plan(text).unwrap().node {
        PlanNode::CreateTable(create) => create,
        other => panic!("{other:?}"),
    };
    let table = create(
        "create table if not exists \"N\" (a int constraint k primary key, B varchar(3) not null default 'x' || 'y')",
    );
    let key = table.primary_key.unwrap();
    assert_eq!((table.name.as_str(), key.name.as_str(), key.columns), ("N", "k", vec![0]));
    assert!(table.columns[0].not_null && table.columns[1].not_null);
    assert_eq!(
        (table.columns[1].name.as_str(), table.columns[1].default.as_deref()),
        ("b", Some("'x' || 'y'"))
    );
    assert!(create("create table if not exists t (a int)").exists);
    let table = create("create temp table n (a bigserial, b smallserial primary key) on commit drop");
    assert!(table.temporary && table.drop_on_commit);
    let types: Vec<_> = table.columns.iter().map(|c| (c.ty, c.not_null, c.serial)).collect();
    assert_eq!(types, [(Type::Int8, true, true), (Type::Int2, true, true)]);
    for (text, code) in [
        ("create table t (a int)", "42P07"),
        ("create table n (a int, a text)", "42701"),
        ("create table n (a int primary key, b int primary key)", "42P16"),
        ("create table n (a int, primary key (nosuch))", "42703"),
        ("create table n (a int default 'x')", "22P02"),
        ("create table n (a int default b)", "42703"),
        ("create table n (a jsonb primary key)", "0A000"),
        ("create table n (a numeric)", "0A000"),
        ("create table n (a serial default 1)", "42601"),
        ("create table n (a nosuch)", "42704"),
        ("create table n (a int references t)", "0A000"),
        ("create table n (a int unique)", "0A000"),
        ("create table n (a int check (a > 0))", "0A000"),
        ("create table n (a int) on commit drop", "42P16"),
        ("create table nosuch.n (a int)", "3F000"),
        ("create table n as select 1", "0A000"),
        ("alter table t add primary key (b)", "42P16"),
        ("alter table heap add primary key (nosuch)", "42703"),
    ] {
        assert_eq!(catalog.error(text).sqlstate(), code, "{text}");
    }
}
