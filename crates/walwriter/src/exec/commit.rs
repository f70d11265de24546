//! The end of a transaction: COMMIT and ROLLBACK, and the commit behind every statement outside of a block.
//!
//! A commit that would hold up its thread does not: it waits until it may begin, and a large one is made by another
//! thread. The session is woken then, and asks again.

use std::sync::Arc;

use engine::{Commit, EngineError, PendingCommit, Transaction};
use sql::parse::{IsolationLevel, TransactionModes};
use wal::Lsn;

use super::block::{Characteristics, Open};
use super::portal::{Portal, Work};
use super::session::SqlSession;
use super::utility::UtilityRun;
use super::{Failure, Result};
use crate::catalog::{Catalog, Changes};
use crate::session::{CommandTag, Gate, GateReason, Settled, Step};

/// A transaction whose commit another thread makes.
pub(super) struct Committing {
    pending: PendingCommit,
    changes: Changes,
    /// What it has read of others.
    read_gate: Lsn,
}

impl SqlSession {
    /// Commits the open transaction, if there is one. To be called again when it is woken if it has to wait.
    pub(super) fn commit(&mut self) -> Result<Settled> {
        if let Some(mut committing) = self.committing.take() {
            let Some(outcome) = committing.pending.poll() else {
                self.committing = Some(committing);
                return Ok(Settled::Blocked);
            };
            return self.committed(outcome, &committing.changes, committing.read_gate);
        }
        let engine = &self.shared.engine;
        match &self.open {
            None => return Ok(Settled::Done),
            Some(open) if open.transaction.has_written() && !engine.admits_writes(&self.info.waker) => {
                return Ok(Settled::Blocked);
            }
            Some(_) => {}
        }
        let Some(Open { mut transaction, mut changes, .. }) = self.open.take() else {
            return Ok(Settled::Done);
        };
        if let Err(failure) = super::ddl::drop_on_commit(&mut transaction, &mut changes) {
            self.info.settings.get_mut().end_transaction(false);
            return Err(failure);
        }
        let read_gate = transaction.read_gate();
        if !transaction.is_large() {
            let outcome = commit(&self.shared.catalog, transaction, &changes);
            return self.committed(outcome, &changes, read_gate);
        }
        let (shared, theirs) = (Arc::clone(&self.shared), changes.clone());
        let work = move || commit(&shared.catalog, transaction, &theirs);
        let pending = engine.commit_aside(self.info.waker.clone(), work).map_err(|error| {
            self.info.settings.get_mut().end_transaction(false);
            Failure::new("53000", format!("could not start a thread for a large commit: {error}"))
        })?;
        self.committing = Some(Committing { pending, changes, read_gate });
        Ok(Settled::Blocked)
    }

    /// The transaction has ended with a COMMIT.
    fn committed(
        &mut self,
        outcome: std::result::Result<Commit, EngineError>,
        changes: &Changes,
        read_gate: Lsn,
    ) -> Result<Settled> {
        // Before a SET LOCAL ends with the transaction.
        let awaited = self.awaited();
        let read_gate = if read_gate.is_valid() { self.read_gate(read_gate) } else { None };
        self.info.settings.get_mut().end_transaction(outcome.is_ok());
        let commit = outcome?;
        if commit.lsn.is_valid() {
            self.own_commit = self.own_commit.max(commit.lsn);
            self.recovered = None;
            self.gate = awaited.map(|awaited| Gate { lsn: commit.lsn, awaited, reason: GateReason::Commit });
        } else if read_gate.is_some() {
            self.gate = read_gate;
        }
        if !changes.dropped.is_empty() {
            for tree in &changes.dropped {
                self.shared.catalog.row_ids.forget(*tree);
            }
            self.shared.catalog.forget_dropped(self.shared.engine.snapshots().oldest());
        }
        Ok(Settled::Done)
    }

    /// COMMIT and ROLLBACK: whether it will be a commit, and what the transaction is like.
    fn begin_end(&self, commit: bool, chain: bool, out: &mut Vec<u8>) -> Result<(bool, Characteristics)> {
        let in_block = self.failed || self.open.as_ref().is_some_and(|open| !open.implicit);
        if !in_block {
            if chain {
                let what = if commit { "COMMIT AND CHAIN" } else { "ROLLBACK AND CHAIN" };
                let message = format!("{what} can only be used in transaction blocks");
                return Err(Failure::new("25P01", message));
            }
            self.warn("25P01", "there is no transaction in progress", out);
        }
        Ok((commit && !self.failed, self.characteristics()?))
    }

    /// A step of COMMIT: to be repeated as long as the commit waits, or takes.
    pub(super) fn step_commit(
        &mut self,
        portal: &mut Portal,
        chain: bool,
        out: &mut Vec<u8>,
    ) -> Result<Step> {
        if let Work::Utility(UtilityRun::Commit(characteristics)) = portal.work {
            return self.end_commit(characteristics, chain);
        }
        let (commits, characteristics) = self.begin_end(true, chain, out)?;
        if !commits {
            return Ok(Step::Done(CommandTag::Name(self.end_in_rollback(characteristics, chain)?)));
        }
        portal.work = Work::Utility(UtilityRun::Commit(characteristics));
        self.end_commit(characteristics, chain)
    }

    /// ROLLBACK; the command's name.
    pub(super) fn step_rollback(&mut self, chain: bool, out: &mut Vec<u8>) -> Result<&'static str> {
        let (_, characteristics) = self.begin_end(false, chain, out)?;
        self.end_in_rollback(characteristics, chain)
    }

    fn end_commit(&mut self, characteristics: Characteristics, chain: bool) -> Result<Step> {
        if self.commit()? == Settled::Blocked {
            return Ok(Step::Blocked { until: None });
        }
        self.chain(characteristics, chain)?;
        Ok(Step::Done(CommandTag::Name("COMMIT")))
    }

    /// ROLLBACK, or COMMIT of a block that has failed.
    fn end_in_rollback(&mut self, characteristics: Characteristics, chain: bool) -> Result<&'static str> {
        self.rollback();
        self.chain(characteristics, chain)?;
        Ok("ROLLBACK")
    }

    /// AND CHAIN: a block like the one that has ended begins.
    fn chain(&mut self, characteristics: Characteristics, chain: bool) -> Result<()> {
        if chain {
            self.begin_block(TransactionModes {
                isolation: Some(match characteristics.isolation {
                    engine::Isolation::ReadCommitted => IsolationLevel::ReadCommitted,
                    engine::Isolation::RepeatableRead => IsolationLevel::RepeatableRead,
                }),
                read_only: Some(characteristics.read_only),
                deferrable: None,
            })?;
        }
        Ok(())
    }
}

/// Commits a transaction that has made these changes of the tables.
fn commit(
    catalog: &Catalog,
    transaction: Transaction,
    changes: &Changes,
) -> std::result::Result<Commit, EngineError> {
    if changes.is_empty() {
        return transaction.commit();
    }
    catalog.change(&changes.dropped, || transaction.commit(), |commit| commit.lsn)
}
