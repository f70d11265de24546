//! The extended query protocol: statements and portals that a client prepares, binds and executes by name.
//!
//! Statements live until they are closed, portals at the longest until the transaction ends. After an error, everything
//! is passed over until Sync. Source: `tcop/postgres.c` (`exec_parse_message`, `exec_bind_message`,
//! `exec_execute_message`).

use std::sync::Arc;

use replication::error::ServerError;

use super::Conversation;
use super::failure::error;
use super::named::{Named, OpenPortal};
use super::reading::code_of;
use crate::protocol::{Bind, ResultFormats, Target, backend};
use crate::session::{Session, SessionError};

/// What the messages of a client have made so far.
pub(super) struct Extended<S: Session> {
    statements: Named<Arc<S::Prepared>>,
    /// All but the one that runs, which is taken out meanwhile.
    pub(super) portals: Named<OpenPortal<S>>,
    /// An error was sent: everything is passed over until Sync.
    pub(super) skipping: bool,
    /// Of the Parse at hand; kept for its memory.
    parameter_types: Vec<u32>,
}

impl<S: Session> Extended<S> {
    pub(super) fn new() -> Self {
        Self { statements: Named::new(), portals: Named::new(), skipping: false, parameter_types: Vec::new() }
    }

    /// A Query takes the place of what has no name.
    pub(super) fn forget_unnamed(&mut self) {
        self.statements.take("");
        self.portals.take("");
    }

    pub(super) fn close(&mut self, target: Target<'_>, out: &mut Vec<u8>) {
        match target {
            Target::Statement(name) => drop(self.statements.take(name)),
            Target::Portal(name) => drop(self.portals.take(name)),
        }
        backend::close_complete(out);
    }
}

fn no_statement(name: &str) -> SessionError {
    if name.is_empty() {
        error("26000", "unnamed prepared statement does not exist")
    } else {
        error("26000", format!("prepared statement \"{name}\" does not exist"))
    }
}

fn no_portal(name: &str) -> SessionError {
    error("34000", format!("portal \"{name}\" does not exist"))
}

impl<S: Session> Conversation<S> {
    pub(super) fn parse(
        &mut self,
        name: &str,
        text: &str,
        types: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SessionError> {
        if !name.is_empty() && self.extended.statements.get(name).is_some() {
            return Err(error("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        self.extended.parameter_types.clear();
        self.extended
            .parameter_types
            .extend(types.as_chunks::<4>().0.iter().map(|oid| u32::from_be_bytes(*oid)));
        let prepared = self.session.prepare(text, &self.extended.parameter_types)?;
        self.extended.statements.put(name, prepared);
        backend::parse_complete(out);
        Ok(())
    }

    pub(super) fn bind(&mut self, bind: &Bind<'_>, out: &mut Vec<u8>) -> Result<(), SessionError> {
        let prepared =
            self.extended.statements.get(bind.statement).ok_or_else(|| no_statement(bind.statement))?;
        let prepared = Arc::clone(prepared);
        let description = S::describe(&prepared);
        let (given, needed) = (bind.arguments.len(), description.parameter_types().len());
        if given != needed {
            let name = bind.statement;
            return Err(error(
                "08P01",
                format!(
                    "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {needed}"
                ),
            ));
        }
        if !bind.portal.is_empty() && self.extended.portals.get(bind.portal).is_some() {
            return Err(error("42P03", format!("cursor \"{}\" already exists", bind.portal)));
        }
        let formats = bind.result_formats(description.columns().map_or(0, <[_]>::len));
        let formats = formats.map_err(|error| ServerError::error(code_of(error), error.to_string()))?;
        let execution = Some(self.session.bind(&prepared, bind.arguments, &formats)?);
        self.extended.portals.put(bind.portal, OpenPortal { prepared, execution, formats });
        backend::bind_complete(out);
        Ok(())
    }

    pub(super) fn describe(&mut self, target: Target<'_>, out: &mut Vec<u8>) -> Result<(), SessionError> {
        match target {
            Target::Statement(name) => {
                let prepared = self.extended.statements.get(name).ok_or_else(|| no_statement(name))?;
                let description = S::describe(prepared);
                backend::parameter_description(out, description.parameter_types());
                description.put(out, &ResultFormats::TEXT);
            }
            Target::Portal(name) => {
                let portal = self.extended.portals.get(name).ok_or_else(|| no_portal(name))?;
                S::describe(&portal.prepared).put(out, &portal.formats);
            }
        }
        Ok(())
    }

    pub(super) fn execute(&mut self, name: &str, max_rows: u32) -> Result<(), SessionError> {
        let portal = self.extended.portals.take(name).ok_or_else(|| no_portal(name))?;
        if portal.execution.is_none() && S::describe(&portal.prepared).columns().is_none() {
            return Err(error("55000", format!("portal \"{name}\" cannot be run")));
        }
        let rows_left = if max_rows == 0 { u64::MAX } else { max_rows.into() };
        self.begin_running(portal, Some(name.into()), rows_left);
        Ok(())
    }
}
