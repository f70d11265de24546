//! Messages over a stream: what log-in, commands and copies are built on.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::error::ClientError;
use super::receive_buffer::ReceiveBuffer;
use super::transport::Transport;
use crate::error::ServerError;
use crate::frame::{Frame, FrameDecoder, Phase};
use crate::message::{BackendMessage, FrontendMessage};

/// A stream that speaks in messages.
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) receive: ReceiveBuffer,
    pub(super) decoder: FrameDecoder,
    /// Encoded and not yet written; survives a cancelled write.
    pub(super) out: BytesMut,
    /// What the server said about its settings, kept up to date.
    pub(super) parameters: BTreeMap<String, String>,
}

impl Connection {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            receive: ReceiveBuffer::new(),
            decoder: FrameDecoder::new(Phase::ServerStartup),
            out: BytesMut::new(),
            parameters: BTreeMap::new(),
        }
    }

    /// Queues a message.
    pub(super) fn queue(&mut self, message: &FrontendMessage) {
        message.encode(&mut self.out);
    }

    /// Writes what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), ClientError> {
        self.transport.write(&mut self.out).await.map_err(connection_error)
    }

    /// The next frame. Cancel safe.
    pub(super) async fn next_frame(&mut self) -> Result<Frame, ClientError> {
        loop {
            if let Some(frame) = self.receive.take_frame(&self.decoder)? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// Waits for more bytes. Cancel safe.
    pub(super) async fn fill(&mut self) -> Result<(), ClientError> {
        match self.transport.read(self.receive.room()).await {
            Ok(0) => Err(ClientError::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(connection_error(error)),
        }
    }

    /// Waits for more bytes, or for room in the socket. Cancel safe.
    pub(super) async fn fill_or_make_room(&mut self) -> Result<(), ClientError> {
        self.transport.readable_or_writable().await.map_err(connection_error)?;
        self.try_fill().map(drop)
    }

    /// Reads what is there already; whether that was anything.
    pub(super) fn try_fill(&mut self) -> Result<bool, ClientError> {
        match self.transport.try_read(self.receive.room()) {
            Ok(Some(0)) => Err(ClientError::Closed),
            Ok(read) => Ok(read.is_some()),
            Err(error) => Err(connection_error(error)),
        }
    }

    /// The next message that is not merely by the way: settings are noted, notices logged.
    pub(super) async fn next_message(&mut self) -> Result<BackendMessage, ClientError> {
        loop {
            let message = BackendMessage::decode(self.next_frame().await?)?;
            if let Some(message) = self.note(message) {
                return Ok(message);
            }
        }
    }

    /// Deals with what a server may say at any time; gives back everything else.
    pub(super) fn note(&mut self, message: BackendMessage) -> Option<BackendMessage> {
        match message {
            BackendMessage::ParameterStatus { name, value } => {
                self.parameters.insert(name, value);
                None
            }
            BackendMessage::NoticeResponse(notice) => {
                log_notice(&notice);
                None
            }
            BackendMessage::NotificationResponse => None,
            message => Some(message),
        }
    }
}

/// Passes a server's notice on to the log at the level it has there.
pub(super) fn log_notice(notice: &ServerError) {
    match notice.severity_raw.as_str() {
        "WARNING" => tracing::warn!("server: {notice}"),
        "DEBUG" | "LOG" => tracing::debug!("server: {notice}"),
        _ => tracing::info!("server: {notice}"),
    }
}

/// A reset or broken pipe means what an orderly close means: the server went away.
pub(super) fn connection_error(error: std::io::Error) -> ClientError {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionReset | Kind::BrokenPipe | Kind::UnexpectedEof | Kind::ConnectionAborted => {
            ClientError::Closed
        }
        _ => ClientError::Io(error),
    }
}

/// How an unexpected message is named in errors.
pub(super) fn unexpected(message: &BackendMessage) -> ClientError {
    if let BackendMessage::ErrorResponse(error) = message {
        return ClientError::Server(error.clone());
    }
    let debug = format!("{message:?}");
    let name: String = debug.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
    ClientError::Unexpected(name)
}
