//! Statements about the session and the server: transaction control, settings, PREPARE, CHECKPOINT.

use std::sync::Arc;

use replication::error::ServerError;
use sql::parse::{IsolationLevel, TransactionModes, Utility};
use sql::plan::OutputColumn;
use sql::{PlanNode, Type, Value};

use super::block::Characteristics;
use super::checkpoint::Checkpoint;
use super::context::Context;
use super::portal::{Portal, Work};
use super::session::SqlSession;
use super::{Failure, Result};
use crate::protocol::backend::{self, DataRow};
use crate::session::{CommandTag, Step};
use crate::settings::{self, DEFINITIONS};

/// A utility statement that takes more than one step.
pub(super) enum UtilityRun {
    Checkpoint(Checkpoint),
    Execute(Box<Portal>),
    /// COMMIT of a transaction that is like that.
    Commit(Characteristics),
}

impl SqlSession {
    pub(super) fn step_utility(
        &mut self,
        portal: &mut Portal,
        out: &mut Vec<u8>,
        rows_left: &mut u64,
    ) -> Result<Step> {
        let planned = Arc::clone(&portal.planned);
        let PlanNode::Utility(utility) = &planned.plan.node else {
            return Err(Failure::new("XX000", "plan is no utility statement"));
        };
        let mut tag = CommandTag::Name(utility.tag());
        match utility {
            Utility::Empty => tag = CommandTag::Empty,
            Utility::Begin(modes, _) => {
                if self.begin_block(*modes)? {
                    self.warn("25001", "there is already a transaction in progress", out);
                }
            }
            Utility::Commit { chain } => return self.step_commit(portal, *chain, out),
            Utility::Rollback { chain } => tag = CommandTag::Name(self.step_rollback(*chain, out)?),
            Utility::Savepoint(name) => self.savepoint(name)?,
            Utility::RollbackTo(name) => self.rollback_to(name)?,
            Utility::Release(name) => self.release(name)?,
            Utility::SetTransaction(modes) => {
                if self.open.as_ref().is_none_or(|open| open.implicit) {
                    let message = "SET TRANSACTION can only be used in transaction blocks";
                    self.warn("25P01", message, out);
                }
                self.set_transaction(*modes)?;
            }
            Utility::SetCharacteristics(modes) => self.set_characteristics(*modes)?,
            Utility::Set { name, value, local } => self.set(name, value.as_deref(), *local, out)?,
            Utility::Reset(name) if name == "all" => {
                self.info.settings.get_mut().reset_all();
                self.settle_settings();
            }
            Utility::Reset(name) => self.set(name, None, false, out)?,
            Utility::Show(name) => return self.show(name, portal, out, rows_left),
            Utility::Discard(what) => self.discard(what)?,
            Utility::Checkpoint => return self.checkpoint(portal),
            Utility::Prepare(name, types, text) => self.prepare_named(name, types, text)?,
            Utility::Execute(name, arguments) => {
                return self.execute_named(name, arguments, portal, out, rows_left);
            }
            Utility::Deallocate(Some(name)) => {
                self.named.remove(name).ok_or_else(|| super::named::no_prepared(name))?;
            }
            Utility::Deallocate(None) => self.named.clear(),
            Utility::NoEffect(_) => {}
        }
        Ok(Step::Done(tag))
    }

    pub(super) fn warn(&self, sqlstate: &str, message: &str, out: &mut Vec<u8>) {
        if self.info.settings.borrow().overridden("client_min_messages") != Some("error") {
            let code = super::failure::code(sqlstate);
            backend::notice(out, &ServerError::with_severity("WARNING", code, message));
        }
    }

    fn set_characteristics(&mut self, modes: TransactionModes) -> Result<()> {
        let settings = self.info.settings.get_mut();
        if let Some(level) = modes.isolation {
            let name = match level {
                IsolationLevel::ReadCommitted => "read committed",
                IsolationLevel::RepeatableRead => "repeatable read",
                IsolationLevel::Serializable => "serializable",
            };
            settings.set("default_transaction_isolation", Some(name), false)?;
        }
        if let Some(read_only) = modes.read_only {
            let value = if read_only { "on" } else { "off" };
            settings.set("default_transaction_read_only", Some(value), false)?;
        }
        self.settle_settings();
        Ok(())
    }

    /// Outside of a transaction a setting counts at once and for good.
    fn settle_settings(&mut self) {
        if self.open.is_none() {
            self.info.settings.get_mut().end_transaction(true);
        }
    }

