//! Everything that pgbench sends.

use super::Catalog;
use crate::expr::{EvalContext, Expr, NoServer};
use crate::parse::Utility;
use crate::plan::{Access, InsertSource, PlanNode, Source};
use crate::row::{RowView, RowWriter};
use crate::types::{Type, Value};

#[test]
fn initialisation_is_understood() {
    let catalog = Catalog::new();
    for text in [
        "drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers",
        "create table pgbench_tellers(tid int not null,bid int,tbalance int,filler char(84)) with (fillfactor=100)",
        "create table pgbench_branches(bid int not null,bbalance int,filler char(88)) with (fillfactor=100)",
        "begin",
        "truncate table pgbench_accounts, pgbench_history",
        "copy pgbench_accounts from stdin with (freeze on)",
        "commit",
        "vacuum analyze pgbench_accounts",
        "vacuum pgbench_accounts",
        "truncate pgbench_history",
        "select count(*) from pgbench_accounts",
        "set default_tablespace to 'x'",
    ] {
        catalog.plan(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
    let error = catalog.error("alter table pgbench_accounts add constraint pgbench_accounts_bid_fkey foreign key (bid) references pgbench_branches");
    assert_eq!(error.sqlstate(), "0A000");
}

#[test]
fn rows_generated_by_the_server_come_from_a_series() {
    let catalog = Catalog::new();
    let text = "insert into pgbench_accounts(aid,bid,abalance,filler) \
                select aid, (aid - 1) / 100000 + 1, 0, '' from generate_series(1, 100000) as aid";
    let PlanNode::Insert(insert) = catalog.plan(text).unwrap().node else { panic!() };
    let InsertSource::Select(select, row) = &insert.source else { panic!() };
    assert!(matches!(select.source, Source::Series { int4: true, .. }));
    assert_eq!(row[0], Expr::Column(0));
    assert_eq!(row[3], Expr::Const(Value::text("")));
    let wide = text.replace("100000)", "10000000000)");
    assert!(matches!(catalog.plan(&wide).unwrap().node, PlanNode::Insert(_)));
}

#[test]
fn the_scripts_find_their_row_by_key() {
    let catalog = Catalog::new();
    let plan = catalog.plan("UPDATE pgbench_accounts SET abalance = abalance + -42 WHERE aid = 7;").unwrap();
    let PlanNode::Update(update) = plan.node else { panic!() };
    assert!(matches!(update.access, Access::Point(_)) && update.filter.is_none() && !update.changes_key);
    let layout = update.table.layout();
    let mut old = Vec::new();
    let mut writer = RowWriter::new(layout, &mut old);
    for value in [Value::Int4(7), Value::Int4(1), Value::Int4(100), Value::text("")] {
        writer.push(&value).unwrap();
    }
    writer.finish().unwrap();
    let view = RowView::new(layout, &old).unwrap();
    let context = EvalContext::new(&[], &NoServer).with_row(view);
    let (mut key, mut new) = (Vec::new(), Vec::new());
    assert!(update.access.encode_point(&update.table, &context, &mut key).unwrap());
    assert_eq!(key, [0x80, 0, 0, 7]);
    update.encode(&view, &context, &mut new).unwrap();
    assert_eq!(RowView::new(layout, &new).unwrap().get(2).unwrap(), Value::Int4(58));

    let (select, plan) = catalog.select("SELECT abalance FROM pgbench_accounts WHERE aid = 7");
    assert!(
        matches!(select.source, Source::Table { access: Access::Point(_), .. }) && select.filter.is_none()
    );
    assert_eq!((plan.columns[0].name.as_str(), plan.columns[0].ty), ("abalance", Type::Int4));
    assert_eq!((plan.columns[0].table, plan.columns[0].attribute), (16387, 3));
}

#[test]
fn parameters_of_the_scripts_take_the_types_of_their_columns() {
    let catalog = Catalog::new();
    let plan = catalog.plan("UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2").unwrap();
    assert_eq!(plan.params, [Type::Int4, Type::Int4]);
    let text = "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)";
    let plan = catalog.plan(text).unwrap();
    assert_eq!(plan.params, [Type::Int4; 4]);
    let PlanNode::Insert(insert) = plan.node else { panic!() };
    let InsertSource::Values(rows) = &insert.source else { panic!() };
    assert_eq!(rows[0].len(), 6);
    assert_eq!(rows[0][5], Expr::Const(Value::Null));
    assert!(matches!(
        catalog.plan("END;").unwrap().node,
        PlanNode::Utility(Utility::Commit { chain: false })
    ));
}

#[test]
fn simple_protocol_texts_share_a_plan() {
    let catalog = Catalog::new();
    let mut normalized = crate::parse::Normalized::default();
    let mut texts = Vec::new();
    for aid in [7, 123_456] {
        let original = format!("UPDATE pgbench_accounts SET abalance = abalance + -42 WHERE aid = {aid};");
        assert!(crate::parse::normalize(&original, &mut normalized));
        let statement = &crate::parse::parse(&normalized.text).unwrap()[0];
        let plan = crate::plan::plan(statement, &catalog, &normalized.types).unwrap();
        let mut values = Vec::new();
        normalized.values(&original, &plan.params, &mut values).unwrap();
        assert_eq!(values, [Value::Int4(-42), Value::Int4(aid)]);
        let PlanNode::Update(update) = plan.node else { panic!() };
        assert!(matches!(update.access, Access::Point(_)) && update.filter.is_none());
        texts.push(normalized.text.clone());
    }
    assert_eq!(texts[0], texts[1]);
}
