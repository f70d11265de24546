//! Executing INSERT.

use std::collections::HashSet;

use engine::TreeId;
use sql::plan::{
    ConflictAction, InsertPlan, InsertSource, OnConflict, apply_assignments, encode_key, unique_violation,
};
use sql::row::RowView;
use sql::{EvalContext, key};

use super::env::{Env, Progress};
use super::output::{RowFormat, split_insert};
use super::select::SelectRun;
use super::slice::Slice;
use super::{Failure, Result};
use crate::catalog::next_row_id;

/// How much of a query's result is made before it is inserted.
const BATCH: usize = 64 * 1024;

/// An INSERT under way.
#[derive(Debug)]
pub(super) struct InsertRun {
    source: Source,
    /// The row at hand is in `key` and `row`, and not placed yet.
    has_row: bool,
    key: Vec<u8>,
    row: Vec<u8>,
    /// The row and the key that ON CONFLICT DO UPDATE makes.
    new_key: Vec<u8>,
    new_row: Vec<u8>,
    /// Keys that this statement has inserted or updated, where it may come across one twice.
    touched: Option<HashSet<Vec<u8>>>,
    pub(super) count: u64,
}

#[derive(Debug)]
enum Source {
    /// The next row of VALUES.
    Values(usize),
    Query {
        run: Box<SelectRun>,
        /// Rows that the query has produced, and where the next one to insert begins.
        rows: Vec<u8>,
        next: usize,
        complete: bool,
        /// The whole result has to be there before the first row is inserted, because the query reads the same table.
        whole: bool,
    },
}

/// What became of a row.
enum Placed {
    /// `row` is in the table.
    Inserted,
    /// `new_row` is, in place of the row that was there.
    Updated,
    Nothing,
    Wait(Progress),
}

impl InsertRun {
    pub(super) fn open(plan: &InsertPlan, env: &Env<'_>) -> Result<Self> {
        let (source, many) = match &plan.source {
            InsertSource::Values(rows) => (Source::Values(0), rows.len() > 1),
            InsertSource::Select(query, _) => {
                let same = super::select::table_of(query).is_some_and(|table| table.oid == plan.table.oid);
                let run = Box::new(SelectRun::open(query, env)?);
                let source = Source::Query { run, rows: Vec::new(), next: 0, complete: false, whole: same };
                (source, true)
            }
        };
        let updates = matches!(plan.conflict, Some(OnConflict { action: ConflictAction::Update { .. }, .. }));
        Ok(Self {
            source,
            has_row: false,
            key: Vec::new(),
            row: Vec::new(),
            new_key: Vec::new(),
            new_row: Vec::new(),
            touched: (updates && many).then(HashSet::new),
            count: 0,
        })
    }

    pub(super) fn advance(
        &mut self,
        plan: &InsertPlan,
        env: &mut Env<'_>,
        format: RowFormat<'_>,
        out: &mut Vec<u8>,
        slice: &mut Slice,
    ) -> Result<Progress> {
        if let Some(wait) = env.lock_for_writing(&plan.table)? {
            return Ok(wait);
        }
        let base = env.expressions();
        loop {
            if !self.has_row {
                match self.make_row(plan, env, slice)? {
                    Progress::Full => self.has_row = true,
                    other => return Ok(other),
                }
            }
            let shown = match self.place(plan, env, &base)? {
                Placed::Wait(wait) => return Ok(wait),
                Placed::Nothing => None,
                Placed::Inserted => Some(&self.row),
                Placed::Updated => Some(&self.new_row),
            };
            self.has_row = false;
            if let Some(row) = shown {
                self.count += 1;
                if let Some(returning) = &plan.returning {
                    let context = base.with_row(RowView::new(plan.table.layout(), row)?);
                    format.append(returning, &context, out)?;
                }
            }
            if slice.is_spent_with(out.len()) {
                return Ok(Progress::Spent);
            }
        }
    }

