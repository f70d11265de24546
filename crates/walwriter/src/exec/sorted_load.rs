//! Rows that come in no order, for a tree of their own (COPY FROM, ADD PRIMARY KEY): sorted first, with
//! `maintenance_work_mem` of memory and temporary files for the rest, then loaded as if they had come in order.

use std::ops::Bound;

use engine::{BulkLoad, Direction, TreeId};

use super::Result;
use super::env::Env;
use super::sort::ExternalSort;

/// A load whose rows are sorted. What it loads takes the place of all that was in the tree.
pub(super) struct SortedLoad {
    tree: TreeId,
    /// Rows by their keys, each behind the number of the line that it came from.
    sort: ExternalSort,
    /// Once all rows are there.
    load: Option<BulkLoad>,
    line_and_row: Vec<u8>,
}

/// What became of the next row in order.
pub(super) enum Loaded {
    Row,
    /// It has the key of the one before: this line's, and the row.
    Duplicate(u64, Vec<u8>),
    /// There was none: the tree is complete.
    Nothing,
}

impl SortedLoad {
    /// Begins with no rows.
    pub(super) fn begin(tree: TreeId, env: &Env<'_>) -> Self {
        let limit = env.context.session.settings.borrow().bytes("maintenance_work_mem");
        let files = env.context.shared.host.temporary_files();
        let sort = ExternalSort::new(limit, "maintenance_work_mem", files);
        Self { tree, sort, load: None, line_and_row: Vec::new() }
    }

    /// Begins with the rows that are in `tree` already, where they came first and have keys of their own.
    pub(super) fn of_what_is_in(tree: TreeId, env: &Env<'_>) -> Result<Self> {
        let mut sorted = Self::begin(tree, env);
        let all = (Bound::Unbounded, Bound::Unbounded);
        let mut scan = env.transaction.scan(tree, all, Direction::Forward);
        let (mut key, mut row) = (Vec::new(), Vec::new());
        while scan.next(env.transaction, &mut key, &mut row)? {
            sorted.push(&key, 0, &row)?;
        }
        Ok(sorted)
    }

    /// Adds a row, of this line if it came from one.
    pub(super) fn push(&mut self, key: &[u8], line: u64, row: &[u8]) -> Result<()> {
        self.line_and_row.clear();
        self.line_and_row.extend_from_slice(&line.to_le_bytes());
        self.line_and_row.extend_from_slice(row);
        self.sort.push(key, &self.line_and_row)
    }

    /// There are no more rows.
    pub(super) fn end_of_rows(&mut self, env: &mut Env<'_>) -> Result<()> {
        self.sort.finish()?;
        self.load = Some(env.transaction.bulk_load(self.tree)?);
        Ok(())
    }

    /// Whether the rows are being loaded.
    pub(super) fn is_loading(&self) -> bool {
        self.load.is_some()
    }

    /// Loads the next row in order.
    pub(super) fn load_next(&mut self) -> Result<Loaded> {
        let Some(load) = &mut self.load else { return Ok(Loaded::Nothing) };
        if let Some((key, line_and_row)) = self.sort.next()? {
            let Some((line, row)) = line_and_row.split_first_chunk() else { return Ok(Loaded::Nothing) };
            if load.add(key, row)? {
                return Ok(Loaded::Row);
            }
            return Ok(Loaded::Duplicate(u64::from_le_bytes(*line), row.to_vec()));
        }
        if let Some(load) = self.load.take() {
            load.finish()?;
        }
        Ok(Loaded::Nothing)
    }
}