    fn set(&mut self, name: &str, value: Option<&str>, local: bool, out: &mut Vec<u8>) -> Result<()> {
        match (name, value) {
            ("session_authorization" | "role", None | Some("none")) => return Ok(()),
            ("session_authorization" | "role", Some(role)) if role == self.info.user => return Ok(()),
            ("session_authorization" | "role", Some(role)) => {
                return Err(Failure::new("22023", format!("role \"{role}\" does not exist")));
            }
            ("transaction_isolation", Some(level)) => {
                let level = match level.to_ascii_lowercase().as_str() {
                    "read committed" | "read uncommitted" => IsolationLevel::ReadCommitted,
                    "repeatable read" => IsolationLevel::RepeatableRead,
                    "serializable" => IsolationLevel::Serializable,
                    _ => {
                        let message =
                            format!("invalid value for parameter \"transaction_isolation\": \"{level}\"");
                        return Err(Failure::new("22023", message));
                    }
                };
                return self
                    .set_transaction(TransactionModes { isolation: Some(level), ..Default::default() });
            }
            ("transaction_read_only", Some(value)) => {
                let read_only = crate::config::boolean(value).ok_or_else(|| {
                    Failure::new("22023", "parameter \"transaction_read_only\" requires a Boolean value")
                })?;
                let modes = TransactionModes { read_only: Some(read_only), ..Default::default() };
                return self.set_transaction(modes);
            }
            ("transaction_deferrable", Some(_)) => return Ok(()),
            _ => {}
        }
        if local && self.open.as_ref().is_none_or(|open| open.implicit) {
            self.warn("25P01", "SET LOCAL can only be used in transaction blocks", out);
        }
        if settings::find(name).is_none() && self.shared.host.setting(name).is_some() {
            let message = format!("parameter \"{name}\" cannot be changed now");
            return Err(Failure::new("55P02", message));
        }
        self.info.settings.get_mut().set(name, value, local)?;
        self.settle_settings();
        Ok(())
    }

    /// The name of a setting as its definition has it.
    pub(super) fn shown_name(&self, name: &str) -> String {
        settings::find(name).map_or_else(|| name.to_owned(), |definition| definition.name.to_owned())
    }

    fn show(
        &mut self,
        name: &str,
        portal: &mut Portal,
        out: &mut Vec<u8>,
        rows_left: &mut u64,
    ) -> Result<Step> {
        let rows = if name == "all" { self.show_all() } else { vec![vec![self.shown_value(name)?]] };
        let column = OutputColumn { name: String::new(), ty: Type::Text, table: 0, attribute: 0 };
        for row in rows {
            let mut message = DataRow::begin(out, row.len() as u16);
            for (number, value) in row.into_iter().enumerate() {
                let value = Value::owned_text(value);
                super::output::append_value(&mut message, &value, &column, portal.formats.of(number));
            }
            message.finish();
            *rows_left = rows_left.saturating_sub(1);
        }
        Ok(Step::Done(CommandTag::Name("SHOW")))
    }

    /// A setting's value, those of the transaction included.
    pub(super) fn shown_value(&self, name: &str) -> Result<String> {
        let characteristics = self.characteristics();
        match name.to_ascii_lowercase().as_str() {
            "transaction_isolation" => {
                return Ok(match characteristics?.isolation {
                    engine::Isolation::ReadCommitted => "read committed".to_owned(),
                    engine::Isolation::RepeatableRead => "repeatable read".to_owned(),
                });
            }
            "transaction_read_only" => {
                let read_only = characteristics?.read_only || self.shared.engine.is_read_only();
                return Ok(if read_only { "on" } else { "off" }.to_owned());
            }
            _ => {}
        }
        let context = Context { shared: &self.shared, session: &self.info, tables: &self.tables };
        context.show(name).ok_or_else(|| settings::unknown(name))
    }

    fn show_all(&self) -> Vec<Vec<String>> {
        let mut rows: Vec<Vec<String>> = DEFINITIONS
            .iter()
            .map(|definition| {
                let value = self.shown_value(definition.name).unwrap_or_default();
                vec![definition.name.to_owned(), value, definition.description.to_owned()]
            })
            .collect();
        let known = |name: &str| settings::find(name).is_some();
        let host = self.shared.host.settings().into_iter().filter(|setting| !known(&setting.name));
        rows.extend(host.map(|setting| vec![setting.name, setting.value, setting.description]));
        rows.sort_by_key(|row| row.first().map(|name| name.to_ascii_lowercase()));
        rows
    }

    fn discard(&mut self, what: &str) -> Result<()> {
        match what {
            "all" if self.open.is_some() => {
                return Err(Failure::new("25001", "DISCARD ALL cannot run inside a transaction block"));
            }
            "all" => {
                self.info.settings.get_mut().reset_all();
                self.settle_settings();
                self.named.clear();
                self.cache.clear();
                self.discard_temporary()?;
            }
            "plans" => self.cache.clear(),
            "temp" | "temporary" if self.open.is_some() => {
                return Err(Failure::new(
                    "0A000",
                    "DISCARD TEMP inside a transaction block is not supported",
                ));
            }
            "temp" | "temporary" => self.discard_temporary()?,
            _ => {}
        }
        Ok(())
    }

    fn checkpoint(&self, portal: &mut Portal) -> Result<Step> {
        if let Work::Utility(UtilityRun::Checkpoint(checkpoint)) = &portal.work {
            return match checkpoint.poll() {
                Some(outcome) => outcome.map(|()| Step::Done(CommandTag::Name("CHECKPOINT"))),
                None => Ok(Step::Blocked { until: None }),
            };
        }
        let checkpoint = Checkpoint::start(Arc::clone(&self.shared.host), self.info.waker.clone())?;
        portal.work = Work::Utility(UtilityRun::Checkpoint(checkpoint));
        Ok(Step::Blocked { until: None })
    }
}
