//! One client's session.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use engine::{Isolation, Transaction};
use sql::Value;
use sql::parse::{Normalized, Utility};
use wal::Lsn;

use super::block::Open;
use super::commit::Committing;
use super::context::{SessionInfo, Shared};
use super::portal::Portal;
use super::prepared::Prepared;
use super::statements::{Statement, StatementCache};
use crate::catalog::Tables;
use crate::protocol::Arguments;
use crate::session::{
    Acknowledgement, Awaited, Description, Gate, GateReason, ResultFormats, Session, SessionError, Settled,
    Step, TransactionStatus,
};
use crate::settings::DEFINITIONS;

/// The state of one connection.
///
/// `failed` and an `open` that is not implicit mean a block; a failed block without savepoints has nothing open.
pub struct SqlSession {
    pub(super) shared: Arc<Shared>,
    pub(super) info: SessionInfo,
    pub(super) open: Option<Open>,
    /// The transaction that was open, while it is being committed on another thread.
    pub(super) committing: Option<Committing>,
    /// The block has failed: everything is refused until it ends.
    pub(super) failed: bool,
    /// The tables that statements were last planned with.
    pub(super) tables: Arc<Tables>,
    /// Names the transaction's own changes of the tables among all there have been.
    pub(super) own_generation: u64,
    /// What the last commit, or what the open transaction has read, makes replies wait for.
    pub(super) gate: Option<Gate>,
    /// The end of the session's last commit, which its next statement sees, confirmed or not.
    pub(super) own_commit: Lsn,
    /// The end of what the server has recovered and nobody has confirmed: replies to the message at hand show some of it.
    pub(super) recovered: Option<Lsn>,
    /// Plans by the text of their statement, for the simple protocol.
    pub(super) cache: StatementCache,
    /// The text at hand without its literals.
    pub(super) normalized: Normalized,
    /// The literals of the statement that was analysed last: for the portal that is bound next.
    pub(super) literals: Vec<Value<'static>>,
    /// What PREPARE has made.
    pub(super) named: HashMap<String, Arc<Prepared>>,
    /// What clients were last told of `in_hot_standby`.
    reported_standby: Cell<bool>,
}

impl std::fmt::Debug for SqlSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlSession").field("process_id", &self.info.process_id).finish_non_exhaustive()
    }
}

impl SqlSession {
    pub(super) fn new(shared: Arc<Shared>, info: SessionInfo) -> Self {
        Self {
            shared,
            info,
            open: None,
            committing: None,
            failed: false,
            tables: Arc::new(Tables::empty()),
            own_generation: 0,
            gate: None,
            own_commit: Lsn::INVALID,
            recovered: None,
            cache: StatementCache::default(),
            normalized: Normalized::default(),
            literals: Vec::new(),
            named: HashMap::new(),
            reported_standby: Cell::new(false),
        }
    }

    /// What the client asks for now begins with the defaults as they are now.
    fn follow_defaults(&mut self) {
        self.info.settings.get_mut().follow(&self.shared.defaults);
    }

    fn setting(&self, name: &'static str) -> String {
        let context = super::Context { shared: &self.shared, session: &self.info, tables: &self.tables };
        context.show(name).unwrap_or_default()
    }

    /// A transaction that sees what this session has committed.
    pub(super) fn new_transaction(&self, isolation: Isolation, read_only: bool) -> Transaction {
        let mut transaction = self.shared.engine.begin(isolation, read_only);
        transaction.see_at_least(self.own_commit);
        transaction
    }

    /// What the client has chosen to wait for (`synchronous_commit`); `None`: for nothing.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        match self.info.settings.borrow().overridden("synchronous_commit") {
            Some("off") => None,
            Some("local") => Some(Awaited::Flush),
            Some("remote_write") => Some(Awaited::Followers(Acknowledgement::Written)),
            Some("remote_apply") => Some(Awaited::Followers(Acknowledgement::Applied)),
            _ => Some(Awaited::Followers(Acknowledgement::Durable)),
        }
    }

    /// What a reply waits for that shows what others have committed up to `lsn`, and what may not be confirmed yet: a client
    /// that does not ask followers about its own commits is content with as little of others'.
    pub(super) fn read_gate(&self, lsn: Lsn) -> Option<Gate> {
        let awaited = match self.awaited()? {
            Awaited::Flush => Awaited::Flush,
            Awaited::Followers(_) | Awaited::Visibility => Awaited::Visibility,
        };
        Some(Gate { lsn, awaited, reason: GateReason::Read })
    }

    /// The reply shows what transactions have made: if some of that was recovered and is not confirmed, it waits. But
    /// what a session has committed itself it sees with all that is before it in the log.
    pub(super) fn await_recovered(&mut self) {
        let recovered = self.shared.engine.unconfirmed_recovery();
        self.recovered = recovered.filter(|&recovered| self.own_commit < recovered);
    }

    /// Lets others know what is executed now.
    pub(super) fn begin_activity(&self, query: &str) {
        let open = self.open.as_ref().map(|_| self.info.transaction_start.get());
        self.info.activity.begin(query, open);
    }

    /// In a failed block nothing is accepted but what ends it.
    pub(super) fn check_block(&self, utility: Option<&Utility>) -> super::Result<()> {
        let ends = matches!(
            utility,
            Some(Utility::Commit { .. } | Utility::Rollback { .. } | Utility::RollbackTo(_) | Utility::Empty)
        );
        if self.failed && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(super::Failure::new("25P02", message));
        }
        Ok(())
    }
}

