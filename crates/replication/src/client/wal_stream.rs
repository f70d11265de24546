//! START_REPLICATION PHYSICAL, from the client's side.

use std::io;

use wal::{Lsn, TimelineId};

use super::Client;
use super::commands::{collect_results, lsn_at, parsed, quoted};
use super::connection::{connection_error, unexpected};
use super::error::ClientError;
use super::status_sender::StatusSender;
use super::types::{NextTimeline, ResultSet};
use crate::frame::{Frame, Phase};
use crate::message::{BackendMessage, FrontendMessage, put_copy_data_header};
use crate::stream::{HotStandbyFeedback, Keepalive, ServerPayload, StandbyStatus, WalData};

/// How a server answers START_REPLICATION.
#[derive(Debug)]
pub enum StartOutcome {
    /// It streams.
    Streaming(WalStream),
    /// The timeline ends right where streaming was to start.
    TimelineEnded {
        /// The connection, in command mode again.
        client: Client,
        /// Where to go on.
        next: NextTimeline,
    },
}

/// What comes out of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamEvent {
    /// WAL. `data` is a slice of the receive buffer: drop it soon, so that the buffer can be used again.
    Wal(WalData),
    /// The server is alive, and may want a status.
    Keepalive(Keepalive),
    /// The server has sent the timeline's last byte and waits for [`WalStream::finish`], which tells the next timeline.
    TimelineEnd,
    /// The server has shut down in good order, after all its WAL was acknowledged. The connection is over.
    ServerShutdown,
}

/// How a stream ended that was finished in good order.
#[derive(Debug)]
pub struct Finished {
    /// The connection, in command mode again.
    pub client: Client,
    /// Where the history goes on, if the timeline had ended.
    pub next: Option<NextTimeline>,
}

/// A stream of WAL.
///
/// [`WalStream::next`] and [`WalStream::try_next`] may be mixed freely, and `next` may be dropped while it waits.
/// Dropping the stream closes the connection.
#[derive(Debug)]
pub struct WalStream {
    /// Always there, but while `finish` takes it out.
    client: Option<Client>,
    sender: StatusSender,
    /// Whether [`StatusSender`]s cannot write, and leave statuses for this side to send.
    sends_for_others: bool,
    /// The server has sent CopyDone.
    server_done: bool,
}

