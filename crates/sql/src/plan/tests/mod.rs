//! Statements planned over a small catalog, and what their expressions give.

mod expressions;
mod nesting;
mod never_panics;
mod pgbench;
mod queries;
mod writes;

use std::sync::Arc;

use crate::catalog::{CatalogView, SystemRelation, TableDef};
use crate::error::SqlError;
use crate::expr::{EvalContext, NoServer};
use crate::parse::parse;
use crate::plan::{Plan, PlanNode, SelectPlan, plan};
use crate::types::{Type, Value, text};

/// Tables made by CREATE TABLE statements, and `pg_tables`.
#[derive(Default)]
pub(super) struct Catalog {
    tables: Vec<Arc<TableDef>>,
}

impl CatalogView for Catalog {
    fn table(&self, schema: Option<&str>, name: &str) -> Option<Arc<TableDef>> {
        let visible = schema.is_none_or(|s| s == "public");
        self.tables.iter().find(|t| visible && t.name == name).cloned()
    }

    fn system_relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<SystemRelation>> {
        (schema.is_none_or(|s| s == "pg_catalog") && name == "pg_tables").then(|| {
            let columns = ["schemaname", "tablename"].map(|c| (c.to_owned(), Type::Name)).to_vec();
            Arc::new(SystemRelation { schema: "pg_catalog".to_owned(), name: name.to_owned(), columns })
        })
    }
}

impl Catalog {
    pub(super) fn new() -> Self {
        let mut catalog = Self::default();
        for text in [
            "create table t (a int primary key, b bigint, c text default 'x', d varchar(5), e char(4), f float8, \
             g boolean, h timestamptz default now(), i uuid, j jsonb, k bytea, l smallint, m timestamp)",
            "create table pair (x int, y text, z int not null, primary key (x, y))",
            "create table heap (a int, b text)",
            "create table pgbench_accounts(aid int not null,bid int,abalance int,filler char(84)) with (fillfactor=100)",
            "create table pgbench_history(tid int,bid int,aid    int,delta int,mtime timestamp,filler char(22))",
        ] {
            catalog.create(text);
        }
        let accounts = catalog.tables.iter().position(|t| t.name == "pgbench_accounts").unwrap();
        let PlanNode::AddPrimaryKey { table, name, columns } =
            catalog.plan("alter table pgbench_accounts add primary key (aid)").unwrap().node
        else {
            panic!()
        };
        let key = crate::catalog::PrimaryKey { name, columns };
        let with_key =
            TableDef::new(table.oid, &*table.name, table.columns().to_vec(), Some(key), table.tree);
        catalog.tables[accounts] = Arc::new(with_key.unwrap());
        catalog
    }

    pub(super) fn create(&mut self, text: &str) {
        let PlanNode::CreateTable(create) = self.plan(text).unwrap().node else { panic!("{text}") };
        let oid = 16384 + self.tables.len() as u32;
        let table = TableDef::new(oid, create.name, create.columns, create.primary_key, oid + 1000).unwrap();
        self.tables.push(Arc::new(table));
    }

    pub(super) fn plan(&self, text: &str) -> Result<Plan, SqlError> {
        plan(&parse(text)?[0], self, &[])
    }

    pub(super) fn select(&self, text: &str) -> (SelectPlan, Plan) {
        let plan = self.plan(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        match &plan.node {
            PlanNode::Select(select) => ((**select).clone(), plan),
            other => panic!("{text}: {other:?}"),
        }
    }

    pub(super) fn error(&self, text: &str) -> SqlError {
        match self.plan(text) {
            Ok(plan) => panic!("{text}: {plan:?}"),
            Err(error) => error,
        }
    }

    /// The values of a SELECT without FROM, as text; NULL is `-`.
    pub(super) fn values(&self, text: &str) -> Result<Vec<String>, SqlError> {
        let plan = self.plan(text)?;
        let PlanNode::Select(select) = &plan.node else { panic!("{text}") };
        let context = EvalContext::new(&[], &NoServer);
        select
            .projection
            .iter()
            .zip(&plan.columns)
            .map(|(e, c)| e.eval(&context).map(|v| show(&v, c.ty)))
            .collect()
    }
}

pub(super) fn show(value: &Value<'_>, ty: Type) -> String {
    if value.is_null() {
        return "-".to_owned();
    }
    let mut out = Vec::new();
    text::write(value, ty, &mut out);
    String::from_utf8(out).unwrap()
}
