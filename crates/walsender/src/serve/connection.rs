//! One client, from the first byte to the last: letting it in, its commands, and handing it over to a stream.

use std::sync::Arc;
use std::time::Duration;

use replication::command::{CreateSlotOptions, ReplicationCommand, SlotKind, parse, validate_slot_name};
use replication::error::{ServerError, SqlState};
use replication::frame::FrameError;
use replication::message::{BackendMessage, FrontendMessage, TransactionStatus};
use replication::server::{
    Authenticated, Connection, HandshakeError, ReceiveError, ReplicationMode, Welcome, authenticate,
};
use replication::tls::random;
use replication::waldir::SlotInfo;
use tracing::{debug, info, warn};
use wal::TimelineId;

use super::slots::TemporarySlots;
use super::socket::Socket;
use super::stream::{self, StreamEnd, StreamRequest};
use super::{Phase, Shared, answers};
use crate::settings::ShownFacts;
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
    fn fatal(code: SqlState, message: impl Into<String>) -> Self {
        Self::Fatal(Box::new(ServerError::fatal(code, message)))
    }
}

/// What a command has come to.
pub(super) type CommandResult = Result<(), CommandFailure>;

/// A command that failed, or the end of its connection.
#[derive(Debug)]
pub(super) enum CommandFailure {
    /// The client is told, and may go on.
    Error(Box<ServerError>),
    /// The connection ends.
    End(ConnectionError),
    /// The connection ends in good order.
    Closed,
}

impl From<ServerError> for CommandFailure {
    fn from(error: ServerError) -> Self {
        Self::Error(Box::new(error))
    }
}

impl From<Box<ServerError>> for CommandFailure {
    fn from(error: Box<ServerError>) -> Self {
        Self::Error(error)
    }
}

impl From<std::io::Error> for CommandFailure {
    fn from(error: std::io::Error) -> Self {
        Self::End(error.into())
    }
}