    /// Puts the next row into `key` and `row`: [`Progress::Full`] says that there is one.
    fn make_row(&mut self, plan: &InsertPlan, env: &mut Env<'_>, slice: &mut Slice) -> Result<Progress> {
        self.key.clear();
        self.row.clear();
        match (&mut self.source, &plan.source) {
            (Source::Values(next), InsertSource::Values(rows)) => {
                let Some(exprs) = rows.get(*next) else { return Ok(Progress::Done) };
                plan.encode(exprs, &env.expressions(), &mut self.key, &mut self.row)?;
                *next += 1;
                Ok(Progress::Full)
            }
            (Source::Query { run, rows, next, complete, whole }, InsertSource::Select(query, columns)) => {
                loop {
                    let mut rest = rows.get(*next..).unwrap_or_default();
                    if (!*whole || *complete)
                        && let Some((key, row)) = split_insert(&mut rest)
                    {
                        self.key.extend_from_slice(key);
                        self.row.extend_from_slice(row);
                        *next = rows.len() - rest.len();
                        return Ok(Progress::Full);
                    }
                    if *complete {
                        return Ok(Progress::Done);
                    }
                    if !*whole {
                        rows.clear();
                        *next = 0;
                    } else {
                        super::sort::check_memory(rows.len(), env.work_mem())?;
                    }
                    let format = RowFormat::Insert { plan, columns };
                    let mut part = Slice::new(rows.len());
                    match run.advance(query, env, format, rows, &mut u64::MAX.clone(), &mut part)? {
                        Progress::Done => *complete = true,
                        Progress::Spent | Progress::Full if rows.len() < BATCH && slice.is_spent() => {
                            return Ok(Progress::Spent);
                        }
                        Progress::Spent | Progress::Full => {}
                        wait => return Ok(wait),
                    }
                }
            }
            _ => Ok(Progress::Done),
        }
    }

    /// Inserts the row at hand, or does what ON CONFLICT says. Writes nothing before all locks are there, so that it can
    /// be called again after a wait.
    fn place(&mut self, plan: &InsertPlan, env: &mut Env<'_>, base: &EvalContext<'_>) -> Result<Placed> {
        let table = &*plan.table;
        let tree = TreeId::new(table.tree);
        if table.primary_key.is_none() {
            let counter = env.context.shared.catalog.row_ids.counter(tree, env.transaction)?;
            self.key.clear();
            key::encode_rowid(next_row_id(&counter)?, &mut self.key);
            env.transaction.put(tree, &self.key, &self.row)?;
            return Ok(Placed::Inserted);
        }
        if !env.lock_row(tree, &self.key)? {
            return Ok(Placed::Wait(Progress::Blocked));
        }
        let Some(existing) = env.transaction.get_locked(tree, &self.key)? else {
            env.transaction.put(tree, &self.key, &self.row)?;
            self.touch();
            return Ok(Placed::Inserted);
        };
        match plan.conflict.as_ref().map(|conflict| &conflict.action) {
            None => Err(unique_violation(table, &self.row).into()),
            Some(ConflictAction::Nothing) => Ok(Placed::Nothing),
            Some(ConflictAction::Update { assignments, filter, changes_key }) => {
                if self.touched.as_ref().is_some_and(|touched| touched.contains(&self.key)) {
                    let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
                    return Err(Failure::new("21000", message).hint(
                        "Ensure that no rows proposed for insertion within the same command have duplicate \
                         constrained values.",
                    ));
                }
                let old = RowView::new(table.layout(), &existing)?;
                let excluded = RowView::new(table.layout(), &self.row)?;
                let context = base.with_row(old);
                let context = context.with_excluded(excluded);
                if let Some(filter) = filter
                    && !filter.eval_condition(&context)?
                {
                    return Ok(Placed::Nothing);
                }
                self.new_row.clear();
                apply_assignments(table, assignments, &old, &context, &mut self.new_row)?;
                if *changes_key {
                    self.new_key.clear();
                    encode_key(table, &self.new_row, &mut self.new_key)?;
                    if self.new_key != self.key {
                        if !env.lock_row(tree, &self.new_key)? {
                            return Ok(Placed::Wait(Progress::Blocked));
                        }
                        if env.transaction.get_locked(tree, &self.new_key)?.is_some() {
                            return Err(unique_violation(table, &self.new_row).into());
                        }
                        env.transaction.delete(tree, &self.key)?;
                        std::mem::swap(&mut self.key, &mut self.new_key);
                    }
                }
                env.transaction.put(tree, &self.key, &self.new_row)?;
                self.touch();
                Ok(Placed::Updated)
            }
        }
    }

    fn touch(&mut self) {
        if let Some(touched) = &mut self.touched {
            touched.insert(self.key.clone());
        }
    }
}
