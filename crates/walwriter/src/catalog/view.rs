//! The tables as the planner sees them.

use std::cell::Cell;
use std::sync::Arc;

use sql::catalog::PUBLIC;
use sql::{CatalogView, SystemRelation, TableDef};

use super::{Changes, Tables};
use crate::exec::find_table;

/// The tables of a snapshot with a transaction's own changes over them, and the server's views.
pub(crate) struct PlannerView<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) changes: &'a Changes,
    /// Whether the plan, or the error in its place, shows anything that transactions have made: a table that is there or
    /// not, or a view of the tables.
    pub(crate) shows_tables: Cell<bool>,
}

impl CatalogView for PlannerView<'_> {
    fn table(&self, schema: Option<&str>, name: &str) -> Option<Arc<TableDef>> {
        if schema.is_some_and(|schema| schema != PUBLIC) {
            return None;
        }
        let found = find_table(name, self.tables, self.changes).cloned();
        // Tables are asked for before views.
        if found.is_some() || crate::views::find(schema, name).is_none() {
            self.shows_tables.set(true);
        }
        found
    }

    fn system_relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<SystemRelation>> {
        let found = crate::views::find(schema, name)?;
        self.shows_tables.set(self.shows_tables.get() || crate::views::shows_tables(&found));
        Some(found)
    }
}