/// Serves one client until it goes.
pub(super) async fn serve(
    shared: Arc<Shared>,
    socket: Socket,
    mut peer: Peer,
    id: u32,
) -> Result<(), ConnectionError> {
    info!(peer = %peer.address, "connection received");
    let config = if peer.is_local { &shared.handshake_local } else { &shared.handshake_remote };
    let client = authenticate(socket, config).await?;
    client.user().clone_into(&mut peer.user);
    client.application_name().clone_into(&mut peer.application_name);
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
fn server_version(shared: &Shared, serving: &Serving) -> String {
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
        ("in_hot_standby", "on"),
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

/// A client in command mode.
#[derive(Debug)]
struct Session {
    shared: Arc<Shared>,
    connection: Connection<Socket>,
    peer: Peer,
    temporary_slots: TemporarySlots,
}

impl Session {
    async fn run(&mut self) -> Result<(), ConnectionError> {
        let mut phase = self.shared.phase.clone();
        // After an error in the extended protocol everything up to Sync is passed over.
        let mut skipping = false;
        loop {
            let message = tokio::select! {
                message = self.connection.receive() => message,
                _ = phase.wait_for(|phase| *phase > Phase::Serving) => {
                    let message = "terminating connection due to administrator command";
                    return Err(ConnectionError::fatal(SqlState::ADMIN_SHUTDOWN, message));
                }
            };
            let frame = match message {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(ReceiveError::Io(error)) => return Err(error.into()),
                Err(ReceiveError::Frame(FrameError::UnexpectedType(tag))) => {
                    let message = format!("invalid frontend message type {tag}");
                    return Err(ConnectionError::fatal(SqlState::PROTOCOL_VIOLATION, message));
                }
                Err(ReceiveError::Frame(error)) => {
                    return Err(ConnectionError::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string()));
                }
            };
            match FrontendMessage::decode(frame) {
                Ok(FrontendMessage::Query(text)) if !skipping => {
                    if !self.query(&text).await? {
                        return Ok(());
                    }
                }
                Ok(FrontendMessage::Extended(b'S')) => {
                    skipping = false;
                    self.ready().await?;
                }
                Ok(FrontendMessage::Extended(b'H')) => self.connection.flush().await?,
                Ok(FrontendMessage::Extended(_)) if !skipping => {
                    skipping = true;
                    let message = "extended query protocol not supported in a replication connection";
                    self.tell(ServerError::error(SqlState::PROTOCOL_VIOLATION, message)).await?;
                }
                // Left over from a copy that ended with an error: passed over, as in PostgreSQL.
                Ok(
                    FrontendMessage::CopyData(_)
                    | FrontendMessage::CopyDone
                    | FrontendMessage::CopyFail(_)
                    | FrontendMessage::Query(_)
                    | FrontendMessage::Extended(_),
                ) => {}
                Ok(FrontendMessage::Terminate) => return Ok(()),
                Ok(FrontendMessage::Authentication(_)) => {
                    return Err(ConnectionError::fatal(
                        SqlState::PROTOCOL_VIOLATION,
                        format!("invalid frontend message type {}", b'p'),
                    ));
                }
                Err(error) => {
                    return Err(ConnectionError::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string()));
                }
            }
        }
    }

    /// Whether the connection goes on.
    async fn query(&mut self, text: &str) -> Result<bool, ConnectionError> {
        debug!(peer = %self.peer.address, command = text, "received replication command");
        let result = match parse(text) {
            Ok(command) => self.execute(command).await,
            Err(error) => Err(ServerError::from(error).into()),
        };
        match result {
            Ok(()) => {}
            Err(CommandFailure::Error(error)) => self.tell(*error).await?,
            Err(CommandFailure::End(error)) => return Err(error),
            Err(CommandFailure::Closed) => return Ok(false),
        }
        self.ready().await?;
        Ok(true)
    }

    async fn ready(&mut self) -> Result<(), ConnectionError> {
        Ok(self.connection.send(&BackendMessage::ReadyForQuery(TransactionStatus::Idle)).await?)
    }

    async fn tell(&mut self, error: ServerError) -> Result<(), ConnectionError> {
        warn!(peer = %self.peer.address, code = %error.code, "{error}");
        self.temporary_slots.clear();
        Ok(self.connection.send(&BackendMessage::ErrorResponse(Box::new(error))).await?)
    }

    fn answer(&mut self, messages: &[BackendMessage]) {
        messages.iter().for_each(|message| self.connection.queue(message));
    }

    /// What is served now. Once there was something there always is.
    fn serving(&self) -> Result<Serving, Box<ServerError>> {
        self.shared.source.serving().borrow().clone().ok_or_else(|| {
            ServerError::error(SqlState::CANNOT_CONNECT_NOW, "there is no WAL to serve").into()
        })
    }

    async fn execute(&mut self, command: ReplicationCommand) -> CommandResult {
        match command {
            ReplicationCommand::IdentifySystem => {
                let messages = answers::identify_system(&self.serving()?);
                self.answer(&messages);
            }
            ReplicationCommand::Show(name) => self.show(&name)?,
            ReplicationCommand::TimelineHistory(timeline) => self.timeline_history(timeline)?,
            ReplicationCommand::ReadReplicationSlot(name) => {
                let slot = self.shared.slots.read(&name)?;
                self.answer(&answers::read_slot(slot));
            }
            ReplicationCommand::CreateReplicationSlot { name, temporary, kind, options } => {
                if kind != SlotKind::Physical {
                    let message = "logical decoding requires a database connection";
                    return Err(
                        ServerError::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).into()
                    );
                }
                let options = CreateSlotOptions::interpret(&options, false).map_err(ServerError::from)?;
                self.create_slot(&name, temporary, options.reserve_wal)?;
            }
            ReplicationCommand::DropReplicationSlot { name, wait } => self.drop_slot(&name, wait).await?,
            ReplicationCommand::AlterReplicationSlot { name, .. } => {
                validate_slot_name(&name).map_err(ServerError::from)?;
                let message = "cannot use ALTER_REPLICATION_SLOT with a physical replication slot";
                return Err(ServerError::error(SqlState::FEATURE_NOT_SUPPORTED, message).into());
            }
            ReplicationCommand::StartLogical { .. } => {
                let message = "logical decoding requires a database connection";
                return Err(ServerError::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).into());
            }
            ReplicationCommand::BaseBackup { .. } | ReplicationCommand::UploadManifest => {
                let message = "walsender does not take base backups: it serves WAL only";
                return Err(ServerError::error(SqlState::FEATURE_NOT_SUPPORTED, message)
                    .hint("Take the backup from the server that the WAL comes from, or from one of its standbys.")
                    .into());
            }
            ReplicationCommand::StartPhysical { slot, start, timeline } => {
                let serving = self.serving()?;
                let slot = slot.map(|name| self.temporary_slots.acquire(&name)).transpose()?;
                let request = StreamRequest { slot, start, timeline: timeline.unwrap_or(serving.timeline()) };
                match stream::run(&self.shared, &mut self.connection, &self.peer, request, serving).await? {
                    StreamEnd::CommandMode(switch) => self.answer(&answers::end_of_stream(switch)),
                    StreamEnd::Closed => return Err(CommandFailure::Closed),
                }
            }
        }
        Ok(())
    }

    fn show(&mut self, name: &str) -> CommandResult {
        use std::os::unix::fs::PermissionsExt as _;
        let serving = self.serving()?;
        let directory = std::fs::metadata(self.shared.source.dir().path());
        let facts = ShownFacts {
            server_version: server_version(&self.shared, &serving),
            segment_size: serving.segment_size,
            // PostgreSQL has only these two; clients choose their own files' permissions by it.
            directory_mode: match directory.map(|found| found.permissions().mode() & 0o777) {
                Ok(0o750) => 0o750,
                _ => 0o700,
            },
            port: self.shared.port,
            tls: self.shared.handshake_local.tls.is_some(),
        };
        let shown = self.shared.settings.show(name, &facts).ok_or_else(|| {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            ServerError::error(SqlState::UNDEFINED_OBJECT, message)
        })?;
        self.answer(&answers::show(name, &shown));
        Ok(())
    }

    fn timeline_history(&mut self, timeline: TimelineId) -> CommandResult {
        let name = timeline.history_file_name();
        self.connection.queue(&answers::timeline_history_columns());
        match self.shared.source.dir().history_bytes(timeline) {
            Ok(Some(content)) => {
                self.answer(&answers::timeline_history_row(&name, content));
                Ok(())
            }
            Ok(None) => {
                let message = format!("could not open file \"pg_wal/{name}\": No such file or directory");
                Err(ServerError::error(SqlState::UNDEFINED_FILE, message).into())
            }
            Err(error) => Err(ServerError::error(SqlState::INTERNAL_ERROR, error.to_string()).into()),
        }
    }

    fn create_slot(&mut self, name: &str, temporary: bool, reserve_wal: bool) -> CommandResult {
        let serving = self.serving()?;
        let info = match reserve_wal {
            true => SlotInfo::at(serving.flush, serving.timeline()),
            false => SlotInfo::default(),
        };
        if temporary {
            self.temporary_slots.create(name, info)?;
        } else {
            self.shared.slots.create(name, info)?;
        }
        self.answer(&answers::create_slot(name));
        Ok(())
    }

    async fn drop_slot(&mut self, name: &str, wait: bool) -> CommandResult {
        if !self.temporary_slots.drop_one(name) {
            let mut phase = self.shared.phase.clone();
            // Another process may hold the slot, so there is nobody to be woken by.
            while wait && self.shared.slots.is_active(name) {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                    _ = phase.wait_for(|phase| *phase > Phase::Serving) => break,
                }
            }
            self.shared.slots.drop(name)?;
        }
        self.connection.queue(&answers::complete("DROP_REPLICATION_SLOT"));
        Ok(())
    }
}
