//! What the planner knows about tables, and how a definition is stored.

mod stored;
mod table;

use std::sync::Arc;

pub use table::{ColumnDef, PrimaryKey, TableDef};

use crate::types::Type;

/// The schema of every table that is not temporary.
pub const PUBLIC: &str = "public";
/// The name by which every session calls the schema of its own temporary tables.
pub const PG_TEMP: &str = "pg_temp";

/// A table's name among those of all schemas. No identifier contains NUL, so no two tables share one.
pub fn full_name(schema: &str, name: &str) -> String {
    if schema == PUBLIC { name.to_owned() } else { format!("{schema}\0{name}") }
}

/// A relation whose rows the server makes up when it is read (`pg_tables`, `pg_stat_replication`).
#[derive(Clone, Debug)]
pub struct SystemRelation {
    /// `pg_catalog` or `information_schema`
    pub schema: String,
    /// Its name
    pub name: String,
    /// Names and types of its columns
    pub columns: Vec<(String, Type)>,
}

/// The tables a statement can see. Names come folded and without quotes; no schema means the search path.
pub trait CatalogView {
    /// A user table. `schema` is `None` or what the statement wrote in front of the name; without one, and with
    /// [`PG_TEMP`], the session's temporary tables are looked through.
    fn table(&self, schema: Option<&str>, name: &str) -> Option<Arc<TableDef>>;

    /// A relation that the server makes up.
    fn system_relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<SystemRelation>>;
}
