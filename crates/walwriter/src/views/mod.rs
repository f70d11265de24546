//! Relations that the server makes up when they are read: PostgreSQL's catalogs and statistics views, as far as clients
//! ask for them.
//!
//! There are no joins, so the queries that tools are known to send are replaced, as whole texts, by queries over these
//! relations ([`probes`]).

mod activity;
mod catalogs;
mod describe;
mod information_schema;
pub(crate) mod probes;
mod replication;
mod row;
mod settings;
mod tables;

use std::sync::{Arc, LazyLock};

use sql::{SystemRelation, TableDef, Type, Value};

use crate::catalog::Changes;
use crate::exec::{Context, Failure, Result};

/// The role that owns everything.
pub(crate) const OWNER: &str = "postgres";
/// Its OID.
const OWNER_OID: u32 = 10;
/// OID of `pg_catalog`.
const PG_CATALOG_OID: u32 = 11;
/// OID of `public`.
const PUBLIC_OID: u32 = 2200;
/// An index has its table's OID with this bit.
const INDEX_BIT: u32 = 1 << 31;

type Row = Vec<Value<'static>>;

/// What the rows are made of.
pub(crate) struct Sources<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) changes: &'a Changes,
}

/// A relation and how its rows are made.
struct View {
    schema: &'static str,
    name: &'static str,
    columns: &'static [(&'static str, Type)],
    rows: fn(&Sources<'_>) -> Result<Vec<Row>>,
}

/// A relation of `pg_catalog`.
const fn view(
    name: &'static str,
    columns: &'static [(&'static str, Type)],
    rows: fn(&Sources<'_>) -> Result<Vec<Row>>,
) -> View {
    View { schema: "pg_catalog", name, columns, rows }
}

static VIEWS: &[&[View]] = &[
    tables::VIEWS,
    catalogs::VIEWS,
    information_schema::VIEWS,
    replication::VIEWS,
    activity::VIEWS,
    settings::VIEWS,
];

static RELATIONS: LazyLock<Vec<(Arc<SystemRelation>, &View)>> = LazyLock::new(|| {
    let relation = |view: &View| SystemRelation {
        schema: view.schema.to_owned(),
        name: view.name.to_owned(),
        columns: view.columns.iter().map(|(name, ty)| ((*name).to_owned(), *ty)).collect(),
    };
    VIEWS.iter().copied().flatten().map(|view| (Arc::new(relation(view)), view)).collect()
});

/// The relation of this name; without a schema it is looked for in `pg_catalog`.
pub(crate) fn find(schema: Option<&str>, name: &str) -> Option<Arc<SystemRelation>> {
    let schema = schema.unwrap_or("pg_catalog");
    let found = RELATIONS.iter().find(|(_, view)| view.schema == schema && view.name == name);
    found.map(|(relation, _)| Arc::clone(relation))
}

/// Whether its rows come from the tables' definitions, and not from the server itself.
pub(crate) fn shows_tables(relation: &SystemRelation) -> bool {
    let of_tables = [tables::VIEWS, catalogs::VIEWS, information_schema::VIEWS];
    of_tables.into_iter().flatten().any(|view| view.schema == relation.schema && view.name == relation.name)
}

/// Its rows at this moment.
pub(crate) fn rows(relation: &SystemRelation, sources: &Sources<'_>) -> Result<Vec<Row>> {
    let found =
        RELATIONS.iter().find(|(_, view)| view.schema == relation.schema && view.name == relation.name);
    match found {
        Some((_, view)) => (view.rows)(sources),
        None => Err(Failure::new("XX000", format!("relation \"{}\" has no rows", relation.name))),
    }
}

impl Sources<'_> {
    /// The tables as the transaction sees them, by name.
    fn tables(&self) -> Vec<Arc<TableDef>> {
        let all = self.context.tables.iter().filter(|table| self.context.session.temporary.sees(table));
        let unchanged = all.filter(|table| self.changes.get(&table.full_name()).is_none());
        let changed = self.changes.iter().filter_map(|(_, table)| table);
        let mut tables: Vec<Arc<TableDef>> = unchanged.chain(changed).cloned().collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }
}

/// A name as SQL needs it to be written.
fn quote(name: &str) -> String {
    let plain = name.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
