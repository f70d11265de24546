//! Letting a client in: from its first byte to its session, or to whoever serves replication.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use replication::error::{ServerError, SqlState};
use replication::message::{AuthenticationRequest, BackendMessage, StartupMessage};
use tracing::{debug, warn};

use super::connection::{Phase, Waiting};
use super::conversation::Conversation;
use super::slots::Token;
use super::startup::{Outcome, Startup, append, settings};
use super::worker::Worker;
use crate::protocol::backend;
use crate::session::{Database, Interrupts, Opening, Session as _, SessionError, TransactionStatus};

/// Serves the clients that ask for replication; called by a worker, so it must not block.
pub trait ReplicationHandoff: Send + Sync + 'static {
    /// Takes over a client whose startup packet asks for replication. It has been told nothing but that there is no
    /// encryption, if it asked.
    fn take(&self, client: ReplicationClient);
}

/// A client that asks for replication.
#[derive(Debug)]
pub struct ReplicationClient {
    /// Its socket, non-blocking.
    pub socket: OwnedFd,
    /// Where it is; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// What was read from it: its startup packet, length included, and what came after that.
    pub received: Vec<u8>,
}

impl<D: Database> Worker<D> {
    /// Goes on with a client that was not let in yet.
    pub(super) fn let_in(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.receive(&mut self.pool, 0);
        if connection.ended {
            return self.close(token);
        }
        connection.lend_output(&mut self.pool);
        let Phase::Startup(startup) = &mut connection.phase else { return };
        let state = std::mem::replace(startup, Startup::new());
        let passwords = self.shared.options.passwords.as_ref();
        match state.advance(&mut connection.input, &mut connection.output, passwords) {
            Outcome::Pending(state) => {
                *startup = state;
                let again = connection.readable;
                connection.input.relax(&mut self.pool);
                self.replies.push(token);
                if again {
                    self.enqueue(token);
                }
            }
            Outcome::Close => self.part(token),
            Outcome::Refused(error) => {
                warn!(peer = %shown(connection.peer), "connection not authorized: {error}");
                self.part(token);
            }
            Outcome::Cancel { process_id, secret } => {
                self.shared.registry.cancel(process_id, &secret);
                self.close(token);
            }
            Outcome::Replication { packet } => {
                if let Err(error) = self.hand_over(token, packet) {
                    self.refuse(token, "", &error);
                }
            }
            Outcome::Proved(startup) => {
                if let Err(error) = self.admit(token, &startup) {
                    self.refuse(token, startup.get("user").unwrap_or_default(), &error);
                }
            }
        }
    }

    /// Turns a client away that says it is `user`.
    fn refuse(&mut self, token: Token, user: &str, error: &ServerError) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        // Of a server that is starting up everybody is told so, again and again.
        if error.code == SqlState::CANNOT_CONNECT_NOW {
            debug!(peer = %shown(connection.peer), user, "connection not authorized: {error}");
        } else {
            warn!(peer = %shown(connection.peer), user, "connection not authorized: {error}");
        }
        let fatal = ServerError { severity: "FATAL".into(), severity_raw: "FATAL".into(), ..error.clone() };
        backend::error(&mut connection.output, &fatal);
        self.part(token);
    }

    /// Opens the session of a client that has proved who it is.
    fn admit(&mut self, token: Token, startup: &StartupMessage) -> Result<(), SessionError> {
        let process_id = self.shared.registry.next_process_id();
        let database = self.shared.database.get().cloned().ok_or_else(|| {
            let message = "the database system is starting up";
            Box::new(ServerError::fatal(SqlState::CANNOT_CONNECT_NOW, message))
        })?;
        let Some(connection) = self.connections.get_mut(token) else { return Ok(()) };
        let interrupts = Arc::new(Interrupts::default());
        let waker = self.mailbox.waker(token);
        let user = startup.get("user").unwrap_or_default().to_owned();
        let opening = Opening {
            database: startup.get("database").filter(|name| !name.is_empty()).unwrap_or(&user).to_owned(),
            user,
            settings: settings(startup)?,
            peer: connection.peer,
            process_id,
            waker: waker.clone(),
            interrupts: interrupts.clone(),
        };
        let mut secret = [0; 4];
        replication::tls::random(&mut secret)
            .map_err(|error| Box::new(ServerError::fatal(SqlState::INTERNAL_ERROR, error.to_string())))?;
        let most = self.shared.options.max_connections;
        if !self.shared.registry.enter(process_id, secret, interrupts.clone(), waker, most) {
            let message = "sorry, too many clients already";
            return Err(Box::new(ServerError::fatal(SqlState::TOO_MANY_CONNECTIONS, message)));
        }
        let mut session = match database.open_session(opening) {
            Ok(session) => session,
            Err(error) => {
                self.shared.registry.leave(process_id);
                return Err(error);
            }
        };
        let out = &mut connection.output;
        append(out, &BackendMessage::Authentication(AuthenticationRequest::Ok));
        session.report_settings(true, &mut |name, value| backend::parameter_status(out, name, value));
        backend::backend_key_data(out, process_id, &secret);
        backend::ready_for_query(out, TransactionStatus::Idle);
        let conversation = Box::new(Conversation::new(session, interrupts));
        connection.phase = Phase::Talking { conversation, process_id };
        connection.waiting = Waiting::Messages;
        self.timers.set(token, &mut connection.armed, None);
        self.replies.push(token);
        self.enqueue(token);
        Ok(())
    }

    fn hand_over(&mut self, token: Token, packet: Vec<u8>) -> Result<(), SessionError> {
        let handoff = self.shared.handoff.clone().ok_or_else(|| {
            let message = "this server serves no replication connections";
            Box::new(ServerError::fatal(SqlState::FEATURE_NOT_SUPPORTED, message))
        })?;
        let Some(mut connection) = self.take(token) else { return Ok(()) };
        self.unwatch(&connection.socket);
        // An answer to a request for encryption may be queued still; an empty socket has room for it.
        let _gone = connection.send(&mut self.pool);
        let mut received = packet;
        received.extend(connection.input.into_pending());
        handoff.take(ReplicationClient { socket: connection.socket, peer: connection.peer, received });
        Ok(())
    }
}

/// A client's address for the log.
pub(super) fn shown(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "[local]".to_owned(), |peer| peer.to_string())
}
