//! Where the protocol goes on after an error: at ReadyForQuery, at the next Sync, or nowhere.

use replication::error::{ServerError, SqlState};

use super::{Conversation, Progress};
use crate::protocol::backend;
use crate::session::{Session, SessionError};

impl<S: Session> Conversation<S> {
    /// Sends an error, and takes the state to where the protocol goes on after it.
    pub(super) fn report(&mut self, out: &mut Vec<u8>, error: &ServerError) -> Progress {
        self.running = None;
        (self.cycle.done, self.cycle.settling) = (None, false);
        self.cycle.queue.clear();
        self.clock.stop();
        if error.is_fatal() {
            return self.farewell(out, error);
        }
        if is_stop(error) {
            self.withheld.take_back_piece(out);
        } else {
            self.withheld.piece_fails(self.session.gate());
        }
        self.session.fail();
        self.interrupts.forget();
        backend::error(out, error);
        if std::mem::take(&mut self.cycle.open) {
            self.ready(out);
        } else {
            self.extended.skipping = true;
        }
        Progress::Yield
    }

    /// [`Conversation::report`], and on with the next message unless the connection is over.
    pub(super) fn report_and_go_on(&mut self, out: &mut Vec<u8>, error: &ServerError) -> Option<Progress> {
        Some(self.report(out, error)).filter(|progress| *progress == Progress::Close)
    }

    /// The last message of a connection. What is held back, or was just appended and may have to be, is not sent any more.
    pub(super) fn farewell(&mut self, out: &mut Vec<u8>, error: &ServerError) -> Progress {
        self.withheld.cut_off(out);
        self.withheld.take_back_piece(out);
        self.running = None;
        self.session.fail();
        backend::error(out, error);
        Progress::Close
    }
}

/// Whether somebody has stopped the statement (class 57, operator intervention), which says nothing of what it has read.
fn is_stop(error: &ServerError) -> bool {
    error.code.as_str().starts_with("57")
}

/// An error with a SQLSTATE that has no name of its own.
pub(super) fn error(code: &str, message: impl Into<String>) -> SessionError {
    Box::new(ServerError::error(SqlState::new(code).unwrap_or(SqlState::INTERNAL_ERROR), message))
}
