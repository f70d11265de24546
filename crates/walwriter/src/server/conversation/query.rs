//! The simple query protocol: a text of statements, executed one after the other.

use super::failure::error;
use super::named::OpenPortal;
use super::{Conversation, Progress};
use crate::protocol::{Arguments, ResultFormats, backend};
use crate::session::{Session, SessionError};

impl<S: Session> Conversation<S> {
    /// Takes the text of a Query apart; its statements are executed from the next piece of work on.
    pub(super) fn query(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), SessionError> {
        self.extended.forget_unnamed();
        self.session.parse(text, &mut self.cycle.queue)?;
        if self.cycle.queue.is_empty() {
            backend::empty_query(out);
        }
        Ok(())
    }

    /// Starts the next statement of a Query.
    pub(super) fn next_statement(&mut self, out: &mut Vec<u8>) -> Option<Progress> {
        let Some(statement) = self.cycle.queue.pop_front() else { return self.settle(out) };
        match self.start(statement) {
            Ok(portal) => {
                let description = S::describe(&portal.prepared);
                if description.columns().is_some() {
                    description.put(out, &portal.formats);
                }
                self.begin_running(portal, None, u64::MAX);
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
}
