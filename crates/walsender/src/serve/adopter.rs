//! The handle that a program has on a server within it: it hands over clients that came to a socket of its own, has files
//! read again, and tells how far the log is durable.

use std::sync::Arc;

use bytes::Bytes;
use replication::server::PasswordFile;
use replication::tls::ServerTls;
use tokio::sync::mpsc;
use tracing::error;
use wal::{Lsn, TimelineId};

#[cfg(doc)]
use super::Server;
use super::Shared;
use super::connection::Peer;
use super::listener::peer;
use super::socket::StdSocket;
#[cfg(doc)]
use crate::source::Source;

/// Hands clients over to a [`Server`].
#[derive(Debug, Clone)]
pub struct Adopter {
    shared: Arc<Shared>,
    sender: mpsc::UnboundedSender<Adopted>,
}

/// A client that was handed over.
#[derive(Debug)]
pub(super) struct Adopted {
    pub(super) socket: StdSocket,
    /// What was read from its socket before.
    pub(super) read_before: Bytes,
    pub(super) peer: Peer,
}

impl Adopter {
    pub(super) fn new(shared: Arc<Shared>, sender: mpsc::UnboundedSender<Adopted>) -> Self {
        Self { shared, sender }
    }

    /// Serves the client on `socket` at `address`, which is on this host or not. `read_before` is what was read from the
    /// socket already and belongs to this server: the startup packet, and what came after it. The socket is non-blocking.
    /// `false` if the server is gone.
    pub fn adopt(&self, socket: StdSocket, read_before: Bytes, address: String, is_local: bool) -> bool {
        self.sender.send(Adopted { socket, read_before, peer: peer(address, is_local) }).is_ok()
    }

    /// Reads the passwords, the certificate and its key again: for clients that come from now on. A file that is of no use
    /// changes nothing; the log says so.
    pub fn reload(&self) {
        let handshake = &self.shared.handshake_local;
        if let Some(Err(error)) = handshake.passwords.as_ref().map(PasswordFile::reload) {
            error!("passwords not changed: {}", chain(&error));
        }
        if let Some(Err(error)) = handshake.tls.as_ref().map(ServerTls::reload) {
            error!("certificate not changed: {}", chain(&error));
        }
    }

    /// For an embedder that writes the directory itself: see [`Source::tell`].
    pub fn tell_durable(&self, timeline: TimelineId, flush: Lsn) {
        self.shared.source.tell(timeline, flush);
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
