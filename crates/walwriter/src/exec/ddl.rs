//! Executing CREATE TABLE, DROP TABLE, TRUNCATE and ALTER TABLE.
//!
//! A definition is locked by its name's row in the catalog tree, and read there as it is by then; a tree that is to be
//! dropped is locked exclusively, so that nobody is writing to it. Nothing is written before all locks are there: a
//! statement that has to wait begins anew.

use std::sync::Arc;

use engine::lock::{LockMode, Locked};
use engine::{EngineError, Transaction, TreeId};
use replication::error::ServerError;
use sql::catalog::{PUBLIC, full_name};
use sql::plan::CreateTablePlan;
use sql::{PlanNode, SqlError, TableDef};

use super::env::{Env, Progress};
use super::rebuild::Rebuild;
use super::slice::Slice;
use super::{Failure, Result};
use crate::catalog::Changes;
use crate::catalog::{STAMP_KEY, serial_key, table_key};
use crate::protocol::backend;

/// A statement about tables, under way.
#[derive(Debug, Default)]
pub(super) enum DdlRun {
    /// Nothing is done yet.
    #[default]
    Start,
    /// A table is being written anew.
    Rebuild(Box<Rebuild>),
}

/// The command's name.
pub(super) fn tag(node: &PlanNode) -> &'static str {
    match node {
        PlanNode::CreateTable(_) => "CREATE TABLE",
        PlanNode::DropTables { .. } => "DROP TABLE",
        PlanNode::Truncate(_) => "TRUNCATE TABLE",
        _ => "ALTER TABLE",
    }
}

pub(super) fn advance(
    run: &mut DdlRun,
    node: &PlanNode,
    env: &mut Env<'_>,
    out: &mut Vec<u8>,
    slice: &mut Slice,
) -> Result<Progress> {
    match (run, node) {
        (_, PlanNode::CreateTable(plan)) => create(plan, env, out),
        (_, PlanNode::DropTables { tables, missing }) => {
            for name in missing {
                notice(env, "00000", &format!("table \"{name}\" does not exist, skipping"), out);
            }
            drop_tables(tables, env)
        }
        (_, PlanNode::Truncate(tables)) => truncate(tables, env),
        (DdlRun::Rebuild(rebuild), PlanNode::AddPrimaryKey { .. }) => rebuild.advance(env, slice),
        (run @ DdlRun::Start, PlanNode::AddPrimaryKey { table, name, columns }) => {
            let Some(table) = lock_definition(env, table)? else { return Ok(Progress::Blocked) };
            if !lock_tree(env, &table)? {
                return Ok(Progress::Blocked);
            }
            see_everything(env)?;
            let mut rebuild = Box::new(Rebuild::open(table, name, columns, env)?);
            let progress = rebuild.advance(env, slice)?;
            *run = DdlRun::Rebuild(rebuild);
            Ok(progress)
        }
        _ => Err(Failure::new("XX000", "plan changed under its execution")),
    }
}

/// A notice for the client, if it wants to hear notices.
pub(super) fn notice(env: &Env<'_>, sqlstate: &str, text: &str, out: &mut Vec<u8>) {
    let settings = env.context.session.settings.borrow();
    if !matches!(settings.overridden("client_min_messages"), Some("warning" | "error")) {
        let code = super::failure::code(sqlstate);
        backend::notice(out, &ServerError::with_severity("NOTICE", code, text));
    }
}