impl Session for SqlSession {
    type Statement = Statement;
    type Prepared = Prepared;
    type Portal = Portal;

    fn parse(&mut self, text: &str, statements: &mut VecDeque<Statement>) -> Result<(), SessionError> {
        self.follow_defaults();
        self.recovered = None;
        self.parse_text(text, statements).map_err(super::Failure::into_error)
    }

    fn analyse(&mut self, statement: Statement) -> Result<Arc<Prepared>, SessionError> {
        self.recovered = None;
        self.analyse_statement(statement).map_err(super::Failure::into_error)
    }

    fn prepare(&mut self, text: &str, parameter_types: &[u32]) -> Result<Arc<Prepared>, SessionError> {
        self.follow_defaults();
        self.recovered = None;
        self.prepare_text(text, parameter_types).map_err(super::Failure::into_error)
    }

    fn describe(prepared: &Prepared) -> &Description {
        &prepared.description
    }

    fn bind(
        &mut self,
        prepared: &Arc<Prepared>,
        arguments: Arguments<'_>,
        results: &ResultFormats,
    ) -> Result<Portal, SessionError> {
        self.follow_defaults();
        self.recovered = None;
        self.bind_portal(prepared, arguments, results).map_err(super::Failure::into_error)
    }

    fn step(
        &mut self,
        portal: &mut Portal,
        out: &mut Vec<u8>,
        rows_left: &mut u64,
    ) -> Result<Step, SessionError> {
        self.step_portal(portal, out, rows_left).map_err(super::Failure::into_error)
    }

    fn copy_data(&mut self, portal: &mut Portal, data: &[u8]) -> Result<Step, SessionError> {
        self.take_copy_data(portal, data).map_err(super::Failure::into_error)
    }

    fn copy_done(&mut self, portal: &mut Portal) -> Result<(), SessionError> {
        Self::end_copy_data(portal).map_err(super::Failure::into_error)
    }

    fn settle(&mut self, _out: &mut Vec<u8>) -> Result<Settled, SessionError> {
        match &self.open {
            Some(open) if !open.implicit => Ok(Settled::Done),
            _ => self.commit().map_err(super::Failure::into_error),
        }
    }

    fn is_committing(&self) -> bool {
        self.committing.is_some()
    }

    fn fail(&mut self) {
        self.statement_failed();
    }

    fn gate(&self) -> Option<Gate> {
        let recovered = self.recovered.filter(|_| self.shared.engine.unconfirmed_recovery().is_some());
        if let Some(lsn) = recovered {
            return Some(Gate { lsn, awaited: Awaited::Visibility, reason: GateReason::Read });
        }
        let open = self.open.as_ref().map(|open| open.transaction.read_gate());
        match open.filter(|lsn| lsn.is_valid()) {
            Some(lsn) if self.gate.is_none_or(|gate| gate.lsn < lsn) => self.read_gate(lsn),
            _ => self.gate,
        }
    }

    fn withheld(&mut self, withheld: bool) {
        self.info.activity.awaits_standby(withheld);
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status()
    }

    fn report_settings(&mut self, all: bool, report: &mut dyn FnMut(&str, &str)) {
        self.info.activity.rest(self.status(), self.info.transaction_start.get());
        let standby = self.shared.engine.is_read_only();
        let standby_changed = self.reported_standby.replace(standby) != standby;
        if all {
            for definition in DEFINITIONS.iter().filter(|definition| definition.report) {
                report(definition.name, &self.setting(definition.name));
            }
            self.info.settings.get_mut().take_unreported();
            self.info.activity.is_called(&self.setting("application_name"));
            return;
        }
        if standby_changed {
            report("in_hot_standby", &self.setting("in_hot_standby"));
        }
        if self.info.settings.get_mut().has_unreported() {
            for name in self.info.settings.get_mut().take_unreported() {
                let value = self.setting(name);
                if name == "application_name" {
                    self.info.activity.is_called(&value);
                }
                report(name, &value);
            }
        }
    }

    fn statement_timeout(&self) -> Option<Duration> {
        self.info.settings.borrow().duration("statement_timeout")
    }

    fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.info.settings.borrow().duration("idle_in_transaction_session_timeout")
    }

    fn idle_session_timeout(&self) -> Option<Duration> {
        self.info.settings.borrow().duration("idle_session_timeout")
    }
}
