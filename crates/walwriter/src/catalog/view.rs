//! The tables as the planner sees them.

use std::cell::Cell;
use std::sync::Arc;

use sql::catalog::{PG_TEMP, PUBLIC, full_name};
use sql::{CatalogView, SystemRelation, TableDef};

use super::{Changes, Tables};
use crate::exec::find_table;

/// The tables of a snapshot with a transaction's own changes over them, and the server's views.
pub(crate) struct PlannerView<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) changes: &'a Changes,
    /// The schema of the session's temporary tables, if it ever had one.
    pub(crate) temporary: Option<&'a str>,
    /// Whether the plan, or the error in its place, shows anything that transactions have made: a table that is there or
    /// not, or a view of the tables.
    pub(crate) shows_tables: Cell<bool>,
}

impl CatalogView for PlannerView<'_> {
    fn table(&self, schema: Option<&str>, name: &str) -> Option<Arc<TableDef>> {
        let temporary = match schema {
            None | Some(PG_TEMP) => self.temporary,
            Some(schema) => self.temporary.filter(|own| *own == schema),
        };
        let find = |name: &str| find_table(name, self.tables, self.changes).cloned();
        let own = temporary.and_then(|schema| find(&full_name(schema, name)));
        let found = match schema {
            None | Some(PUBLIC) => own.or_else(|| find(name)),
            Some(_) => own,
        };
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
