//! What other threads tell a worker.

use std::time::Instant;

use rustix::event::epoll::{self, EventData};

use super::{WATCHED, Worker};
use crate::server::connection::{Connection, Phase};
use crate::server::mailbox::{Mail, Newcomer};
use crate::session::{Database, Interrupt};

impl<D: Database> Worker<D> {
    pub(super) fn read_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Newcomer(newcomer) => self.welcome(newcomer),
            Mail::Wake(token) => self.enqueue(token),
            Mail::Confirmed => self.replies.append(&mut self.gated),
            Mail::Announce(setting) => self.announce(&setting.0, &setting.1),
            Mail::Shutdown => self.begin_to_stop(),
        }
    }

    fn welcome(&mut self, newcomer: Newcomer) {
        let Newcomer { socket, peer } = newcomer;
        let token = self.connections.insert(|_| Connection::new(socket, peer));
        let Some(connection) = self.connections.get_mut(token) else { return };
        let data = EventData::new_u64(token.to_u64());
        let watched = epoll::add(&self.epoll, &connection.socket, data, WATCHED);
        if self.stopping || watched.is_err() {
            return self.close(token);
        }
        let deadline = Instant::now().checked_add(self.shared.options.authentication_timeout);
        self.timers.set(token, &mut connection.armed, deadline);
        self.enqueue(token);
    }

    fn announce(&mut self, name: &str, value: &str) {
        for token in self.connections.tokens() {
            if let Some(connection) = self.connections.get_mut(token)
                && let Phase::Talking { conversation, .. } = &mut connection.phase
            {
                conversation.announce(&mut connection.output, name, value);
                self.replies.push(token);
            }
        }
    }

    fn begin_to_stop(&mut self) {
        self.stopping = true;
        for token in self.connections.tokens() {
            match self.connections.get_mut(token).map(|connection| &connection.phase) {
                Some(Phase::Talking { conversation, .. }) => {
                    conversation.interrupts.raise(Interrupt::Terminate);
                    self.enqueue(token);
                }
                Some(Phase::Startup(_)) => self.close(token),
                Some(Phase::Closing) | None => {}
            }
        }
    }
}
