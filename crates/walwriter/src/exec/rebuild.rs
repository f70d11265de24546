//! ALTER TABLE ... ADD PRIMARY KEY: all rows are written to a new tree, in the order of the key.
//!
//! Rows that come in that order already go straight to the new tree's pages. If one does not, everything is read again
//! and sorted, with `maintenance_work_mem` of memory and temporary files for the rest.

use std::ops::Bound;

use engine::{BulkLoad, Direction, Scan, TreeId};
use sql::plan::encode_key;
use sql::row::RowView;
use sql::types::text;
use sql::{PrimaryKey, TableDef};

use super::env::{Env, Progress};
use super::slice::Slice;
use super::sorted_load::{Loaded, SortedLoad};
use super::{Failure, Result, ddl};

/// A table being written anew.
pub(super) struct Rebuild {
    /// What the table was, and what it will be, but for its tree.
    old: TableDef,
    new: TableDef,
    scan: Scan,
    tree: TreeId,
    stage: Stage,
    key: Vec<u8>,
    row: Vec<u8>,
    /// The row's key in the new tree.
    new_key: Vec<u8>,
    last_key: Vec<u8>,
}

enum Stage {
    /// Rows go from tree to tree.
    Copying(Option<BulkLoad>),
    /// Rows are collected, and then go in order to the tree.
    Sorted(Box<SortedLoad>),
}

impl std::fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebuild").field("table", &self.old.name).finish_non_exhaustive()
    }
}

impl Rebuild {
    /// Begins; the table is locked against all others.
    pub(super) fn open(old: TableDef, name: &str, columns: &[u16], env: &mut Env<'_>) -> Result<Self> {
        if old.primary_key.is_some() {
            let table = &old.name;
            let message = format!("multiple primary keys for table \"{table}\" are not allowed");
            return Err(Failure::new("42P16", message));
        }
        let tree = create_tree(env)?;
        let mut new_columns = old.columns().to_vec();
        for column in columns {
            if let Some(column) = new_columns.get_mut(usize::from(*column)) {
                column.not_null = true;
            }
        }
        let key = PrimaryKey { name: name.to_owned(), columns: columns.to_vec() };
        let new = TableDef::new(old.oid, old.name.as_str(), new_columns, Some(key), tree.as_u32())?;
        let new = new.in_schema(old.schema.as_str());
        let load = env.transaction.bulk_load(tree)?;
        Ok(Self {
            scan: scan(&old, env),
            old,
            new,
            tree,
            stage: Stage::Copying(Some(load)),
            key: Vec::new(),
            row: Vec::new(),
            new_key: Vec::new(),
            last_key: Vec::new(),
        })
    }

    pub(super) fn advance(&mut self, env: &mut Env<'_>, slice: &mut Slice) -> Result<Progress> {
        loop {
            let more = match &mut self.stage {
                Stage::Sorted(sorted) if sorted.is_loading() => match sorted.load_next()? {
                    Loaded::Row => true,
                    Loaded::Duplicate(_, row) => return Err(self.duplicate(&row)),
                    Loaded::Nothing => false,
                },
                _ => self.copy_next(env)?,
            };
            if !more {
                return self.finish(env);
            }
            if slice.is_spent() {
                return Ok(Progress::Spent);
            }
        }
    }

    /// Handles the next row of the old tree. False: the new tree is complete.
    fn copy_next(&mut self, env: &mut Env<'_>) -> Result<bool> {
        if !self.scan.next(env.transaction, &mut self.key, &mut self.row)? {
            return self.end_of_rows(env);
        }
        self.check_nulls()?;
        self.new_key.clear();
        encode_key(&self.new, &self.row, &mut self.new_key)?;
        match &mut self.stage {
            Stage::Copying(Some(load)) => {
                if load.add(&self.new_key, &self.row)? {
                    std::mem::swap(&mut self.new_key, &mut self.last_key);
                    return Ok(true);
                }
                if self.new_key == self.last_key {
                    return Err(self.duplicate(&self.row));
                }
                // Not in order: once more, from the beginning.
                self.stage = Stage::Sorted(Box::new(SortedLoad::begin(self.tree, env)));
                self.scan = scan(&self.old, env);
            }
            Stage::Sorted(sorted) => sorted.push(&self.new_key, 0, &self.row)?,
            Stage::Copying(None) => {}
        }
        Ok(true)
    }

    /// The old tree has no more rows. False: the new tree is complete.
    fn end_of_rows(&mut self, env: &mut Env<'_>) -> Result<bool> {
        match &mut self.stage {
            Stage::Copying(load) => {
                if let Some(load) = load.take() {
                    load.finish()?;
                }
                Ok(false)
            }
            Stage::Sorted(sorted) => {
                sorted.end_of_rows(env)?;
                Ok(true)
            }
        }
    }

    /// The new tree is complete: the table is what is in it.
    fn finish(&mut self, env: &mut Env<'_>) -> Result<Progress> {
        ddl::drop_tree(env, TreeId::new(self.old.tree))?;
        ddl::put(env, self.new.clone())?;
        Ok(Progress::Done)
    }

    fn check_nulls(&self) -> Result<()> {
        let view = RowView::new(self.old.layout(), &self.row)?;
        for column in self.new.key_columns().iter().map(|column| usize::from(*column)) {
            if view.is_null(column)? {
                let name = self.old.columns().get(column).map_or("", |column| &column.name);
                let table = &self.old.name;
                let message = format!("column \"{name}\" of relation \"{table}\" contains null values");
                return Err(Failure::new("23502", message));
            }
        }
        Ok(())
    }

    fn duplicate(&self, row: &[u8]) -> Failure {
        let message = format!("could not create unique index \"{}\"", self.new.key_name());
        let failure = Failure::new("23505", message);
        let Ok(view) = RowView::new(self.old.layout(), row) else { return failure };
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (column, ty) in self.new.key_columns().iter().map(|c| usize::from(*c)).zip(self.new.key_types()) {
            names.push(self.old.columns().get(column).map_or("", |column| column.name.as_str()));
            if names.len() > 1 {
                values.extend_from_slice(b", ");
            }
            if let Ok(value) = view.get(column) {
                text::write(&value, ty, &mut values);
            }
        }
        let (names, values) = (names.join(", "), String::from_utf8_lossy(&values).into_owned());
        failure.detail(format!("Key ({names})=({values}) is duplicated."))
    }
}

fn scan(table: &TableDef, env: &Env<'_>) -> Scan {
    let all = (Bound::Unbounded, Bound::Unbounded);
    env.transaction.scan(TreeId::new(table.tree), all, Direction::Forward)
}

fn create_tree(env: &mut Env<'_>) -> Result<TreeId> {
    let tree = env.transaction.create_tree()?;
    env.changes.created.push(tree);
    Ok(tree)
}
