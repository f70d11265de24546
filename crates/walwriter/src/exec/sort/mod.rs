//! Rows put in order before they go out.

mod external;
mod gathered;
mod temporary;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use sql::plan::SortKey;
use sql::{EvalContext, Expr};

use super::output::RowFormat;
use super::{Failure, Result};

pub(super) use external::ExternalSort;

/// Rows in their final form, sorted by the bytes of what they are ordered by.
#[derive(Debug)]
pub(super) struct Sorter {
    sort: ExternalSort,
    /// How many rows of the final order are wanted; of those in memory the ones behind are given up as more come.
    wanted: usize,
    /// Rows to be left out before the first.
    skipped: u64,
    key: Vec<u8>,
    row: Vec<u8>,
}

impl Sorter {
    /// For the first `wanted` rows, with `work_mem` bytes of memory, and files in `dir` for what is more.
    pub(super) fn new(work_mem: usize, dir: Option<PathBuf>, wanted: u64) -> Self {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let sort = ExternalSort::new(work_mem, "work_mem", dir);
        Self { sort, wanted, skipped: 0, key: Vec::new(), row: Vec::new() }
    }

    /// Takes in the row at hand.
    pub(super) fn add(
        &mut self,
        order: &[SortKey],
        projection: &[Expr],
        context: &EvalContext<'_>,
        format: RowFormat<'_>,
    ) -> Result<()> {
        self.row.clear();
        format.append(projection, context, &mut self.row)?;
        self.key.clear();
        for key in order {
            key.encode(&key.expr.eval(context)?, &mut self.key);
        }
        self.sort.push(&self.key, &self.row)?;
        if self.sort.in_memory() >= self.wanted.saturating_mul(2).saturating_add(1024) {
            self.sort.keep_first(self.wanted);
        }
        Ok(())
    }

    /// All rows are there.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.sort.finish()
    }

    /// Leaves out the next rows.
    pub(super) fn skip(&mut self, rows: u64) {
        self.skipped = self.skipped.saturating_add(rows);
    }

    /// Whether there are rows to be left out still, one of which was now.
    pub(super) fn skip_one(&mut self) -> Result<bool> {
        if self.skipped == 0 {
            return Ok(false);
        }
        self.skipped = if self.sort.next()?.is_some() { self.skipped - 1 } else { 0 };
        Ok(true)
    }

    /// Appends the next row in order; false if there is none.
    pub(super) fn emit(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        let Some((_, row)) = self.sort.next()? else { return Ok(false) };
        out.extend_from_slice(row);
        Ok(true)
    }
}

/// An error if more memory is used than a statement may.
pub(super) fn check_memory(used: usize, limit: usize) -> Result<()> {
    if used <= limit {
        return Ok(());
    }
    Err(Failure::new("53200", format!("statement needs more memory than work_mem ({} kB)", limit / 1024))
        .hint("Rows are grouped, and rows to be changed are noted, in memory alone: raise work_mem, or ask for fewer rows."))
}
