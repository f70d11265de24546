//! What a conversation does with each message, while nothing runs.

use std::sync::Arc;

use replication::error::{ServerError, SqlState};

use super::conversation::{Conversation, Copying, Progress, Running};
use super::portal::{OpenPortal, error, no_portal, no_statement};
use crate::protocol::{Arguments, Bind, FrontendMessage, ProtocolError, ResultFormats, Target, backend};
use crate::session::{Session, SessionError};

/// The SQLSTATE of a message that cannot be read.
pub(super) fn code_of(error: ProtocolError) -> SqlState {
    let code = match error {
        ProtocolError::Malformed(_) => "08P01",
        ProtocolError::Encoding => "22021",
        ProtocolError::Format(_) => "22023",
        ProtocolError::Unsupported(_) => "0A000",
    };
    SqlState::new(code).unwrap_or(SqlState::PROTOCOL_VIOLATION)
}

impl<S: Session> Conversation<S> {
    pub(super) fn handle(&mut self, message: FrontendMessage<'_>, out: &mut Vec<u8>) -> Option<Progress> {
        // A request that comes between two statements has nothing to cancel.
        if self.interrupts.pending().is_some() {
            self.interrupts.forget();
        }
        let result = match message {
            FrontendMessage::Query(text) => {
                self.in_query = true;
                self.query(text, out)
            }
            FrontendMessage::Parse { name, text, types } => self.parse(name, text, types, out),
            FrontendMessage::Bind(bind) => self.bind(&bind, out),
            FrontendMessage::Describe(target) => self.describe(target, out),
            FrontendMessage::Execute { portal, max_rows } => self.execute(portal, max_rows),
            FrontendMessage::Close(target) => {
                match target {
                    Target::Statement(name) => drop(self.statements.take(name)),
                    Target::Portal(name) => drop(self.portals.take(name)),
                }
                backend::close_complete(out);
                Ok(())
            }
            FrontendMessage::Sync => {
                self.skipping = false;
                // Whatever happens, ReadyForQuery answers a Sync.
                self.in_query = true;
                return self.settle(out);
            }
            FrontendMessage::FunctionCall => {
                self.in_query = true;
                Err(error("0A000", "the function call protocol is not supported"))
            }
            // Everything that can be sent is sent at the end of each turn.
            FrontendMessage::Flush => Ok(()),
            // The rest of a COPY that failed.
            FrontendMessage::CopyData(_) | FrontendMessage::CopyDone | FrontendMessage::CopyFail(_) => Ok(()),
            FrontendMessage::Terminate => return Some(Progress::Close),
        };
        result.err().and_then(|error| self.report_and_go_on(out, &error))
    }

    fn query(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), SessionError> {
        self.statements.take("");
        self.portals.take("");
        self.session.parse(text, &mut self.queue)?;
        if self.queue.is_empty() {
            backend::empty_query(out);
        }
        Ok(())
    }

    /// Starts the next statement of a Query.
    pub(super) fn next_statement(&mut self, out: &mut Vec<u8>) -> Option<Progress> {
        let Some(statement) = self.queue.pop_front() else { return self.settle(out) };
        match self.start(statement) {
            Ok(portal) => {
                let description = S::describe(&portal.prepared);
                if description.columns().is_some() {
                    description.put(out, &portal.formats);
                }
                self.running = Some(Running { portal, name: None, rows_left: u64::MAX, copy: Copying::No });
                None
            }
            Err(error) => self.report_and_go_on(out, &error),
        }
    }

    fn start(&mut self, statement: S::Statement) -> Result<OpenPortal<S>, SessionError> {
        let prepared = self.session.analyse(statement)?;
        if !S::describe(&prepared).parameter_types().is_empty() {
            return Err(error("42P02", "there is no parameter $1"));
        }
        let formats = ResultFormats::TEXT;
        let execution = Some(self.session.bind(&prepared, Arguments::NONE, &formats)?);
        Ok(OpenPortal { prepared, execution, formats })
    }

    fn parse(&mut self, name: &str, text: &str, types: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        if !name.is_empty() && self.statements.get(name).is_some() {
            return Err(error("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        self.parameter_types.clear();
        self.parameter_types.extend(types.as_chunks::<4>().0.iter().map(|oid| u32::from_be_bytes(*oid)));
        let prepared = self.session.prepare(text, &self.parameter_types)?;
        self.statements.put(name, prepared);
        backend::parse_complete(out);
        Ok(())
    }

    fn bind(&mut self, bind: &Bind<'_>, out: &mut Vec<u8>) -> Result<(), SessionError> {
        let prepared = self.statements.get(bind.statement).ok_or_else(|| no_statement(bind.statement))?;
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
        if !bind.portal.is_empty() && self.portals.get(bind.portal).is_some() {
            return Err(error("42P03", format!("cursor \"{}\" already exists", bind.portal)));
        }
        let formats = bind.result_formats(description.columns().map_or(0, <[_]>::len));
        let formats = formats.map_err(|error| ServerError::error(code_of(error), error.to_string()))?;
        let execution = Some(self.session.bind(&prepared, bind.arguments, &formats)?);
        self.portals.put(bind.portal, OpenPortal { prepared, execution, formats });
        backend::bind_complete(out);
        Ok(())
    }

    fn describe(&mut self, target: Target<'_>, out: &mut Vec<u8>) -> Result<(), SessionError> {
        match target {
            Target::Statement(name) => {
                let prepared = self.statements.get(name).ok_or_else(|| no_statement(name))?;
                let description = S::describe(prepared);
                backend::parameter_description(out, description.parameter_types());
                description.put(out, &ResultFormats::TEXT);
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                S::describe(&portal.prepared).put(out, &portal.formats);
            }
        }
        Ok(())
    }

    fn execute(&mut self, name: &str, max_rows: u32) -> Result<(), SessionError> {
        let portal = self.portals.take(name).ok_or_else(|| no_portal(name))?;
        if portal.execution.is_none() && S::describe(&portal.prepared).columns().is_none() {
            return Err(error("55000", format!("portal \"{name}\" cannot be run")));
        }
        let rows_left = if max_rows == 0 { u64::MAX } else { max_rows.into() };
        self.running = Some(Running { portal, name: Some(name.into()), rows_left, copy: Copying::No });
        Ok(())
    }
}
