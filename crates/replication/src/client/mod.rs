//! A replication connection to a PostgreSQL server (or to `walsender`), over tokio.
//!
//! [`Client`] is a connection in command mode. [`Client::start_physical`] and [`Client::base_backup`] turn it into a
//! [`WalStream`] or a [`BackupStream`], which give it back when they end in good order. After a server error in
//! command mode the connection remains usable, unless the error was `FATAL`.

mod backup_stream;
mod commands;
mod connect;
mod connection;
mod error;
mod login;
mod password;
mod receive_buffer;
mod socket;
mod status_sender;
mod target;
mod transport;
mod types;
mod wal_stream;

use bytes::Bytes;

pub use backup_stream::{BackupEvent, BackupStream};
pub use connect::{PasswordPrompt, connect_prompting};
pub use error::{AttemptError, ClientError, ConnectError, FailedAttempt};
pub use password::read_password;
pub use status_sender::StatusSender;
pub use transport::Duplex;
pub use types::{IdentifySystem, NextTimeline, ResultSet, ServerVersion, SlotInfo, SlotOptions};
pub use wal_stream::{Finished, StartOutcome, StreamEvent, WalStream};

use connection::Connection;

/// Which kind of connection to ask for (the startup parameter `replication`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replication {
    /// Replication commands only, no database.
    Physical,
    /// Replication commands and SQL, in a database.
    Database,
    /// An ordinary SQL connection.
    Off,
}

/// A connection in command mode.
pub struct Client {
    connection: Connection,
    /// The server's process and the key to cancel its work.
    key: Option<(u32, Bytes)>,
    /// Where this is connected to, as libpq says it.
    target: String,
    /// Whether the stream is encrypted.
    encrypted: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Client {
    /// The server's version; 0.0 if it did not tell one.
    pub fn server_version(&self) -> ServerVersion {
        self.parameter("server_version").and_then(ServerVersion::parse).unwrap_or(ServerVersion::new(0, 0))
    }

    /// A setting that the server told at log-in, or since.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.connection.parameters.get(name).map(String::as_str)
    }

    /// The server process that serves this connection.
    pub fn backend_pid(&self) -> Option<u32> {
        self.key.as_ref().map(|(process_id, _)| *process_id)
    }

    /// Where this is connected to: `server at "db" (10.0.0.1), port 5432`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether TLS is on.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Says goodbye and closes the connection. Errors do not matter any more.
    pub async fn close(mut self) {
        self.connection.queue(&crate::message::FrontendMessage::Terminate);
        let _ = self.connection.flush().await;
        let _ = self.connection.transport.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
