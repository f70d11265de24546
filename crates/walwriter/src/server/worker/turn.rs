//! What one connection does in one round: read what is there, answer every complete message, and say what it waits for.
//!
//! Nothing is sent here, and nothing made durable: both happen once per round, for everybody.

use std::time::Instant;

use super::Worker;
use crate::server::connection::{Phase, Waiting};
use crate::server::conversation::Progress;
use crate::server::slots::Token;
use crate::session::{Database, Interrupt};

impl<D: Database> Worker<D> {
    /// Does what one connection has to do.
    pub(super) fn turn(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.queued = false;
        match connection.phase {
            Phase::Startup(_) => self.let_in(token),
            Phase::Talking { .. } => self.talk(token),
            Phase::Closing => self.replies.push(token),
        }
    }

    /// Reads and answers what a client says.
    fn talk(&mut self, token: Token) {
        let (Some(connection), Some(database)) =
            (self.connections.get_mut(token), self.shared.database.get())
        else {
            return;
        };
        let Phase::Talking { conversation, .. } = &connection.phase else { return };
        let ends = conversation.interrupts.pending() == Some(Interrupt::Terminate);
        if connection.waiting == Waiting::Confirmation {
            self.gated.retain(|gated| *gated != token);
        }
        if connection.hung_up && matches!(connection.waiting, Waiting::Waker | Waiting::Confirmation) {
            return self.close(token);
        }
        if connection.watching_room && !ends {
            return self.replies.push(token);
        }
        if connection.armed.is_some() {
            self.timers.set(token, &mut connection.armed, None);
        }
        match connection.waiting {
            Waiting::Messages => connection.receive(&mut self.pool, 0),
            Waiting::Rest(size) => connection.receive(&mut self.pool, size),
            Waiting::Turn | Waiting::Waker | Waiting::Confirmation | Waiting::Reader => {}
        }
        connection.lend_output(&mut self.pool);
        let Phase::Talking { conversation, .. } = &mut connection.phase else { return };
        let progress = conversation
            .advance(&mut connection.input, &mut connection.output, |awaited| database.reached(awaited));
        let nobody_waits = match progress {
            Progress::Blocked(_) => connection.hung_up,
            Progress::Yield => connection.gone,
            _ => false,
        };
        if nobody_waits {
            return self.close(token);
        }
        self.pause(token, progress);
    }

    /// Has a conversation go on when there is what it waits for.
    fn pause(&mut self, token: Token, progress: Progress) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let Phase::Talking { conversation, .. } = &connection.phase else { return };
        let mut again = false;
        match progress {
            Progress::Input(size) => {
                connection.waiting = if size == 0 { Waiting::Messages } else { Waiting::Rest(size) };
                if connection.ended {
                    return self.part(token);
                }
                again = connection.readable;
                if let Some(timeout) = conversation.idle_timeout() {
                    let deadline = Instant::now().checked_add(timeout);
                    self.timers.set(token, &mut connection.armed, deadline);
                }
            }
            Progress::Yield => {
                connection.waiting = Waiting::Turn;
                again = true;
            }
            Progress::Blocked(until) => {
                connection.waiting = Waiting::Waker;
                self.timers.set(token, &mut connection.armed, until);
            }
            Progress::Gated(gate, until) => {
                connection.waiting = Waiting::Confirmation;
                self.timers.set(token, &mut connection.armed, until);
                connection.gate = Some(gate);
                self.flush_to = self.flush_to.max(gate.lsn);
            }
            Progress::Output => connection.waiting = Waiting::Reader,
            Progress::Close => return self.part(token),
        }
        connection.input.relax(&mut self.pool);
        self.replies.push(token);
        if again {
            self.enqueue(token);
        }
    }
}
