//! Portals: statements with their arguments, executed step by step.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use engine::Isolation;
use sql::copy::CopyEncoder;
use sql::types::binary;
use sql::{PlanNode, Value};

use super::begin::{begin, takes_writes};
use super::block::Open;
use super::context::Context;
use super::copy_from::CopyFromRun;
use super::ddl::{self, DdlRun};
use super::env::{Env, Progress};
use super::held::Held;
use super::insert::InsertRun;
use super::modify::{Change, ModifyRun};
use super::output::RowFormat;
use super::prepared::{Planned, Prepared};
use super::select::SelectRun;
use super::session::SqlSession;
use super::slice::Slice;
use super::utility::UtilityRun;
use super::{Failure, Result};
use crate::protocol::{Arguments, Format};
use crate::session::{CommandTag, ResultFormats, Step};

/// One execution of a statement.
pub struct Portal {
    pub(super) prepared: Arc<Prepared>,
    /// Decided when it begins to run, and kept until it ends.
    pub(super) planned: Arc<Planned>,
    pub(super) params: Vec<Value<'static>>,
    pub(super) formats: ResultFormats,
    pub(super) work: Work,
    /// Rows that a statement that changes rows has returned, and that nobody has asked for yet.
    held: Held,
    /// Since when it waits for a lock.
    blocked_since: Option<Instant>,
}

/// What a portal is doing.
pub(super) enum Work {
    /// Nothing yet.
    Begin,
    Select(Box<SelectRun>),
    CopyTo(Box<SelectRun>, bool),
    Insert(Box<InsertRun>),
    Modify(Box<ModifyRun>),
    CopyFrom(Box<CopyFromRun>),
    Ddl(Box<DdlRun>),
    Utility(UtilityRun),
    /// It has run to its end; its tag.
    Ended(CommandTag),
}

impl std::fmt::Debug for Portal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Portal").field("prepared", &self.prepared).finish_non_exhaustive()
    }
}

impl SqlSession {
    pub(super) fn bind_portal(
        &mut self,
        prepared: &Arc<Prepared>,
        arguments: Arguments<'_>,
        results: &ResultFormats,
    ) -> Result<Portal> {
        let planned = prepared.planned();
        if !prepared.has_literals {
            self.begin_activity(&prepared.statement.text);
        }
        if self.failed {
            self.check_block(super::statements::utility(&prepared.statement))?;
        }
        if prepared.has_literals {
            let literals = std::mem::take(&mut self.literals);
            return Ok(Portal::new(Arc::clone(prepared), planned, literals, results.clone()));
        }
        let mut params = Vec::with_capacity(planned.plan.params.len());
        for (number, ((format, bytes), ty)) in arguments.zip(&planned.plan.params).enumerate() {
            params.push(match bytes {
                None => Value::Null,
                Some(bytes) => binary::parse_format(*ty, bytes, format == Format::Binary)
                    .map_err(|error| {
                        Failure::from(error).context(format!("unnamed portal parameter ${}", number + 1))
                    })?
                    .into_owned(),
            });
        }
        Ok(Portal::new(Arc::clone(prepared), planned, params, results.clone()))
    }

    /// Executes a portal, or goes on with it.
    pub(super) fn step_portal(
        &mut self,
        portal: &mut Portal,
        out: &mut Vec<u8>,
        rows_left: &mut u64,
    ) -> Result<Step> {
        if let PlanNode::Utility(utility) = &portal.planned.plan.node {
            self.check_block(Some(utility))?;
            return self.step_utility(portal, out, rows_left);
        }
        self.check_block(None)?;
        let stepped = self.step_plan(portal, out, rows_left);
        if stepped.is_err()
            && let Some(then) = self.info.retry_at.take()
        {
            // Not an error: a function waits, and what it was evaluated for is evaluated again.
            return Ok(Step::Blocked { until: Some(then) });
        }
        stepped
    }

