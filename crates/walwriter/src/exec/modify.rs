//! Executing UPDATE and DELETE.

use engine::{Isolation, TreeId};
use sql::plan::{Access, DeletePlan, UpdatePlan, encode_key, unique_violation};
use sql::row::RowView;
use sql::{EvalContext, Expr, TableDef};

use super::Result;
use super::env::{Env, Progress};
use super::output::RowFormat;
use super::slice::Slice;
use super::sort::check_memory;
use super::source::Rows;

/// What is done to rows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'p> {
    Update(&'p UpdatePlan),
    Delete(&'p DeletePlan),
}

/// An UPDATE or DELETE under way.
///
/// Rows are found as of the statement's snapshot, then locked and looked at again as they are by then. A wait leaves
/// the row at hand where it is, and goes on with it.
#[derive(Debug)]
pub(super) struct ModifyRun {
    rows: Rows,
    /// The row at hand has been found and is to be locked.
    has_row: bool,
    /// All rows are found first, because an update that changes keys could find a row again where it has moved it: keys,
    /// each behind its length.
    found: Option<Found>,
    new_key: Vec<u8>,
    new_row: Vec<u8>,
    pub(super) count: u64,
}

#[derive(Debug, Default)]
struct Found {
    keys: Vec<u8>,
    next: usize,
    complete: bool,
}

enum Changed {
    /// The row is changed; its old bytes, for RETURNING.
    Yes(Vec<u8>),
    /// It is not what it was, and does not satisfy the condition.
    No,
    Wait,
}

impl<'p> Change<'p> {
    fn table(self) -> &'p TableDef {
        match self {
            Self::Update(plan) => &plan.table,
            Self::Delete(plan) => &plan.table,
        }
    }

    fn access(self) -> &'p Access {
        match self {
            Self::Update(plan) => &plan.access,
            Self::Delete(plan) => &plan.access,
        }
    }

    fn filter(self) -> Option<&'p Expr> {
        match self {
            Self::Update(plan) => plan.filter.as_ref(),
            Self::Delete(plan) => plan.filter.as_ref(),
        }
    }

    pub(super) fn returning(self) -> Option<&'p [Expr]> {
        match self {
            Self::Update(plan) => plan.returning.as_deref(),
            Self::Delete(plan) => plan.returning.as_deref(),
        }
    }

    fn changes_key(self) -> bool {
        matches!(self, Self::Update(plan) if plan.changes_key)
    }
}

impl ModifyRun {
    pub(super) fn open(change: Change<'_>, env: &Env<'_>) -> Result<Self> {
        let rows = Rows::open_table(change.table(), change.access(), env)?;
        let found = (change.changes_key() && !rows.is_by_key()).then(Found::default);
        Ok(Self { rows, has_row: false, found, new_key: Vec::new(), new_row: Vec::new(), count: 0 })
    }

    pub(super) fn advance(
        &mut self,
        change: Change<'_>,
        env: &mut Env<'_>,
        format: RowFormat<'_>,
        out: &mut Vec<u8>,
        slice: &mut Slice,
    ) -> Result<Progress> {
        let table = change.table();
        if let Some(wait) = env.lock_for_writing(table)? {
            return Ok(wait);
        }
        let base = env.expressions();
        loop {
            if !self.has_row {
                match self.find(change, env, &base, slice)? {
                    Progress::Full => self.has_row = true,
                    other => return Ok(other),
                }
            }
            match self.change(change, env, &base)? {
                Changed::Wait => return Ok(Progress::Blocked),
                Changed::No => {}
                Changed::Yes(old) => {
                    self.count += 1;
                    if let Some(returning) = change.returning() {
                        let row = if matches!(change, Change::Update(_)) { &self.new_row } else { &old };
                        let context = base.with_row(RowView::new(table.layout(), row)?);
                        format.append(returning, &context, out)?;
                    }
                }
            }
            self.has_row = false;
            if slice.is_spent_with(out.len()) {
                return Ok(Progress::Spent);
            }
        }
    }