impl Client {
    /// START_REPLICATION PHYSICAL from `start`, which may lie anywhere, on `timeline`. After an error the connection
    /// is closed.
    pub async fn start_physical(
        mut self,
        slot: Option<&str>,
        start: Lsn,
        timeline: TimelineId,
    ) -> Result<StartOutcome, ClientError> {
        let slot = slot.map(|name| format!("SLOT {} ", quoted(name))).unwrap_or_default();
        let command = format!("START_REPLICATION {slot}PHYSICAL {start} TIMELINE {timeline}");
        self.connection.queue(&FrontendMessage::Query(command));
        self.connection.flush().await?;
        match self.connection.next_message().await? {
            BackendMessage::CopyBothResponse(_) => {
                self.connection.receive.expect_bulk(true);
                let socket = self.connection.transport.duplicate()?;
                let sends_for_others = socket.is_none();
                let sender = StatusSender::new(socket);
                let client = Some(self);
                let stream = WalStream { client, sender, sends_for_others, server_done: false };
                Ok(StartOutcome::Streaming(stream))
            }
            BackendMessage::RowDescription(columns) => {
                let next = ending(&mut self, Some(ResultSet { columns, ..ResultSet::default() })).await?;
                let next =
                    next.ok_or_else(|| ClientError::Unexpected("end of stream without one".to_owned()))?;
                Ok(StartOutcome::TimelineEnded { client: self, next })
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// Reads the results that end a stream: the next timeline, if the server ended it, and the command's completion.
async fn ending(client: &mut Client, begun: Option<ResultSet>) -> Result<Option<NextTimeline>, ClientError> {
    const WHAT: &str = "read end-of-streaming result";
    let connection = &mut client.connection;
    connection.decoder.set_phase(Phase::Server);
    let mut result = begun.unwrap_or_default();
    // The row description has been read already if the stream ended before it began.
    while !result.columns.is_empty() && result.rows.is_empty() {
        match connection.next_message().await? {
            BackendMessage::DataRow(row) => result.rows.push(row),
            other => return Err(unexpected(&other)),
        }
    }
    let rest = collect_results(connection).await?;
    let result =
        if result.rows.is_empty() { rest.into_iter().find(|r| !r.rows.is_empty()) } else { Some(result) };
    let Some(result) = result else { return Ok(None) };
    let timeline = TimelineId::new(parsed(WHAT, &result, 0)?);
    Ok(Some(NextTimeline { timeline, start: lsn_at(WHAT, &result, 1)? }))
}

impl WalStream {
    /// A handle for sending statuses while another thread or task waits in `next`.
    pub fn status_sender(&self) -> StatusSender {
        self.sender.clone()
    }

    /// The connection's properties; commands have to wait until the stream is finished.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Waits for the next event. Also sends, below TLS, what [`StatusSender`]s left. Cancel safe.
    pub async fn next(&mut self) -> Result<StreamEvent, ClientError> {
        loop {
            if let Some(event) = self.take_buffered()? {
                return Ok(event);
            }
            let client = self.client.as_mut().ok_or(ClientError::Closed)?;
            if !self.sends_for_others {
                if self.sender.push_on().map_err(sending_error)? {
                    client.connection.fill().await?;
                } else {
                    client.connection.fill_or_make_room().await?;
                }
                continue;
            }
            send_left(client, &self.sender).await?;
            tokio::select! {
                biased;
                filled = client.connection.fill() => filled?,
                () = self.sender.left_something() => (),
            }
        }
    }

    /// The next event, if it can be had without waiting: from the buffer, or from what the socket holds. `None` also
    /// if a [`StatusSender`] left something that only `next` can send.
    pub fn try_next(&mut self) -> Result<Option<StreamEvent>, ClientError> {
        loop {
            if let Some(event) = self.take_buffered()? {
                return Ok(Some(event));
            }
            let client = self.client.as_mut().ok_or(ClientError::Closed)?;
            if (self.sends_for_others && self.sender.has_left()) || !client.connection.try_fill()? {
                return Ok(None);
            }
        }
    }

    /// An event whose bytes have been read already.
    fn take_buffered(&mut self) -> Result<Option<StreamEvent>, ClientError> {
        let client = self.client.as_mut().ok_or(ClientError::Closed)?;
        if self.server_done {
            return Ok(Some(StreamEvent::TimelineEnd));
        }
        let connection = &mut client.connection;
        while let Some(frame) = connection.receive.take_frame(&connection.decoder)? {
            if frame.tag == b'd' {
                return payload(frame).map(Some);
            }
            let Some(message) = connection.note(BackendMessage::decode(frame)?) else { continue };
            match message {
                BackendMessage::CopyDone => {
                    self.server_done = true;
                    return Ok(Some(StreamEvent::TimelineEnd));
                }
                // Without CopyDone before it: walsender's farewell at a shutdown.
                BackendMessage::CommandComplete(_) => return Ok(Some(StreamEvent::ServerShutdown)),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(None)
    }

    /// Sends what the socket did not take before, as far as it takes it now.
    ///
    /// # Errors
    /// The socket's, and a server that has taken nothing for a minute.
    pub fn push_on(&self) -> Result<(), ClientError> {
        self.sender.push_on().map(drop).map_err(sending_error)
    }

    /// Sends `status`.
    pub async fn send_status(&mut self, status: &StandbyStatus) -> Result<(), ClientError> {
        self.sender.send(status).map_err(sending_error)?;
        self.settle().await
    }

    /// Sends what queries on a hot standby still need.
    pub async fn send_hot_standby_feedback(
        &mut self,
        feedback: &HotStandbyFeedback,
    ) -> Result<(), ClientError> {
        if !self.sender.begin_feedback(feedback).map_err(sending_error)? {
            let client = self.client.as_mut().ok_or(ClientError::Closed)?;
            let mut body = bytes::BytesMut::new();
            feedback.encode(&mut body);
            put_copy_data_header(&mut client.connection.out, body.len());
            client.connection.out.extend_from_slice(&body);
        }
        self.settle().await
    }

    /// Waits until all that is to be sent is with the socket.
    async fn settle(&mut self) -> Result<(), ClientError> {
        let client = self.client.as_mut().ok_or(ClientError::Closed)?;
        while !self.sender.push_on().map_err(sending_error)? {
            client.connection.transport.writable().await?;
        }
        send_left(client, &self.sender).await
    }

    /// Ends the stream: says CopyDone, passes over WAL that is still on its way, and gives the connection back.
    pub async fn finish(mut self) -> Result<Finished, ClientError> {
        let mut client = self.client.take().ok_or(ClientError::Closed)?;
        client.connection.out.unsplit(self.sender.close());
        client.connection.queue(&FrontendMessage::CopyDone);
        // Reading goes on while writing, lest both sides wait for the other to read.
        let mut written = false;
        while !(written && self.server_done) {
            if let Some(frame) = client.connection.receive.take_frame(&client.connection.decoder)? {
                self.server_done |= passes_over(&mut client, frame)?;
                continue;
            }
            if self.server_done {
                client.connection.flush().await?;
                written = true;
                continue;
            }
            let connection = &mut client.connection;
            if written {
                connection.fill().await?;
            } else if !connection.try_fill()? {
                connection.flush().await?;
                written = true;
            }
        }
        client.connection.receive.expect_bulk(false);
        let next = ending(&mut client, None).await?;
        Ok(Finished { client, next })
    }
}

impl Drop for WalStream {
    fn drop(&mut self) {
        self.sender.close();
    }
}

/// Deals with a frame that comes after this side said CopyDone; whether it was the server's CopyDone.
fn passes_over(client: &mut Client, frame: Frame) -> Result<bool, ClientError> {
    if frame.tag == b'd' {
        return Ok(false);
    }
    match client.connection.note(BackendMessage::decode(frame)?) {
        None => Ok(false),
        Some(BackendMessage::CopyDone) => Ok(true),
        Some(BackendMessage::CommandComplete(_)) => Err(ClientError::Closed),
        Some(other) => Err(unexpected(&other)),
    }
}

/// Writes what others left for the stream's owner, and what a cancelled write left.
async fn send_left(client: &mut Client, sender: &StatusSender) -> Result<(), ClientError> {
    if let Some(status) = sender.take_left() {
        let body = status.to_bytes();
        put_copy_data_header(&mut client.connection.out, body.len());
        client.connection.out.extend_from_slice(&body);
    }
    if client.connection.out.is_empty() { Ok(()) } else { client.connection.flush().await }
}

fn payload(frame: Frame) -> Result<StreamEvent, ClientError> {
    Ok(match ServerPayload::decode(frame.body)? {
        ServerPayload::Wal(wal) => StreamEvent::Wal(wal),
        ServerPayload::Keepalive(keepalive) => StreamEvent::Keepalive(keepalive),
    })
}

fn sending_error(error: io::Error) -> ClientError {
    if error.kind() == io::ErrorKind::NotConnected { ClientError::Closed } else { connection_error(error) }
}
