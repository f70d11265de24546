//! COPY while a portal of it runs: whose turn it is, and the messages that carry its data.
//!
//! A COPY FROM alternates between [`Copying::In`], in which messages are read and their data handed to the session, and
//! [`Copying::InBusy`], in which the session works on what it was given and nothing is read. Source:
//! `commands/copyfromparse.c` (`CopyGetData`).

use replication::error::{ServerError, SqlState};

use super::failure::error;
use super::{Conversation, Progress};
use crate::protocol::FrontendMessage;
use crate::session::{Session, SessionError, Step};

/// What a running COPY does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copying {
    /// It is none, or has not begun.
    No,
    /// Waits for data.
    In,
    /// Has data to work on.
    InBusy,
    /// Produces data.
    Out,
}

impl<S: Session> Conversation<S> {
    /// Hands a piece of CopyData to the COPY that runs. Without one, it belongs to one that failed, and goes nowhere.
    ///
    /// A request to stop it is heard here: while data keep coming in small pieces, the session may be given no other step.
    pub(super) fn take_copy_data(&mut self, piece: &[u8]) -> Result<(), SessionError> {
        if self.running.is_none() {
            return Ok(());
        }
        self.check_interrupts()?;
        if let Some(running) = &mut self.running
            && let Some(execution) = &mut running.portal.execution
        {
            match self.session.copy_data(execution, piece)? {
                Step::CopyIn(_) => {}
                _ => running.copy = Copying::InBusy,
            }
        }
        Ok(())
    }

    /// A message other than CopyData while a COPY waits for data.
    pub(super) fn during_copy(
        &mut self,
        tag: u8,
        message: FrontendMessage<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Progress> {
        match message {
            FrontendMessage::CopyDone => {
                let running = self.running.as_mut()?;
                running.copy = Copying::InBusy;
                let done = self.session.copy_done(running.portal.execution.as_mut()?);
                done.err().and_then(|error| self.report_and_go_on(out, &error))
            }
            FrontendMessage::CopyFail(reason) => {
                let message = format!("COPY from stdin failed: {reason}");
                self.report_and_go_on(out, &error("57014", message))
            }
            // Sent by clients that do not know yet that this is a COPY.
            FrontendMessage::Flush | FrontendMessage::Sync => None,
            FrontendMessage::Terminate => Some(Progress::Close),
            _ => {
                let message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
                self.report_and_go_on(out, &ServerError::error(SqlState::PROTOCOL_VIOLATION, message))
            }
        }
    }
}