    /// Moves to the next row to be changed; its key is in `rows.key`. [`Progress::Full`] says that there is one.
    fn find(
        &mut self,
        change: Change<'_>,
        env: &mut Env<'_>,
        base: &EvalContext<'_>,
        slice: &mut Slice,
    ) -> Result<Progress> {
        let Some(found) = &mut self.found else { return self.find_next(change, env, base, slice) };
        if !found.complete {
            loop {
                let progress = self.find_next(change, env, base, slice)?;
                let Some(found) = &mut self.found else { return Ok(Progress::Done) };
                match progress {
                    Progress::Full => {
                        found.keys.extend_from_slice(&(self.rows.key.len() as u32).to_le_bytes());
                        found.keys.extend_from_slice(&self.rows.key);
                        check_memory(found.keys.len(), env.work_mem())?;
                    }
                    Progress::Done => {
                        found.complete = true;
                        break;
                    }
                    other => return Ok(other),
                }
            }
        }
        let Some(found) = &mut self.found else { return Ok(Progress::Done) };
        let rest = found.keys.get(found.next..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(Progress::Done) };
        let length = u32::from_le_bytes(*length) as usize;
        self.rows.key.clear();
        self.rows.key.extend_from_slice(rest.get(..length).unwrap_or_default());
        found.next += 4 + length;
        Ok(Progress::Full)
    }

    fn find_next(
        &mut self,
        change: Change<'_>,
        env: &Env<'_>,
        base: &EvalContext<'_>,
        slice: &mut Slice,
    ) -> Result<Progress> {
        let table = change.table();
        if self.rows.is_by_key() && env.transaction.isolation() == Isolation::ReadCommitted {
            // Whatever is there once it is locked, is what counts.
            return Ok(if self.rows.fetch_key() { Progress::Full } else { Progress::Done });
        }
        while self.rows.fetch_from(table, env.transaction)? {
            let passes = match change.filter() {
                Some(filter) => filter.eval_condition(&self.rows.context(Some(table), base)?)?,
                None => true,
            };
            if passes {
                return Ok(Progress::Full);
            }
            if slice.is_spent() {
                return Ok(Progress::Spent);
            }
        }
        Ok(Progress::Done)
    }

    /// Locks the row at hand and changes it as it is then. Writes nothing before all locks are there.
    fn change(&mut self, change: Change<'_>, env: &mut Env<'_>, base: &EvalContext<'_>) -> Result<Changed> {
        let table = change.table();
        let tree = TreeId::new(table.tree);
        if !env.lock_row(tree, &self.rows.key)? {
            return Ok(Changed::Wait);
        }
        let Some(latest) = env.transaction.get_locked(tree, &self.rows.key)? else { return Ok(Changed::No) };
        let row = RowView::new(table.layout(), &latest)?;
        let context = base.with_row(row);
        if let Some(filter) = change.filter()
            && !filter.eval_condition(&context)?
        {
            return Ok(Changed::No);
        }
        let Change::Update(plan) = change else {
            env.transaction.delete(tree, &self.rows.key)?;
            return Ok(Changed::Yes(latest));
        };
        self.new_row.clear();
        plan.encode(&row, &context, &mut self.new_row)?;
        if plan.changes_key {
            self.new_key.clear();
            encode_key(table, &self.new_row, &mut self.new_key)?;
            if self.new_key != self.rows.key {
                if !env.lock_row(tree, &self.new_key)? {
                    return Ok(Changed::Wait);
                }
                if env.transaction.get_locked(tree, &self.new_key)?.is_some() {
                    return Err(unique_violation(table, &self.new_row).into());
                }
                env.transaction.delete(tree, &self.rows.key)?;
                env.transaction.put(tree, &self.new_key, &self.new_row)?;
                return Ok(Changed::Yes(latest));
            }
        }
        env.transaction.put(tree, &self.rows.key, &self.new_row)?;
        Ok(Changed::Yes(latest))
    }
}
