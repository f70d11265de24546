//! COPY FROM: lines become rows.
//!
//! Rows go straight to the pages of a tree that the transaction has made and nobody has written to, in the order of their
//! keys: as they come, or sorted first if that soon turns out not to be the order. If it turns out late, or there are rows
//! already, they are inserted as INSERT would. A table that is empty when a COPY of some size begins is given such a tree;
//! until the transaction ends, others who want to write to it wait.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use engine::{BulkLoad, TreeId};
use sql::copy::{CopyDecoder, CopyRecord};
use sql::plan::{CopyFromPlan, unique_violation};
use sql::{PlanNode, key};

use super::ddl::replace_if_empty;
use super::env::{Env, Progress};
use super::portal::{Portal, Work};
use super::session::SqlSession;
use super::slice::Slice;
use super::sorted_load::{Loaded, SortedLoad};
use super::{Failure, Result};
use crate::catalog::next_row_id;
use crate::session::{CopyFormat, Step};

/// With so much data a COPY is worth a new tree, in bytes. So much is gathered before the first row is placed.
const LARGE: usize = 64 << 10;

/// After so many rows in order, one that is not is an exception: those before it are not read and sorted again.
const MOSTLY_ORDERED: u64 = 1000;

/// A COPY FROM under way.
pub(super) struct CopyFromRun {
    decoder: CopyDecoder,
    record: CopyRecord,
    /// All data has been taken.
    ended: bool,
    /// How much data has been taken.
    taken: usize,
    /// Where rows go; decided with the first.
    target: Target,
    /// The tree they go to.
    tree: TreeId,
    /// Nobody else can reach the tree: its rows need no locks.
    alone: bool,
    /// The counter of the tree's row ids, in a table without a primary key; known from the first row on.
    row_ids: Option<Arc<AtomicI64>>,
    /// The row in `key` and `row` is not placed yet.
    has_row: bool,
    key: Vec<u8>,
    row: Vec<u8>,
    pub(super) count: u64,
}

enum Target {
    Undecided,
    /// The tree's pages.
    Pages(BulkLoad),
    /// The same, once they are sorted.
    Sorted(Box<SortedLoad>),
    /// The transaction's writes.
    Rows,
}

impl std::fmt::Debug for CopyFromRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyFromRun").field("count", &self.count).finish_non_exhaustive()
    }
}

impl CopyFromRun {
    pub(super) fn open(plan: &CopyFromPlan) -> Self {
        Self {
            decoder: CopyDecoder::new(plan.options.clone()),
            record: CopyRecord::default(),
            ended: false,
            taken: 0,
            target: Target::Undecided,
            tree: TreeId::new(plan.table.tree),
            alone: false,
            row_ids: None,
            has_row: false,
            key: Vec::new(),
            row: Vec::new(),
            count: 0,
        }
    }

    /// What the client is told of the data that it is to send.
    pub(super) fn format(plan: &CopyFromPlan) -> CopyFormat {
        super::copy_to::format(&plan.options, plan.columns.len())
    }

    /// Places rows; [`Progress::Full`] says that more data is wanted.
    pub(super) fn advance(
        &mut self,
        plan: &CopyFromPlan,
        env: &mut Env<'_>,
        slice: &mut Slice,
    ) -> Result<Progress> {
        if let Target::Undecided = self.target
            && let Some(wait) = self.decide(plan, env)?
        {
            return Ok(wait);
        }
        loop {
            if let Target::Sorted(sorted) = &mut self.target
                && sorted.is_loading()
            {
                match sorted.load_next()? {
                    Loaded::Row => {}
                    Loaded::Duplicate(line, row) => return Err(duplicate(plan, line, &row)),
                    Loaded::Nothing => return Ok(Progress::Done),
                }
            } else if self.has_row || self.read(plan, env)? {
                self.has_row = true;
                if !self.place(plan, env)? {
                    return Ok(Progress::Blocked);
                }
                self.has_row = false;
                self.count += 1;
            } else if !self.ended {
                return Ok(Progress::Full);
            } else if self.end_of_rows(env)? {
                return Ok(Progress::Done);
            }
            if slice.is_spent() {
                return Ok(Progress::Spent);
            }
        }
    }

    /// All rows have been read. True: and placed.
    fn end_of_rows(&mut self, env: &mut Env<'_>) -> Result<bool> {
        match std::mem::replace(&mut self.target, Target::Rows) {
            Target::Pages(load) => {
                load.finish()?;
            }
            Target::Sorted(mut sorted) => {
                sorted.end_of_rows(env)?;
                self.target = Target::Sorted(sorted);
                return Ok(false);
            }
            Target::Undecided | Target::Rows => {}
        }
        Ok(true)
    }

