//! One client, from the first byte to the last: letting it in, and handing it over to command mode.

use std::sync::Arc;

use bytes::Bytes;
use replication::error::{ServerError, SqlState};
use replication::server::{Authenticated, HandshakeError, ReplicationMode, Welcome, authenticate};
use replication::tls::random;
use tracing::info;

use super::draining::Progress;
use super::session::Session;
use super::slots::TemporarySlots;
use super::socket::Socket;
use super::{Phase, Shared};
use crate::source::Serving;

/// Who is connected, for the log and the followers' table.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// `address:port`, or `[local]` on a Unix socket.
    pub(super) address: String,
    /// Whether it is on this host.
    pub(super) is_local: bool,
    pub(super) user: String,
    pub(super) application_name: String,
    /// How far it is, for whoever waits for it at the end.
    pub(super) progress: Arc<Progress>,
}

/// Why a connection ends, where that is worth more than silence.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("could not exchange data with the client: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Fatal(Box<ServerError>),
}

impl ConnectionError {
    pub(super) fn fatal(code: SqlState, message: impl Into<String>) -> Self {
        Self::Fatal(Box::new(ServerError::fatal(code, message)))
    }
}

/// Serves one client until it goes.
pub(super) async fn serve(
    shared: Arc<Shared>,
    socket: Socket,
    read_before: Bytes,
    mut peer: Peer,
) -> Result<(), ConnectionError> {
    info!(peer = %peer.address, "connection received");
    let config = if peer.is_local { &shared.handshake_local } else { &shared.handshake_remote };
    let id = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
    let client = authenticate(socket.with_read_before(read_before), config).await?;
    client.user().clone_into(&mut peer.user);
    client.application_name().clone_into(&mut peer.application_name);
    let _attending = shared.source.attend().await;
    let serving = match admit(&shared, &client) {
        Ok(serving) => serving,
        Err(error) => {
            client.refuse(&error).await;
            return Err(ConnectionError::Fatal(error));
        }
    };
    let Some(_place) = shared.take_place() else {
        let most = shared.settings.max_wal_senders;
        let message =
            format!("number of requested standby connections exceeds max_wal_senders (currently {most})");
        let error = ServerError::fatal(SqlState::TOO_MANY_CONNECTIONS, message);
        client.refuse(&error).await;
        return Err(ConnectionError::Fatal(Box::new(error)));
    };
    info!(peer = %peer.address, user = peer.user, application_name = peer.application_name,
        encrypted = client.is_encrypted(), "replication connection authorized");
    let mut secret_key = [0; 4];
    random(&mut secret_key).map_err(std::io::Error::other)?;
    let parameters = parameters(&shared, &serving, &peer);
    let connection = client.welcome(&Welcome { parameters, process_id: id, secret_key }).await?;
    let temporary_slots = TemporarySlots::new(shared.clone());
    let mut session = Session { shared, connection, peer, temporary_slots };
    let result = session.run().await;
    if let Err(ConnectionError::Fatal(error)) = &result {
        session.connection.say_goodbye(error).await;
    }
    result
}

/// Whether a client that has proved who it is can be served.
fn admit(shared: &Shared, client: &Authenticated<Socket>) -> Result<Serving, Box<ServerError>> {
    let name = "walsender";
    match client.replication_mode()? {
        ReplicationMode::Physical => {}
        ReplicationMode::Logical => {
            let message = format!("{name} serves physical replication only, not replication=database");
            return Err(ServerError::fatal(SqlState::FEATURE_NOT_SUPPORTED, message)
                .hint("Connect to the leader for logical replication.")
                .into());
        }
        ReplicationMode::Off => {
            let message = format!("{name} serves replication connections only, not SQL");
            return Err(ServerError::fatal(SqlState::FEATURE_NOT_SUPPORTED, message)
                .hint("Connect with replication=true to stream WAL.")
                .into());
        }
    }
    if *shared.phase.borrow() > Phase::Serving {
        let message = "the WAL sender is shutting down";
        return Err(ServerError::fatal(SqlState::CANNOT_CONNECT_NOW, message).into());
    }
    shared.source.serving().borrow().clone().ok_or_else(|| {
        let directory = shared.source.dir().path().display().to_string();
        ServerError::fatal(SqlState::CANNOT_CONNECT_NOW, "there is no WAL to serve yet")
            .detail(format!("Directory \"{directory}\" holds no valid WAL."))
            .into()
    })
}

/// The version to claim: that of the WAL, so that every client of that version or later works.
pub(super) fn server_version(shared: &Shared, serving: &Serving) -> String {
    shared
        .settings
        .server_version
        .clone()
        .unwrap_or_else(|| format!("{}.0 (walship {})", serving.version.major(), env!("CARGO_PKG_VERSION")))
}

/// What PostgreSQL reports to a replication connection, in its order.
fn parameters(shared: &Shared, serving: &Serving, peer: &Peer) -> Vec<(String, String)> {
    let version = server_version(shared, serving);
    [
        ("in_hot_standby", if shared.origin.is_received() { "on" } else { "off" }),
        ("default_transaction_read_only", "off"),
        ("integer_datetimes", "on"),
        ("TimeZone", "UTC"),
        ("IntervalStyle", "postgres"),
        ("is_superuser", "off"),
        ("application_name", &peer.application_name),
        ("session_authorization", &peer.user),
        ("DateStyle", "ISO, MDY"),
        ("standard_conforming_strings", "on"),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("server_version", &version),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}
