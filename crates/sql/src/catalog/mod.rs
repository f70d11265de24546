//! What the planner knows about tables, and how a definition is stored.

mod stored;
mod table;

use std::sync::Arc;

pub use table::{ColumnDef, PrimaryKey, TableDef};

use crate::types::Type;

/// The schema of every user table.
pub const PUBLIC: &str = "public";

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
    /// A user table. `schema` is `None` or what the statement wrote in front of the name.
    fn table(&self, schema: Option<&str>, name: &str) -> Option<Arc<TableDef>>;

    /// A relation that the server makes up.
    fn system_relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<SystemRelation>>;
}
