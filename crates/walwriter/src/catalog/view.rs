//! The tables as the planner sees them.

use std::sync::Arc;

use sql::catalog::PUBLIC;
use sql::{CatalogView, SystemRelation, TableDef};

use super::{Changes, Tables};
use crate::exec::find_table;

/// The tables of a snapshot with a transaction's own changes over them, and the server's views.
pub(crate) struct PlannerView<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) changes: &'a Changes,
}

impl CatalogView for PlannerView<'_> {
    fn table(&self, schema: Option<&str>, name: &str) -> Option<Arc<TableDef>> {
        if schema.is_some_and(|schema| schema != PUBLIC) {
            return None;
        }
        find_table(name, self.tables, self.changes).cloned()
    }

    fn system_relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<SystemRelation>> {
        crate::views::find(schema, name)
    }
}
