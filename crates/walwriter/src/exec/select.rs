//! Executing a query: rows from their source, through filter, grouping, order and limits, into their final form.

use engine::TreeId;
use sql::plan::{Aggregation, LockWait, SelectPlan, Source};
use sql::{EvalContext, TableDef};

use super::env::{Env, Progress};
use super::output::RowFormat;
use super::slice::Slice;
use super::sort::{Sorter, check_memory};
use super::source::Rows;
use super::{Failure, Result};

/// A query under way.
#[derive(Debug)]
pub(super) struct SelectRun {
    rows: Rows,
    at: At,
    stage: Stage,
    /// Rows still to be left out (OFFSET).
    skip: u64,
    /// Rows still to be produced (LIMIT).
    left: u64,
    /// Rows produced since the portal was last asked for some.
    pub(super) produced: u64,
}

/// Where the current row is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// There is none.
    Between,
    /// It is to be looked at.
    Fetched,
    /// It is to be locked.
    Candidate,
    /// It belongs to the result.
    Ready,
}

#[derive(Debug)]
enum Stage {
    /// Rows go out as they come.
    Streaming,
    /// All rows are put in order first.
    Sorting(Sorter),
    /// All rows are put into groups first; with the memory that takes.
    Grouping(Box<Aggregation>, usize),
    /// All rows are there.
    Emitting(Sorter),
}

impl SelectRun {
    pub(super) fn open(plan: &SelectPlan, env: &Env<'_>) -> Result<Self> {
        if plan.lock.is_some() && env.transaction.is_read_only() {
            return Err(Failure::read_only("SELECT FOR UPDATE"));
        }
        let context = env.expressions();
        let left = count(plan.limit.as_ref(), &context, "LIMIT", "2201W")?.unwrap_or(u64::MAX);
        let skip = count(plan.offset.as_ref(), &context, "OFFSET", "2201X")?.unwrap_or(0);
        let stage = if let Some(grouping) = &plan.grouping {
            Stage::Grouping(Box::new(Aggregation::new(grouping)), 0)
        } else if !plan.order_by.is_empty() {
            Stage::Sorting(env.sorter(left.saturating_add(skip)))
        } else {
            Stage::Streaming
        };
        let rows = Rows::open(&plan.source, env)?;
        Ok(Self { rows, at: At::Between, stage, skip, left, produced: 0 })
    }

    /// Goes on, and appends rows to `out`; each is subtracted from `rows_left`.
    pub(super) fn advance(
        &mut self,
        plan: &SelectPlan,
        env: &mut Env<'_>,
        format: RowFormat<'_>,
        out: &mut Vec<u8>,
        rows_left: &mut u64,
        slice: &mut Slice,
    ) -> Result<Progress> {
        let base = env.expressions();
        loop {
            if let Stage::Emitting(_) = self.stage {
                return self.emit(out, rows_left, slice);
            }
            let streaming = matches!(self.stage, Stage::Streaming);
            if streaming && self.left == 0 {
                return Ok(Progress::Done);
            }
            if streaming && *rows_left == 0 {
                return Ok(Progress::Full);
            }
            match self.next_row(plan, env, &base, slice)? {
                Progress::Full => {}
                Progress::Done if streaming => return Ok(Progress::Done),
                Progress::Done => {
                    self.finish_gathering(plan, env, &base, format)?;
                    continue;
                }
                other => return Ok(other),
            }
            let context = self.rows.context(table_of(plan), &base)?;
            match &mut self.stage {
                Stage::Streaming if self.skip > 0 => self.skip -= 1,
                Stage::Streaming => {
                    format.append(&plan.projection, &context, out)?;
                    self.left -= 1;
                    *rows_left -= 1;
                    self.produced += 1;
                }
                Stage::Sorting(sorter) => {
                    sorter.add(&plan.order_by, &plan.projection, &context, format)?;
                }
                Stage::Grouping(aggregation, used) => {
                    if let Some(grouping) = &plan.grouping {
                        let grown = aggregation.add(grouping, &context)?;
                        if grown > 0 {
                            *used += grown;
                            check_memory(*used, env.work_mem())?;
                        }
                    }
                }
                Stage::Emitting(_) => {}
            }
            self.at = At::Between;
            if slice.is_spent_with(out.len()) {
                return Ok(Progress::Spent);
            }
        }
    }