fn create(plan: &CreateTablePlan, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Progress> {
    let name = &plan.name;
    if plan.exists {
        notice(env, "42P07", &format!("relation \"{name}\" already exists, skipping"), out);
        return Ok(Progress::Done);
    }
    let context = env.context;
    let schema = if plan.temporary { super::temporary::schema_for(context, name)? } else { PUBLIC };
    let full_name = full_name(schema, name);
    if !env.lock_row(TreeId::CATALOG, &table_key(&full_name))? {
        return Ok(Progress::Blocked);
    }
    if latest_definition(env, &full_name)?.is_some() {
        return Err(Failure::new("42P07", format!("relation \"{name}\" already exists")));
    }
    let tree = env.transaction.create_tree()?;
    let oid = tree.as_u32();
    let table = TableDef::new(oid, name.as_str(), plan.columns.clone(), plan.primary_key.clone(), oid)?;
    let table = table.in_schema(schema);
    if plan.drop_on_commit {
        env.changes.drop_on_commit.push(full_name);
    }
    env.context.shared.catalog.serials.begin(oid, table.serial_columns());
    env.changes.created.push(tree);
    env.changes.untouched.push(tree);
    env.context.shared.catalog.row_ids.begin(tree, 1);
    put(env, table)?;
    Ok(Progress::Done)
}

fn drop_tables(tables: &[Arc<TableDef>], env: &mut Env<'_>) -> Result<Progress> {
    let Some(tables) = lock_all(tables, env)? else { return Ok(Progress::Blocked) };
    for table in tables {
        drop_tree(env, TreeId::new(table.tree))?;
        forget_definition(env.transaction, &table)?;
        env.changes.set(&table.full_name(), None);
    }
    Ok(Progress::Done)
}

fn truncate(tables: &[Arc<TableDef>], env: &mut Env<'_>) -> Result<Progress> {
    let Some(tables) = lock_all(tables, env)? else { return Ok(Progress::Blocked) };
    for table in tables {
        let tree = replace_tree(env, table)?;
        env.changes.untouched.push(tree);
    }
    Ok(Progress::Done)
}

/// Gives a table that is locked against all others an empty tree in place of its own.
fn replace_tree(env: &mut Env<'_>, mut table: TableDef) -> Result<TreeId> {
    drop_tree(env, TreeId::new(table.tree))?;
    let tree = env.transaction.create_tree()?;
    env.changes.created.push(tree);
    env.context.shared.catalog.row_ids.begin(tree, 1);
    table.tree = tree.as_u32();
    put(env, table)?;
    Ok(tree)
}

/// Gives a table to which this transaction may write a tree that nobody else can reach yet, to be loaded, if it is empty
/// and nobody else is writing to it. From then on others who want to write to it wait.
pub(super) fn replace_if_empty(env: &mut Env<'_>, table: &TableDef) -> Result<Option<TreeId>> {
    let (tree, name) = (TreeId::new(table.tree), table.full_name());
    let key = table_key(&name);
    // What others have changed since a repeatable snapshot began would go unnoticed.
    let read_committed = env.transaction.isolation() == engine::Isolation::ReadCommitted;
    if !env.can_load || !read_committed || env.changes.created.contains(&tree) {
        return Ok(None);
    }
    let alone = env.transaction.try_lock_tree(tree, LockMode::Exclusive)
        && env.transaction.try_lock_row(TreeId::CATALOG, &key);
    if !alone || !env.transaction.is_empty_locked(tree)? {
        return Ok(None);
    }
    match latest_definition(env, &name)? {
        Some(latest) if latest.tree == table.tree => Ok(Some(replace_tree(env, latest)?)),
        _ => Ok(None),
    }
}

/// Locks tables against all others; `None`: somebody has one of them.
fn lock_all(tables: &[Arc<TableDef>], env: &mut Env<'_>) -> Result<Option<Vec<TableDef>>> {
    let mut locked = Vec::with_capacity(tables.len());
    for table in tables {
        let Some(table) = lock_definition(env, table)? else { return Ok(None) };
        if !lock_tree(env, &table)? {
            return Ok(None);
        }
        locked.push(table);
    }
    Ok(Some(locked))
}

/// Locks a definition and reads it; `None`: somebody else has it.
fn lock_definition(env: &mut Env<'_>, table: &TableDef) -> Result<Option<TableDef>> {
    let name = table.full_name();
    if !env.lock_row(TreeId::CATALOG, &table_key(&name))? {
        return Ok(None);
    }
    match latest_definition(env, &name)? {
        Some(table) => Ok(Some(table)),
        None => Err(Failure::new("42P01", format!("relation \"{}\" does not exist", table.name))),
    }
}

fn latest_definition(env: &mut Env<'_>, name: &str) -> Result<Option<TableDef>> {
    match env.transaction.get_locked(TreeId::CATALOG, &table_key(name)) {
        Ok(Some(bytes)) => Ok(Some(TableDef::decode(&bytes)?)),
        Ok(None) => Ok(None),
        Err(EngineError::Serialization) => {
            let message = "could not serialize access due to concurrent change of a table's definition";
            Err(Failure::new("40001", message))
        }
        Err(error) => Err(error.into()),
    }
}

/// Keeps everybody out of a table's tree who wants to write to it; false: somebody is writing.
fn lock_tree(env: &mut Env<'_>, table: &TableDef) -> Result<bool> {
    let tree = TreeId::new(table.tree);
    if env.changes.created.contains(&tree) {
        return Ok(true);
    }
    Ok(env.transaction.lock_tree(tree, LockMode::Exclusive, env.waker)? == Locked::Granted)
}

/// Makes sure that the transaction's snapshot has all that was committed before now, confirmed or not: its own commit comes
/// after that.
fn see_everything(env: &mut Env<'_>) -> Result<()> {
    let applied = env.transaction.engine().applied();
    if env.transaction.snapshot_lsn() >= applied {
        return Ok(());
    }
    if env.transaction.isolation() == engine::Isolation::RepeatableRead {
        let message =
            "a table cannot be rewritten in a REPEATABLE READ transaction that others have overtaken";
        return Err(Failure::new("40001", message));
    }
    env.transaction.see_at_least(applied);
    env.transaction.begin_statement();
    Ok(())
}

/// Drops a tree with the transaction.
pub(super) fn drop_tree(env: &mut Env<'_>, tree: TreeId) -> Result<()> {
    env.transaction.drop_tree(tree)?;
    if !env.changes.created.contains(&tree) {
        env.changes.dropped.push(tree);
    }
    Ok(())
}

/// Deletes a definition and what belongs to it, but for the tree.
fn forget_definition(transaction: &mut Transaction, table: &TableDef) -> Result<()> {
    transaction.delete(TreeId::CATALOG, &table_key(&table.full_name()))?;
    for column in table.serial_columns() {
        transaction.delete(TreeId::CATALOG, &serial_key(table.oid, column))?;
    }
    stamp(transaction)
}

/// ON COMMIT DROP: what is to go with the transaction that has made it.
pub(super) fn drop_on_commit(transaction: &mut Transaction, changes: &mut Changes) -> Result<()> {
    for name in std::mem::take(&mut changes.drop_on_commit) {
        // Unless it was dropped already, or rolled back to a savepoint before it.
        if let Some(Some(table)) = changes.get(&name).map(Option::<&Arc<TableDef>>::cloned) {
            transaction.drop_tree(TreeId::new(table.tree))?;
            forget_definition(transaction, &table)?;
        }
    }
    Ok(())
}

/// Stores a definition.
pub(super) fn put(env: &mut Env<'_>, table: TableDef) -> std::result::Result<(), Failure> {
    let name = table.full_name();
    env.transaction.put(TreeId::CATALOG, &table_key(&name), &table.encode())?;
    stamp(env.transaction)?;
    env.changes.set(&name, Some(Arc::new(table)));
    Ok(())
}

/// Lets standbys see that definitions have changed. Any number will do that was not there before, and the last of two
/// transactions that write it wins: it needs no lock.
pub(super) fn stamp(transaction: &mut Transaction) -> Result<()> {
    let mut stamp = [0; 8];
    replication::tls::random(&mut stamp).map_err(|error| SqlError::internal(error.to_string()))?;
    Ok(transaction.put(TreeId::CATALOG, STAMP_KEY, &stamp)?)
}
