//! The end of a round: one flush for all of its commits, then every reply that may be sent.
//!
//! Invariant: what waits for a gate that is not open stays in its connection's buffer, and nothing behind it is sent.

use rustix::event::epoll::{self, EventData, EventFlags};
use wal::Lsn;

use super::{WATCHED, Worker};
use crate::server::connection::{Phase, Sent, Waiting};
use crate::server::slots::Token;
use crate::session::{Awaited, Database};

impl<D: Database> Worker<D> {
    /// Makes this round's commits durable, and sends what may be sent.
    pub(super) fn reply(&mut self) {
        if self.replies.is_empty() {
            return;
        }
        self.flush();
        let mut replies = std::mem::take(&mut self.replies);
        for token in replies.drain(..) {
            self.reply_to(token);
        }
        if self.replies.is_empty() {
            // Its memory is used again.
            self.replies = replies;
        }
        if !self.gated.is_empty() {
            self.mailbox.await_confirmation(true);
            // What has moved since it was last looked at woke nobody.
            let Self { connections, gated, shared, .. } = self;
            if gated.iter().any(|&token| connections.get_mut(token).is_some_and(|it| it.is_open(shared))) {
                self.replies.append(&mut self.gated);
            }
        }
    }

    /// Makes the log durable as far as this round needs it.
    fn flush(&mut self) {
        let flush_to = std::mem::replace(&mut self.flush_to, Lsn::INVALID);
        if let Some(database) = self.shared.database.get()
            && flush_to > database.reached(Awaited::Flush)
        {
            database.flush(flush_to);
        }
    }

    /// Sends a connection's reply, unless that has to wait for its gate.
    fn reply_to(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        if connection.waiting == Waiting::Confirmation {
            if connection.is_open(&self.shared) {
                self.go_on_behind_gate(token);
            } else if connection.hung_up {
                return self.close(token);
            } else {
                if !self.gated.contains(&token) {
                    self.gated.push(token);
                    if let Phase::Talking { conversation, .. } = &mut connection.phase {
                        conversation.stays_withheld();
                    }
                }
                return;
            }
        }
        self.send(token);
    }

    /// The gate has opened: the conversation goes on with what it was doing, or with what the client has sent meanwhile.
    fn go_on_behind_gate(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let Phase::Talking { conversation, .. } = &mut connection.phase else { return };
        connection.gate = None;
        conversation.gate_opened();
        if connection.armed.is_some() {
            self.timers.set(token, &mut connection.armed, None);
        }
        let reads = conversation.reads_next();
        connection.waiting = if reads { Waiting::Messages } else { Waiting::Turn };
        let more = connection.readable || connection.ended || !connection.input.is_empty();
        if !reads || more || conversation.idle_timeout().is_some() {
            self.enqueue(token);
        }
    }

    /// Sends what is queued for a connection.
    fn send(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        match connection.send(&mut self.pool) {
            Sent::All => {
                if matches!(connection.phase, Phase::Closing) {
                    return self.close(token);
                }
                if connection.watching_room {
                    connection.watching_room = false;
                    self.watch(token, EventFlags::empty());
                }
                self.resume(token);
            }
            Sent::Part if !connection.watching_room => {
                connection.watching_room = true;
                self.watch(token, EventFlags::OUT);
            }
            Sent::Part => {}
            Sent::Gone => self.close(token),
        }
    }

    /// Everything has been sent: goes on with what waited for that.
    fn resume(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let waits = match connection.waiting {
            Waiting::Reader => {
                connection.waiting = Waiting::Turn;
                true
            }
            Waiting::Turn => true,
            Waiting::Messages | Waiting::Rest(_) => connection.readable,
            Waiting::Waker | Waiting::Confirmation => false,
        };
        if waits {
            self.enqueue(token);
        }
    }

    /// Watches a socket for what all are watched for, and for `more`.
    fn watch(&mut self, token: Token, more: EventFlags) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let data = EventData::new_u64(token.to_u64());
        if epoll::modify(&self.epoll, &connection.socket, data, WATCHED | more).is_err() {
            self.close(token);
        }
    }
}
