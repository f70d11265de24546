//! Taking messages off the input, and who answers which.
//!
//! Invariants: a message is looked at once all of it is there; but CopyData, and what is passed over after an error, goes
//! by in pieces as it arrives, so that a client makes the server hold no more of it than one piece.

use replication::error::{ServerError, SqlState};

use super::failure::error;
use super::{Conversation, Progress};
use crate::protocol::{FrontendMessage, ProtocolError, peek};
use crate::server::input::Input;
use crate::session::Session;

/// How much of a message that goes by in pieces is taken at once.
const PIECE: usize = 64 * 1024;

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
    /// Reads the next message, or the next piece of one.
    pub(super) fn read_message(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Option<Progress> {
        if self.body_left > 0 {
            return self.read_piece(input, out);
        }
        let pending = input.pending();
        let frame = match peek(pending) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Some(Progress::Input(0)),
            Err(error) => {
                let error = ServerError::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string());
                return Some(self.farewell(out, &error));
            }
        };
        let passed_over = self.extended.skipping && !matches!(frame.tag, b'S' | b'X');
        if frame.tag == b'd' || passed_over {
            self.body_left = frame.body_size();
            input.consume(frame.size - frame.body_size());
            return None;
        }
        let Some(body) = frame.body(pending) else { return Some(Progress::Input(frame.size)) };
        let progress = match FrontendMessage::decode(frame.tag, body) {
            Ok(message) if self.running.is_some() => self.during_copy(frame.tag, message, out),
            Ok(message) => self.handle(message, out),
            Err(error) => {
                if self.running.is_none() {
                    // ReadyForQuery answers these, whatever happens, and a Sync is one even so.
                    self.cycle.open = matches!(frame.tag, b'Q' | b'S');
                    self.extended.skipping &= frame.tag != b'S';
                }
                let error = ServerError::error(code_of(error), error.to_string());
                self.report_and_go_on(out, &error)
            }
        };
        input.consume(frame.size);
        progress
    }

    /// A piece of a message whose header was read: of CopyData, or of something that is passed over.
    fn read_piece(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Option<Progress> {
        let pending = input.pending();
        let length = pending.len().min(self.body_left).min(PIECE);
        let Some(piece) = pending.get(..length).filter(|piece| !piece.is_empty()) else {
            return Some(Progress::Input(0));
        };
        let taken = self.take_copy_data(piece);
        self.body_left -= length;
        input.consume(length);
        taken.err().and_then(|error| self.report_and_go_on(out, &error))
    }

    /// A message while nothing runs.
    fn handle(&mut self, message: FrontendMessage<'_>, out: &mut Vec<u8>) -> Option<Progress> {
        // A request that comes between two statements has nothing to cancel.
        if self.interrupts.pending().is_some() {
            self.interrupts.forget();
        }
        let result = match message {
            FrontendMessage::Query(text) => {
                self.cycle.open = true;
                self.query(text, out)
            }
            FrontendMessage::Parse { name, text, types } => self.parse(name, text, types, out),
            FrontendMessage::Bind(bind) => self.bind(&bind, out),
            FrontendMessage::Describe(target) => self.describe(target, out),
            FrontendMessage::Execute { portal, max_rows } => self.execute(portal, max_rows),
            FrontendMessage::Close(target) => {
                self.extended.close(target, out);
                Ok(())
            }
            FrontendMessage::Sync => {
                self.extended.skipping = false;
                // Whatever happens, ReadyForQuery answers a Sync.
                self.cycle.open = true;
                return self.settle(out);
            }
            FrontendMessage::FunctionCall => {
                self.cycle.open = true;
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
}
