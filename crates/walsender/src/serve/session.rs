//! Command mode: what a client that is in can ask for.

use std::sync::Arc;
use std::time::Duration;

use replication::command::{CreateSlotOptions, ReplicationCommand, SlotKind, parse, validate_slot_name};
use replication::error::{ServerError, SqlState};
use replication::frame::FrameError;
use replication::message::{BackendMessage, FrontendMessage, TransactionStatus};
use replication::server::{Connection, ReceiveError};
use replication::waldir::{HistoryAnswer, Holdings, SlotInfo, WalDirError};
use tracing::{debug, warn};
use wal::TimelineId;

use super::connection::{ConnectionError, Peer, server_version};
use super::slots::TemporarySlots;
use super::socket::Socket;
use super::stream::{self, StreamEnd, StreamRequest};
use super::{Phase, Shared, answers, backup};
use crate::settings::ShownFacts;
use crate::source::Serving;

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

/// A client in command mode.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Connection<Socket>,
    pub(super) peer: Peer,
    pub(super) temporary_slots: TemporarySlots,
}

impl Session {
    /// Carries out commands until the client goes.
    pub(super) async fn run(&mut self) -> Result<(), ConnectionError> {
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
            ReplicationCommand::BaseBackup { options } => {
                let serving = self.serving()?;
                backup::run(&self.shared, &mut self.connection, &self.peer, &options, &serving).await?;
            }
            ReplicationCommand::UploadManifest => {
                let message = "incremental base backups are not offered";
                return Err(ServerError::error(SqlState::FEATURE_NOT_SUPPORTED, message).into());
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
            received: self.shared.origin.is_received(),
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
        match self.history_content(timeline) {
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

    /// The history file, or what is made for a timeline of which nothing is known: a follower asks for every number up to
    /// the newest, and cannot do without one.
    fn history_content(&self, timeline: TimelineId) -> Result<Option<Vec<u8>>, WalDirError> {
        let dir = self.shared.source.dir();
        if let Some(content) = dir.history_bytes(timeline)? {
            return Ok(Some(content));
        }
        let Some(serving) = self.shared.source.serving().borrow().clone() else { return Ok(None) };
        Ok(match Holdings::read(dir, serving.segment_size)?.history_answer(timeline) {
            HistoryAnswer::Made(history) => Some(history.to_bytes()),
            HistoryAnswer::File => dir.history_bytes(timeline)?,
            HistoryAnswer::Absent | HistoryAnswer::Lost(_) => None,
        })
    }

    fn create_slot(&mut self, name: &str, temporary: bool, reserve_wal: bool) -> CommandResult {
        let serving = self.serving()?;
        let size = serving.segment_size;
        let source = self.shared.source.serving();
        // Asked again once no WAL can be removed: the log may have gone on.
        let position = || {
            let now = source.borrow();
            let now = now.as_ref().unwrap_or(&serving);
            SlotInfo::at(now.flush, now.timeline())
        };
        match (temporary, reserve_wal) {
            (true, true) => self.temporary_slots.reserve(name, size, position)?,
            (true, false) => self.temporary_slots.create(name)?,
            (false, true) => self.shared.slots.reserve(name, size, position)?,
            (false, false) => self.shared.slots.create(name)?,
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
