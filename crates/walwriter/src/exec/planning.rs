//! From statements to plans, and how long plans are good for.
//!
//! A plan is good for the tables that it was made with, which are named by a generation: the catalog's, or one of the
//! transaction's own if that has changed tables itself.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::Isolation;
use sql::parse::Utility;
use sql::{ParsedStatement, PlanNode, Type};

use super::Result;
use super::prepared::{Planned, Prepared, describe, text_column};
use super::session::SqlSession;
use super::statements::utility;
use crate::catalog::PlannerView;
use crate::session::Column;

/// Generations of tables that only one transaction sees are counted from here.
const OWN: u64 = 1 << 62;
static NEXT_OWN: AtomicU64 = AtomicU64::new(OWN);

impl SqlSession {
    /// Plans a statement for the first time.
    pub(super) fn prepare_statement(
        &mut self,
        statement: Arc<ParsedStatement>,
        types: &[Type],
    ) -> Result<Prepared> {
        let planned = self.plan(&statement, types)?;
        let columns = self.result_columns(&planned)?;
        Ok(Prepared::new(statement, planned, columns))
    }

    fn plan(&mut self, statement: &ParsedStatement, types: &[Type]) -> Result<Planned> {
        if utility(statement).is_none() {
            self.refresh_tables()?;
        }
        let none = crate::catalog::Changes::default();
        let changes = self.open.as_ref().map_or(&none, |open| &open.changes);
        let temporary = self.info.temporary.schema();
        let view = PlannerView { tables: &self.tables, changes, temporary, shows_tables: Cell::new(false) };
        let plan = sql::plan(statement, &view, types);
        let shows_tables = view.shows_tables.get();
        if shows_tables {
            self.await_recovered();
        }
        Ok(Planned { plan: plan?, generation: self.generation(), shows_tables })
    }

    /// Names the state of the tables that statements are planned with.
    pub(super) fn generation(&self) -> u64 {
        match &self.open {
            Some(open) if !open.changes.is_empty() => self.own_generation,
            _ => self.tables.generation(),
        }
    }

    /// The transaction has changed tables: plans made before are not for it.
    pub(super) fn tables_changed(&mut self) {
        self.own_generation = NEXT_OWN.fetch_add(1, Ordering::Relaxed);
    }

    /// Brings the tables up to the newest that a statement beginning now would see.
    fn refresh_tables(&mut self) -> Result<()> {
        match &mut self.open {
            Some(open) => {
                open.transaction.begin_statement();
                self.reread_tables()?;
            }
            None => {
                let transaction = self.new_transaction(Isolation::ReadCommitted, true);
                if !self.shared.catalog.is_current(&self.tables, &transaction) {
                    self.tables = self.shared.catalog.tables(&transaction, false)?;
                }
            }
        }
        Ok(())
    }

    /// Brings the tables up to the open transaction's snapshot.
    #[inline]
    fn reread_tables(&mut self) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        if self.shared.catalog.is_current(&self.tables, &open.transaction) {
            return Ok(());
        }
        let changes = !open.changes.is_empty();
        self.tables = self.shared.catalog.tables(&open.transaction, changes)?;
        if changes {
            self.tables_changed();
        }
        Ok(())
    }

    /// The plan of a statement for the snapshot that was just taken.
    #[inline]
    pub(super) fn current_plan(&mut self, prepared: &Prepared) -> Result<Arc<Planned>> {
        let planned = prepared.planned();
        if matches!(planned.plan.node, PlanNode::Utility(_)) {
            return Ok(planned);
        }
        if let Some(open) = &self.open {
            // First the snapshot, then the look at what tables are the newest.
            open.transaction.snapshot_lsn();
            self.reread_tables()?;
        }
        if planned.generation == self.generation() && planned.generation != crate::catalog::NO_GENERATION {
            return Ok(planned);
        }
        self.plan_again(prepared)
    }

    /// Plans anew, if the tables are others than before.
    pub(super) fn plan_again(&mut self, prepared: &Prepared) -> Result<Arc<Planned>> {
        let planned = prepared.planned();
        if matches!(planned.plan.node, PlanNode::Utility(_)) {
            return Ok(planned);
        }
        self.refresh_tables()?;
        if planned.generation == self.generation() && planned.generation != crate::catalog::NO_GENERATION {
            return Ok(planned);
        }
        let types = planned.plan.params.clone();
        let planned = self.plan(&prepared.statement, &types)?;
        prepared.replace(planned)
    }

    fn result_columns(&self, planned: &Planned) -> Result<Option<Vec<Column>>> {
        Ok(match &planned.plan.node {
            PlanNode::Utility(Utility::Show(name)) if name == "all" => {
                Some(["name", "setting", "description"].map(text_column).into())
            }
            PlanNode::Utility(Utility::Show(name)) => Some(vec![text_column(&self.shown_name(name))]),
            PlanNode::Utility(Utility::Execute(name, _)) => match self.named.get(name) {
                Some(prepared) => prepared.description.columns().map(<[Column]>::to_vec),
                None => return Err(super::named::no_prepared(name)),
            },
            PlanNode::CopyTo(_) => None,
            PlanNode::Select(_) => Some(describe(&planned.plan.columns)),
            _ if planned.plan.columns.is_empty() => None,
            _ => Some(describe(&planned.plan.columns)),
        })
    }
}