    /// Moves to the next row of the result: [`Progress::Full`] says that there is one.
    fn next_row(
        &mut self,
        plan: &SelectPlan,
        env: &mut Env<'_>,
        base: &EvalContext<'_>,
        slice: &mut Slice,
    ) -> Result<Progress> {
        loop {
            match self.at {
                At::Between => {
                    if !self.rows.fetch(plan, env)? {
                        return Ok(Progress::Done);
                    }
                    self.at = At::Fetched;
                }
                At::Fetched => {
                    let passes = match &plan.filter {
                        None => true,
                        Some(filter) => filter.eval_condition(&self.rows.context(table_of(plan), base)?)?,
                    };
                    if passes {
                        let locks = plan.lock.is_some() && table_of(plan).is_some();
                        self.at = if locks { At::Candidate } else { At::Ready };
                    } else {
                        self.at = At::Between;
                        if slice.is_spent() {
                            return Ok(Progress::Spent);
                        }
                    }
                }
                At::Candidate => {
                    if let Some(progress) = self.lock(plan, env, base)? {
                        return Ok(progress);
                    }
                }
                At::Ready => return Ok(Progress::Full),
            }
        }
    }

    /// Locks the current row and looks at it again as it is then.
    fn lock(
        &mut self,
        plan: &SelectPlan,
        env: &mut Env<'_>,
        base: &EvalContext<'_>,
    ) -> Result<Option<Progress>> {
        let (Some(table), Some(lock)) = (table_of(plan), plan.lock) else { return Ok(None) };
        if let Some(wait) = env.lock_for_writing(table)? {
            return Ok(Some(wait));
        }
        let tree = TreeId::new(table.tree);
        if !env.lock_row(tree, &self.rows.key)? {
            match lock.wait {
                LockWait::Block => return Ok(Some(Progress::Blocked)),
                LockWait::Skip => {
                    self.at = At::Between;
                    return Ok(None);
                }
                LockWait::Fail => {
                    let name = &table.name;
                    let message = format!("could not obtain lock on row in relation \"{name}\"");
                    return Err(Failure::new("55P03", message));
                }
            }
        }
        self.at = At::Between;
        let Some(latest) = env.transaction.get_locked(tree, &self.rows.key)? else { return Ok(None) };
        let same = latest == self.rows.bytes;
        self.rows.bytes = latest;
        let passes = match &plan.filter {
            Some(filter) if !same => filter.eval_condition(&self.rows.context(Some(table), base)?)?,
            _ => true,
        };
        if passes {
            self.at = At::Ready;
        }
        Ok(None)
    }

    /// All rows are there: makes of them what goes out.
    fn finish_gathering(
        &mut self,
        plan: &SelectPlan,
        env: &Env<'_>,
        base: &EvalContext<'_>,
        format: RowFormat<'_>,
    ) -> Result<()> {
        let mut sorter = match std::mem::replace(&mut self.stage, Stage::Streaming) {
            Stage::Grouping(aggregation, _) => {
                let mut sorter = env.sorter(u64::MAX);
                if let Some(grouping) = &plan.grouping {
                    for row in aggregation.finish(grouping)? {
                        let context = base.with_values(&row);
                        let passes = match &grouping.having {
                            Some(having) => having.eval_condition(&context)?,
                            None => true,
                        };
                        if passes {
                            sorter.add(&plan.order_by, &plan.projection, &context, format)?;
                        }
                    }
                }
                sorter
            }
            Stage::Sorting(sorter) | Stage::Emitting(sorter) => sorter,
            Stage::Streaming => return Ok(()),
        };
        sorter.finish()?;
        sorter.skip(self.skip);
        self.stage = Stage::Emitting(sorter);
        Ok(())
    }

    fn emit(&mut self, out: &mut Vec<u8>, rows_left: &mut u64, slice: &mut Slice) -> Result<Progress> {
        let Stage::Emitting(sorter) = &mut self.stage else { return Ok(Progress::Done) };
        loop {
            if self.left == 0 {
                return Ok(Progress::Done);
            }
            if *rows_left == 0 {
                return Ok(Progress::Full);
            }
            if sorter.skip_one()? {
                if slice.is_spent() {
                    return Ok(Progress::Spent);
                }
                continue;
            }
            if !sorter.emit(out)? {
                return Ok(Progress::Done);
            }
            self.left -= 1;
            *rows_left -= 1;
            self.produced += 1;
            if slice.is_spent_with(out.len()) {
                return Ok(Progress::Spent);
            }
        }
    }
}

pub(super) fn table_of(plan: &SelectPlan) -> Option<&TableDef> {
    match &plan.source {
        Source::Table { table, .. } => Some(table),
        _ => None,
    }
}

fn count(
    expr: Option<&sql::Expr>,
    context: &EvalContext<'_>,
    what: &str,
    sqlstate: &str,
) -> Result<Option<u64>> {
    let Some(expr) = expr else { return Ok(None) };
    match expr.eval(context)?.as_i64() {
        None => Ok(None),
        Some(count) => match u64::try_from(count) {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(Failure::new(sqlstate, format!("{what} must not be negative"))),
        },
    }
}
