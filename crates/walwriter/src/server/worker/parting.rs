//! How connections leave a worker: told goodbye, closed, or handed to somebody else.
//!
//! Invariant: a session leaves the registry when it ends, and a socket is not counted any more when it is closed, each once.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::Worker;
use crate::server::connection::{Connection, Phase, Waiting};
use crate::server::slots::Token;
use crate::session::Database;

/// How long a client that is told goodbye may take to read it.
const FAREWELL: Duration = Duration::from_secs(5);

impl<D: Database> Worker<D> {
    /// Ends a session; what is queued for its client is still sent.
    pub(in crate::server) fn part(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        if let Phase::Talking { process_id, .. } = connection.phase {
            self.shared.registry.leave(process_id);
        }
        // Dropping the session rolls back.
        connection.phase = Phase::Closing;
        connection.waiting = Waiting::Reader;
        let deadline = Instant::now().checked_add(FAREWELL);
        self.timers.set(token, &mut connection.armed, deadline);
        self.replies.push(token);
    }

    /// Ends a connection.
    pub(in crate::server) fn close(&mut self, token: Token) {
        if let Some(connection) = self.take(token)
            && let Phase::Talking { process_id, .. } = connection.phase
        {
            self.shared.registry.leave(process_id);
        }
    }

    /// Takes a connection out of this worker.
    pub(in crate::server) fn take(&mut self, token: Token) -> Option<Connection<D::Session>> {
        let mut connection = self.connections.remove(token)?;
        self.timers.set(token, &mut connection.armed, None);
        if connection.waiting == Waiting::Confirmation {
            self.gated.retain(|gated| *gated != token);
        }
        self.shared.registry.sockets.fetch_sub(1, Ordering::AcqRel);
        Some(connection)
    }

    /// Stops watching a socket that goes elsewhere.
    pub(in crate::server) fn unwatch(&self, socket: &OwnedFd) {
        let _not_watched = epoll::delete(&self.epoll, socket);
    }
}
