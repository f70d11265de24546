//! The server's side of a replication connection up to command mode, over any stream.
//!
//! [`authenticate`] reads the first packets (SSLRequest, GSSENCRequest, direct TLS, CancelRequest, startup), wraps the
//! stream in TLS when asked to, and lets the client in by trust, SCRAM-SHA-256 (with channel binding under TLS) or
//! md5. What it gives back is either welcomed into command mode or refused. Source: `postmaster/postmaster.c`
//! (`ProcessStartupPacket`), `libpq/auth.c`, `libpq/auth-scram.c`.
//!
//! Invariants: until a client is let in, nothing it sends makes the server hold more than one message of bounded
//! length, and all of it ends after the authentication timeout. Nothing is read from the socket beyond a request for
//! TLS, so that no plain-text byte can slip into the encrypted session.

mod authentication;
mod connection;
mod listen;
mod passwords;
mod startup;
#[cfg(test)]
mod tests;
mod transport;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::{ServerError, SqlState};
use crate::message::{
    AuthenticationRequest, BackendMessage, MessageError, StartupMessage, TransactionStatus,
};
use crate::tls::{RandomError, ServerTls};

pub use connection::{Connection, ReceiveError};
pub use listen::{ListenError, SocketFile, addresses_of, bind_tcp, bind_unix};
pub use passwords::{PasswordFile, PasswordFileError};
pub use startup::replication_mode;
pub use transport::{Prefixed, Transport};

/// How clients are let in.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The certificate to offer; without one, requests for TLS are declined.
    pub tls: Option<ServerTls>,
    /// Whether a client that did not ask for TLS is turned away.
    pub require_tls: bool,
    /// Who may come in; `None` lets everybody in.
    pub passwords: Option<PasswordFile>,
    /// How long a client may take to be let in (`authentication_timeout`).
    pub authentication_timeout: Duration,
}

/// What kind of connection the `replication` startup parameter asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicationMode {
    /// None: SQL.
    Off,
    /// `replication=true`
    Physical,
    /// `replication=database`
    Logical,
}

/// Why a client did not get in.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It left before it said anything, or while it was asked for a password.
    #[error("the client closed the connection before it was let in")]
    Closed,
    /// A CancelRequest; there is never anything to cancel.
    #[error("the client asked to cancel a query")]
    CancelRequest,
    /// It took too long.
    #[error("the client was not let in within the authentication timeout")]
    Timeout,
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    Tls(io::Error),
    /// A direct TLS connection that does not say that it means PostgreSQL.
    #[error("direct TLS connection without ALPN protocol \"postgresql\"")]
    MissingAlpn,
    /// A first byte or length that no PostgreSQL client sends. Nothing is answered.
    #[error("the client does not speak the PostgreSQL protocol")]
    Garbage,
    /// Refused, and told so.
    #[error("{0}")]
    Refused(Box<ServerError>),
}

impl HandshakeError {
    fn refused(code: SqlState, message: impl Into<String>) -> Self {
        Self::Refused(Box::new(ServerError::fatal(code, message)))
    }
}

impl From<RandomError> for HandshakeError {
    fn from(error: RandomError) -> Self {
        Self::refused(SqlState::INTERNAL_ERROR, error.to_string())
    }
}

impl From<MessageError> for HandshakeError {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::UnsupportedProtocol(_) => {
                Self::refused(SqlState::FEATURE_NOT_SUPPORTED, format!("{error}: server supports 3.0 to 3.0"))
            }
            MessageError::Malformed(_) | MessageError::UnknownType(_) => {
                Self::refused(SqlState::PROTOCOL_VIOLATION, error.to_string())
            }
        }
    }
}

/// A client that has proved who it is, but has not been told yet.
#[derive(Debug)]
pub struct Authenticated<S> {
    connection: Connection<S>,
    startup: StartupMessage,
}

/// What a client is told when it is welcomed.
#[derive(Debug, Clone)]
pub struct Welcome {
    /// The settings that clients rely on, in order (ParameterStatus).
    pub parameters: Vec<(String, String)>,
    /// The number of this connection; clients make slot names of it.
    pub process_id: u32,
    /// What a cancel request would need.
    pub secret_key: [u8; 4],
}

/// Lets the client on `stream` prove who it is.
///
/// # Errors
/// Everything that ends the connection; a refusal has already been sent.
pub async fn authenticate<S>(stream: S, config: &ServerConfig) -> Result<Authenticated<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = &ServerConfig { tls: config.tls.as_ref().map(ServerTls::frozen), ..config.clone() };
    let handshake = async {
        let (mut connection, startup) = startup::begin(stream, config).await?;
        match authentication::prove_identity(&mut connection, &startup, config).await {
            Ok(()) => Ok(Authenticated { connection, startup }),
            Err(HandshakeError::Refused(error)) => {
                connection.say_goodbye(&error).await;
                Err(HandshakeError::Refused(error))
            }
            Err(error) => Err(error),
        }
    };
    // The future is large (TLS state), and there is one per connection.
    match tokio::time::timeout(config.authentication_timeout, Box::pin(handshake)).await {
        Ok(result) => result,
        Err(_) => Err(HandshakeError::Timeout),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Authenticated<S> {
    /// The user that the client proved to be, or claims to be where everybody is trusted.
    pub fn user(&self) -> &str {
        self.startup.get("user").unwrap_or_default()
    }

    /// What the client calls itself; empty if it does not say.
    pub fn application_name(&self) -> &str {
        self.startup.get("application_name").unwrap_or_default()
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.connection.transport().is_encrypted()
    }

    /// What kind of connection the client asks for.
    ///
    /// # Errors
    /// A value that is neither a boolean nor `database`, with PostgreSQL's error.
    pub fn replication_mode(&self) -> Result<ReplicationMode, Box<ServerError>> {
        startup::replication_mode(self.startup.get("replication"))
    }

    /// Tells the client that it is in, and goes to command mode.
    ///
    /// # Errors
    /// The socket's.
    pub async fn welcome(mut self, welcome: &Welcome) -> io::Result<Connection<S>> {
        let connection = &mut self.connection;
        connection.queue(&BackendMessage::Authentication(AuthenticationRequest::Ok));
        for (name, value) in &welcome.parameters {
            connection.queue(&BackendMessage::ParameterStatus { name: name.clone(), value: value.clone() });
        }
        let secret_key = bytes::Bytes::copy_from_slice(&welcome.secret_key);
        connection.queue(&BackendMessage::BackendKeyData { process_id: welcome.process_id, secret_key });
        connection.queue(&BackendMessage::ReadyForQuery(TransactionStatus::Idle));
        connection.enter_command_mode();
        connection.flush().await?;
        Ok(self.connection)
    }

    /// Turns the client away after all.
    pub async fn refuse(mut self, error: &ServerError) {
        self.connection.queue(&BackendMessage::Authentication(AuthenticationRequest::Ok));
        self.connection.say_goodbye(error).await;
    }
}
