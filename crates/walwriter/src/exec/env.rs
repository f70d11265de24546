//! What a statement is executed with.

use std::task::Waker;

use engine::lock::{LockMode, Locked};
use engine::{Transaction, TreeId};
use sql::{EvalContext, TableDef, Value};

use super::context::Context;
use super::sort::Sorter;
use super::{Failure, Result};
use crate::catalog::Changes;

/// The transaction and its surroundings, for one step of one statement.
pub(super) struct Env<'a> {
    pub(super) transaction: &'a mut Transaction,
    pub(super) context: &'a Context<'a>,
    pub(super) params: &'a [Value<'static>],
    pub(super) waker: &'a Waker,
    /// What the transaction has changed of the tables.
    pub(super) changes: &'a mut Changes,
    /// Trees that the transaction has locked in order to write to them.
    pub(super) writing: &'a mut Vec<TreeId>,
    /// Rows may go straight into trees of this transaction: there is no savepoint to go back to.
    pub(super) can_load: bool,
}

/// How far a statement has got in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// To its end.
    Done,
    /// It has produced as many rows as were asked for.
    Full,
    /// To the end of its time slice.
    Spent,
    /// To a lock that somebody else holds.
    Blocked,
    /// To a tree that was dropped by a commit that is not visible yet: it has to begin anew.
    Stale,
}

impl<'a> Env<'a> {
    /// For evaluating expressions without a row. Does not borrow the rest.
    pub(super) fn expressions(&self) -> EvalContext<'a> {
        EvalContext::new(self.params, self.context)
    }

    /// Makes sure that nobody drops a tree while this transaction writes to it.
    pub(super) fn lock_for_writing(&mut self, table: &TableDef) -> Result<Option<Progress>> {
        let tree = TreeId::new(table.tree);
        if self.writing.contains(&tree) {
            return Ok(None);
        }
        if self.changes.created.contains(&tree) {
            self.changes.untouched.retain(|untouched| *untouched != tree);
            return Ok(None);
        }
        if self.transaction.lock_tree(tree, LockMode::Shared, self.waker)? == Locked::Wait {
            return Ok(Some(Progress::Blocked));
        }
        if let Some(lsn) = self.context.shared.catalog.dropped_at(tree) {
            let snapshot = self.transaction.snapshot_lsn();
            if snapshot < lsn && self.transaction.isolation() == engine::Isolation::RepeatableRead {
                let message = "could not serialize access due to concurrent change of a table's definition";
                return Err(Failure::new("40001", message));
            }
            return Ok(Some(Progress::Stale));
        }
        self.writing.push(tree);
        Ok(None)
    }

    /// Asks for a row; false: somebody else has it.
    #[inline]
    pub(super) fn lock_row(&mut self, tree: TreeId, key: &[u8]) -> Result<bool> {
        Ok(self.transaction.lock_row(tree, key, self.waker)? == Locked::Granted)
    }

    /// What views are made of.
    pub(super) fn sources(&self) -> crate::views::Sources<'_> {
        crate::views::Sources { context: self.context, changes: self.changes }
    }

    /// For the first `wanted` rows in order.
    pub(super) fn sorter(&self, wanted: u64) -> Sorter {
        Sorter::new(self.work_mem(), self.context.shared.host.temporary_files(), wanted)
    }

    /// Memory for sorting and grouping.
    pub(super) fn work_mem(&self) -> usize {
        self.context.session.settings.borrow().bytes("work_mem")
    }
}
