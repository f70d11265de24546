//! What a transaction has changed of the tables, and nobody else sees yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::TreeId;
use sql::TableDef;

/// The changes of one transaction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    /// By full name: the new definition, or `None` if the table is gone.
    tables: BTreeMap<String, Option<Arc<TableDef>>>,
    /// Full names of tables that go when the transaction commits (ON COMMIT DROP).
    pub(crate) drop_on_commit: Vec<String>,
    /// Trees that exist for others and are dropped.
    pub(crate) dropped: Vec<TreeId>,
    /// Trees that this transaction has made, which nobody else can write to.
    pub(crate) created: Vec<TreeId>,
    /// Those of them that nothing was ever written to.
    pub(crate) untouched: Vec<TreeId>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// What was done to a table; `None`: nothing.
    pub(crate) fn get(&self, name: &str) -> Option<Option<&Arc<TableDef>>> {
        self.tables.get(name).map(Option::as_ref)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Option<&Arc<TableDef>>)> {
        self.tables.iter().map(|(name, table)| (name.as_str(), table.as_ref()))
    }

    pub(crate) fn set(&mut self, name: &str, table: Option<Arc<TableDef>>) {
        self.tables.insert(name.to_owned(), table);
    }
}
