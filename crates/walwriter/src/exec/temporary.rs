//! Temporary tables: tables of a schema that one session alone looks into, and that goes with it.
//!
//! They are stored, logged and replicated as all tables are, unlike PostgreSQL's, so that nothing about them is another
//! kind of table; a standby has them until they are dropped, and shows them to nobody.
//!
//! Invariants: no two sessions of a process have one schema; before the first one is given out, the tables that a crash,
//! or the leader before this one, has left behind are dropped.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::task::Waker;

use engine::lock::{LockMode, Locked};
use engine::{Isolation, Transaction, TreeId};
use runtime::sync::Mutex;
use sql::TableDef;
use sql::catalog::full_name;
use tracing::warn;
use wal::Lsn;

use super::context::{Context, SessionInfo, Shared};
use super::session::SqlSession;
use super::{Failure, Result};
use crate::catalog::{serial_key, table_key};

/// The schemas that have been given out. `None`: no session of this process had a temporary table yet.
#[derive(Debug, Default)]
pub(crate) struct Schemas(Mutex<Option<u32>>);

/// What one session has of temporary tables.
#[derive(Debug, Default)]
pub(crate) struct Temporary {
    /// Its schema, from its first temporary table on.
    schema: OnceCell<String>,
    /// Full names of the tables that it has created, which may have been dropped since, or never committed.
    names: RefCell<BTreeSet<String>>,
}

impl Temporary {
    /// The session's schema, if it has one.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.get().map(String::as_str)
    }

    /// Whether a table is one that the session may see.
    pub(crate) fn sees(&self, table: &TableDef) -> bool {
        !table.is_temporary() || self.schema() == Some(&table.schema)
    }
}

/// The schema for a temporary table that is about to be created.
pub(super) fn schema_for<'a>(context: &'a Context<'_>, table: &str) -> Result<&'a str> {
    let temporary = &context.session.temporary;
    let schema = match temporary.schema() {
        Some(schema) => schema,
        None => {
            let number = next_schema(context.shared)?;
            temporary.schema.get_or_init(|| format!("pg_temp_{number}"))
        }
    };
    temporary.names.borrow_mut().insert(full_name(schema, table));
    Ok(schema)
}

fn next_schema(shared: &Shared) -> Result<u32> {
    let mut number = shared.temporary.0.lock();
    if number.is_none() {
        // All that there is was left behind, confirmed or not.
        let mut transaction = shared.engine.begin(Isolation::ReadCommitted, false);
        transaction.see_at_least(shared.engine.applied());
        let tables = shared.catalog.tables(&transaction, false)?;
        let names: Vec<String> = tables.iter().filter(|t| t.is_temporary()).map(|t| t.full_name()).collect();
        drop_tables(shared, transaction, names.iter())?;
    }
    let next = number.map_or(3, |last| last.wrapping_add(1));
    *number = Some(next);
    Ok(next)
}

/// Drops the tables of these full names, as far as they exist, and commits; where that ends.
fn drop_tables<'a>(
    shared: &Shared,
    mut transaction: Transaction,
    names: impl Iterator<Item = &'a String>,
) -> Result<Lsn> {
    let mut dropped = Vec::new();
    for name in names {
        let key = table_key(name);
        let in_use = |name: &str| Failure::new("55006", format!("temporary table \"{name}\" is in use"));
        if transaction.lock_row(TreeId::CATALOG, &key, Waker::noop())? != Locked::Granted {
            return Err(in_use(name.rsplit('\0').next().unwrap_or_default()));
        }
        let Some(definition) = transaction.get_locked(TreeId::CATALOG, &key)? else { continue };
        let table = TableDef::decode(&definition)?;
        let tree = TreeId::new(table.tree);
        if transaction.lock_tree(tree, LockMode::Exclusive, Waker::noop())? != Locked::Granted {
            return Err(in_use(&table.name));
        }
        transaction.drop_tree(tree)?;
        transaction.delete(TreeId::CATALOG, &key)?;
        for column in table.serial_columns() {
            transaction.delete(TreeId::CATALOG, &serial_key(table.oid, column))?;
        }
        shared.catalog.serials.forget(table.oid);
        dropped.push(tree);
    }
    if dropped.is_empty() {
        return Ok(Lsn::INVALID);
    }
    super::ddl::stamp(&mut transaction)?;
    let commit = shared.catalog.change(&dropped, || transaction.commit(), |commit| commit.lsn)?;
    for tree in dropped {
        shared.catalog.row_ids.forget(tree);
    }
    Ok(commit.lsn)
}

/// Drops all temporary tables of a session that has no transaction open; where the commit of that ends.
pub(super) fn drop_all(shared: &Shared, session: &SessionInfo) -> Result<Lsn> {
    let names = std::mem::take(&mut *session.temporary.names.borrow_mut());
    if names.is_empty() {
        return Ok(Lsn::INVALID);
    }
    let transaction = shared.engine.begin(Isolation::ReadCommitted, false);
    drop_tables(shared, transaction, names.iter())
}

impl SqlSession {
    /// DISCARD TEMP.
    pub(super) fn discard_temporary(&mut self) -> Result<()> {
        // The session sees it at once; nobody has to wait for it.
        self.own_commit = self.own_commit.max(drop_all(&self.shared, &self.info)?);
        Ok(())
    }
}

impl Drop for SqlSession {
    fn drop(&mut self) {
        // What is open holds locks on them.
        self.open = None;
        if let Err(failure) = drop_all(&self.shared, &self.info) {
            let error = failure.into_error();
            warn!(
                session = self.info.process_id,
                "temporary tables stay until the next start: {}", error.message
            );
        }
    }
}
