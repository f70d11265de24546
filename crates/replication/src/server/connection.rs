//! Messages over a client's stream.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Transport;
use crate::error::ServerError;
use crate::frame::{Frame, FrameDecoder, FrameError, Phase};
use crate::message::BackendMessage;

/// The longest message of a client in command mode. PostgreSQL takes a gibibyte; no command is a thousandth of this.
const MAX_COMMAND: usize = 1 << 20;
/// How much a read takes at most.
const READ_SIZE: usize = 8 * 1024;

/// A connection to a client: a stream, what was received and not yet read, and what is to be sent.
#[derive(Debug)]
pub struct Connection<S> {
    transport: Transport<S>,
    input: BytesMut,
    output: BytesMut,
    decoder: FrameDecoder,
}

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The socket failed, or was closed in the middle of a message.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is no message that may come now.
    #[error("{0}")]
    Frame(#[from] FrameError),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(transport: Transport<S>) -> Self {
        Self {
            transport,
            input: BytesMut::new(),
            output: BytesMut::new(),
            decoder: FrameDecoder::new(Phase::ClientAuthentication),
        }
    }

    pub(super) const fn enter_command_mode(&mut self) {
        self.decoder.set_phase(Phase::Client);
    }

    /// The stream below.
    pub const fn transport(&self) -> &Transport<S> {
        &self.transport
    }

    /// The stream below, the bytes received but not read yet, and those queued but not sent yet: for whoever takes
    /// the socket over while WAL is streamed. What is left of the two belongs to command mode afterwards.
    pub const fn parts(&mut self) -> (&mut Transport<S>, &mut BytesMut, &mut BytesMut) {
        (&mut self.transport, &mut self.input, &mut self.output)
    }

    /// Puts a message into the send buffer.
    pub fn queue(&mut self, message: &BackendMessage) {
        message.encode(&mut self.output);
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// The socket's.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.transport.write_all_buf(&mut self.output).await?;
        self.transport.flush().await
    }

    /// Sends one message at once.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send(&mut self, message: &BackendMessage) -> io::Result<()> {
        self.queue(message);
        self.flush().await
    }

    /// Sends an error and closes the stream. If that fails, the client is gone anyway.
    pub async fn say_goodbye(&mut self, error: &ServerError) {
        self.queue(&BackendMessage::ErrorResponse(Box::new(error.clone())));
        if self.flush().await.is_ok() {
            let _gone = self.transport.shutdown().await;
        }
    }

    /// The next message; `None` once the client has closed its side. Cancel-safe.
    ///
    /// # Errors
    /// The socket's, and messages that may not come now or are too long.
    pub async fn receive(&mut self) -> Result<Option<Frame>, ReceiveError> {
        loop {
            if let Some((tag, size)) = self.decoder.peek(&self.input)?
                && size > MAX_COMMAND
            {
                let length = u32::try_from(size - 1).unwrap_or(u32::MAX);
                return Err(FrameError::InvalidLength { tag, length }.into());
            }
            if let Some(frame) = self.decoder.decode(&mut self.input)? {
                return Ok(Some(frame));
            }
            self.input.reserve(READ_SIZE);
            if self.transport.read_buf(&mut self.input).await? == 0 {
                return if self.input.is_empty() {
                    Ok(None)
                } else {
                    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
                };
            }
        }
    }
}