    fn step_plan(&mut self, portal: &mut Portal, out: &mut Vec<u8>, rows_left: &mut u64) -> Result<Step> {
        if matches!(portal.work, Work::Begin) {
            self.begin_statement()?;
            portal.planned = self.current_plan(&portal.prepared)?;
            if portal.planned.shows_tables {
                self.await_recovered();
            }
        }
        let Self { shared, info, open, tables, .. } = self;
        let Some(open) = open else {
            return Err(Failure::new("34000", "the portal's transaction has ended"));
        };
        if takes_writes(&portal.planned.plan.node)
            && !open.transaction.is_read_only()
            && !shared.engine.admits_writes(&info.waker)
        {
            return Ok(Step::Blocked { until: None });
        }
        let Open { transaction, changes, writing, savepoints, .. } = open;
        let context = Context { shared, session: info, tables };
        let mut env = Env {
            transaction,
            context: &context,
            params: &portal.params,
            waker: &info.waker,
            changes,
            writing,
            can_load: savepoints.is_empty(),
        };
        let planned = Arc::clone(&portal.planned);
        if matches!(portal.work, Work::Begin) {
            portal.work = begin(&planned.plan.node, &env)?;
        }
        let mut slice = Slice::new(out.len());
        let columns = &planned.plan.columns;
        let wire = RowFormat::Wire { columns, formats: &portal.formats };
        let progress = match (&mut portal.work, &planned.plan.node) {
            (Work::Select(run), PlanNode::Select(plan)) => {
                let progress = run.advance(plan, &mut env, wire, out, rows_left, &mut slice)?;
                match progress {
                    Progress::Done => return Ok(Step::Done(CommandTag::Rows("SELECT", run.produced))),
                    Progress::Full => run.produced = 0,
                    _ => {}
                }
                progress
            }
            (Work::CopyTo(run, begun), PlanNode::CopyTo(plan)) => {
                if !std::mem::replace(begun, true) {
                    let format = super::copy_to::format(&plan.options, columns.len());
                    super::copy_to::append_header(columns, &plan.options, out);
                    return Ok(Step::CopyOut(format));
                }
                let encoder = CopyEncoder::new(plan.options.clone());
                let encoder = if run.produced > 0 { encoder.behind_rows() } else { encoder };
                let encoder = RefCell::new(encoder);
                let format = RowFormat::Copy { columns, encoder: &encoder };
                let mut all = u64::MAX;
                match run.advance(&plan.query, &mut env, format, out, &mut all, &mut slice)? {
                    Progress::Done => {
                        super::copy_to::append_trailer(&mut encoder.borrow_mut(), &plan.options, out);
                        return Ok(Step::Done(CommandTag::Rows("COPY", run.produced)));
                    }
                    progress => progress,
                }
            }
            (Work::Insert(run), PlanNode::Insert(plan)) => {
                let limited = *rows_left != u64::MAX && plan.returning.is_some();
                let target = if limited { &mut portal.held.bytes } else { &mut *out };
                let progress = run.advance(plan, &mut env, wire, target, &mut slice)?;
                if progress == Progress::Done {
                    portal.work = Work::Ended(CommandTag::Insert(run.count));
                }
                progress
            }
            (Work::Modify(run), node) => {
                let (change, name) = match node {
                    PlanNode::Update(plan) => (Change::Update(plan), "UPDATE"),
                    PlanNode::Delete(plan) => (Change::Delete(plan), "DELETE"),
                    _ => return Err(Failure::new("XX000", "plan changed under its execution")),
                };
                let limited = *rows_left != u64::MAX && change.returning().is_some();
                let target = if limited { &mut portal.held.bytes } else { &mut *out };
                let progress = run.advance(change, &mut env, wire, target, &mut slice)?;
                if progress == Progress::Done {
                    portal.work = Work::Ended(CommandTag::Rows(name, run.count));
                }
                progress
            }
            (Work::CopyFrom(run), PlanNode::CopyFrom(plan)) => {
                match run.advance(plan, &mut env, &mut slice)? {
                    Progress::Done => return Ok(Step::Done(CommandTag::Rows("COPY", run.count))),
                    Progress::Full => return Ok(Step::CopyIn(CopyFromRun::format(plan))),
                    progress => progress,
                }
            }
            (Work::Ddl(run), node) => {
                let progress = ddl::advance(run, node, &mut env, out, &mut slice)?;
                if progress == Progress::Done {
                    let name = ddl::tag(node);
                    self.tables_changed();
                    return Ok(Step::Done(CommandTag::Name(name)));
                }
                progress
            }
            (Work::Ended(_), _) => Progress::Done,
            _ => return Err(Failure::new("XX000", "plan changed under its execution")),
        };
        self.answer(portal, progress, out, rows_left)
    }

    /// What the server is told of a step.
    fn answer(
        &mut self,
        portal: &mut Portal,
        progress: Progress,
        out: &mut Vec<u8>,
        rows_left: &mut u64,
    ) -> Result<Step> {
        self.info.activity.awaits_lock(progress == Progress::Blocked);
        if progress != Progress::Blocked {
            portal.blocked_since = None;
        }
        match progress {
            Progress::Done => Ok(match portal.work {
                Work::Ended(tag) if portal.held.emit(out, rows_left) => Step::Done(tag),
                _ => Step::Suspended,
            }),
            Progress::Full => Ok(Step::Suspended),
            Progress::Spent => Ok(Step::Yield),
            Progress::Blocked => {
                let timeout = self.info.settings.borrow().duration("lock_timeout");
                let since = *portal.blocked_since.get_or_insert_with(Instant::now);
                let until = timeout.and_then(|timeout| since.checked_add(timeout));
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Err(Failure::new("55P03", "canceling statement due to lock timeout"));
                }
                Ok(Step::Blocked { until })
            }
            Progress::Stale => {
                // Nothing is written yet: from the beginning, with the tables as they are by then.
                portal.work = Work::Begin;
                let serial = self.open.as_ref().map(|open| open.transaction.isolation());
                assert_ne!(serial, Some(Isolation::RepeatableRead));
                Ok(Step::Yield)
            }
        }
    }
}

impl Portal {
    pub(super) fn new(
        prepared: Arc<Prepared>,
        planned: Arc<Planned>,
        params: Vec<Value<'static>>,
        formats: ResultFormats,
    ) -> Self {
        let (held, blocked_since) = (Held::default(), None);
        Self { prepared, planned, params, formats, work: Work::Begin, held, blocked_since }
    }
}