    /// Decides where rows go, or says why that cannot be decided yet. Locks come before data is taken: what was taken would be
    /// lost if the statement had to begin anew.
    fn decide(&mut self, plan: &CopyFromPlan, env: &mut Env<'_>) -> Result<Option<Progress>> {
        if env.can_load && env.changes.untouched.contains(&self.tree) {
            env.changes.untouched.retain(|untouched| *untouched != self.tree);
            self.target = Target::Pages(env.transaction.bulk_load(self.tree)?);
        } else {
            if let Some(wait) = env.lock_for_writing(&plan.table)? {
                return Ok(Some(wait));
            }
            let large = self.taken >= LARGE;
            if !large && !self.ended {
                return Ok(Some(Progress::Full));
            }
            let emptied = if large { replace_if_empty(env, &plan.table)? } else { None };
            self.target = match emptied {
                Some(tree) => {
                    self.tree = tree;
                    Target::Pages(env.transaction.bulk_load(tree)?)
                }
                None => Target::Rows,
            };
        }
        self.alone = env.changes.created.contains(&self.tree);
        Ok(None)
    }

    /// Makes a row of the next line. False: there is none.
    fn read(&mut self, plan: &CopyFromPlan, env: &Env<'_>) -> Result<bool> {
        let table = &plan.table;
        let line = |line: u64, failure: Failure| failure.context(format!("COPY {}, line {line}", table.name));
        match self.decoder.next(&mut self.record) {
            Ok(false) => return Ok(false),
            Ok(true) => {}
            Err(error) => return Err(line(self.decoder.line(), error.into())),
        }
        self.key.clear();
        self.row.clear();
        plan.encode(&self.record, &env.expressions(), &mut self.key, &mut self.row)
            .map_err(|error| line(self.decoder.line(), error.into()))?;
        if table.primary_key.is_none() {
            let counter = match &mut self.row_ids {
                Some(counter) => counter,
                unknown => {
                    let row_ids = &env.context.shared.catalog.row_ids;
                    unknown.insert(row_ids.counter(self.tree, env.transaction)?)
                }
            };
            key::encode_rowid(next_row_id(counter)?, &mut self.key);
        }
        Ok(true)
    }

    /// Puts the row at hand into the table; false: somebody else has locked its key.
    fn place(&mut self, plan: &CopyFromPlan, env: &mut Env<'_>) -> Result<bool> {
        if let Target::Pages(load) = &mut self.target {
            if load.add(&self.key, &self.row)? {
                return Ok(true);
            }
            self.leave_order(env)?;
        }
        if let Target::Sorted(sorted) = &mut self.target {
            sorted.push(&self.key, self.decoder.line(), &self.row)?;
            return Ok(true);
        }
        let tree = self.tree;
        if plan.table.primary_key.is_some() {
            if !self.alone && !env.lock_row(tree, &self.key)? {
                return Ok(false);
            }
            if env.transaction.get_locked(tree, &self.key)?.is_some() {
                return Err(duplicate(plan, self.decoder.line(), &self.row));
            }
        }
        env.transaction.put(tree, &self.key, &self.row)?;
        Ok(true)
    }

    /// The row at hand is the first that is not in order.
    fn leave_order(&mut self, env: &mut Env<'_>) -> Result<()> {
        if let Target::Pages(load) = std::mem::replace(&mut self.target, Target::Rows)
            && load.finish()? < MOSTLY_ORDERED
        {
            self.target = Target::Sorted(Box::new(SortedLoad::of_what_is_in(self.tree, env)?));
        }
        Ok(())
    }
}

fn duplicate(plan: &CopyFromPlan, line: u64, row: &[u8]) -> Failure {
    let failure = Failure::from(unique_violation(&plan.table, row));
    failure.context(format!("COPY {}, line {line}", plan.table.name))
}

impl SqlSession {
    /// Takes a piece of the data, and places the rows that it completes.
    pub(super) fn take_copy_data(&mut self, portal: &mut Portal, data: &[u8]) -> Result<Step> {
        let PlanNode::CopyFrom(plan) = &portal.planned.plan.node else { return Err(no_copy()) };
        let format = CopyFromRun::format(plan);
        let run = copy(portal)?;
        run.taken += data.len();
        run.decoder.feed(data)?;
        let mut nothing = Vec::new();
        match self.step_portal(portal, &mut nothing, &mut u64::MAX.clone())? {
            Step::CopyIn(_) => Ok(Step::CopyIn(format)),
            other => Ok(other),
        }
    }

    pub(super) fn end_copy_data(portal: &mut Portal) -> Result<()> {
        let copy = copy(portal)?;
        copy.decoder.end();
        copy.ended = true;
        Ok(())
    }
}

fn copy(portal: &mut Portal) -> Result<&mut CopyFromRun> {
    match &mut portal.work {
        Work::CopyFrom(run) => Ok(run),
        _ => Err(no_copy()),
    }
}

fn no_copy() -> Failure {
    Failure::new("08P01", "COPY data for a statement that takes none")
}
