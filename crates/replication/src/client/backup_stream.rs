//! BASE_BACKUP, from the client's side.

use std::time::Duration;

use bytes::Bytes;

use super::Client;
use super::connection::{connection_error, unexpected};
use super::error::ClientError;
use super::types::ResultSet;
use crate::error::ServerError;
use crate::frame::Frame;
use crate::message::{BackendMessage, FrontendMessage};

/// What comes out of a base backup, in the order it comes: two row sets (start position; tablespaces), a copy
/// (several before PostgreSQL 15), a row set (end position), the end. Notices come anywhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackupEvent {
    /// A complete row set.
    Rows(ResultSet),
    /// A copy begins.
    CopyBegin,
    /// A CopyData body, a slice of the receive buffer: see [`BackupMessage`](crate::stream::BackupMessage) for what
    /// is in it from PostgreSQL 15 on.
    Data(Bytes),
    /// The copy is complete.
    CopyEnd,
    /// Something for the user to know.
    Notice(Box<ServerError>),
    /// The backup is complete and the connection is in command mode again: [`BackupStream::into_client`].
    Finished,
}

/// A base backup under way. Dropping it closes the connection, which ends the backup on the server.
#[derive(Debug)]
pub struct BackupStream {
    client: Client,
    /// A row set that is not complete yet.
    rows: Option<ResultSet>,
    /// Within the copy, where bytes are many and nobody waits for the single one.
    copying: bool,
    /// The last read, within the copy, took everything there was.
    drained: bool,
    finished: bool,
}

/// How many bytes of the copy are worth waking up for.
const GATHERED: i32 = 256 << 10;

/// How long to wait for so many.
const PATIENCE: Duration = Duration::from_millis(2);

/// Far more tablespaces than anybody has.
const MOST_ROWS: usize = 1 << 20;

impl Client {
    /// Sends a BASE_BACKUP command. An error of the server comes out of [`BackupStream::next`].
    pub async fn base_backup(mut self, command: &str) -> Result<BackupStream, ClientError> {
        self.connection.queue(&FrontendMessage::Query(command.to_owned()));
        self.connection.flush().await?;
        self.connection.receive.expect_bulk(true);
        Ok(BackupStream { client: self, rows: None, copying: false, drained: false, finished: false })
    }
}

impl BackupStream {
    /// Waits for the next event. Cancel safe. After an error the backup is lost.
    pub async fn next(&mut self) -> Result<BackupEvent, ClientError> {
        loop {
            if let Some(event) = self.take_buffered()? {
                return Ok(event);
            }
            let connection = &mut self.client.connection;
            if self.copying {
                let gathered = connection.transport.gather(GATHERED, PATIENCE).await;
                gathered.map_err(connection_error)?;
            }
            connection.fill().await?;
            self.drained = self.copying && connection.receive.has_room();
        }
    }

    /// The next event, if it can be had without waiting.
    pub fn try_next(&mut self) -> Result<Option<BackupEvent>, ClientError> {
        loop {
            if let Some(event) = self.take_buffered()? {
                return Ok(Some(event));
            }
            // What trickles in is left to gather.
            if self.drained || !self.client.connection.try_fill()? {
                return Ok(None);
            }
            self.drained = self.copying && self.client.connection.receive.has_room();
        }
    }

    /// The connection's properties.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The connection, in command mode again; `None` before [`BackupEvent::Finished`].
    pub fn into_client(mut self) -> Option<Client> {
        self.client.connection.receive.expect_bulk(false);
        self.finished.then_some(self.client)
    }

    fn take_buffered(&mut self) -> Result<Option<BackupEvent>, ClientError> {
        if self.finished {
            return Ok(Some(BackupEvent::Finished));
        }
        while let Some(frame) = self.client.connection.receive.take_frame(&self.client.connection.decoder)? {
            if let Some(event) = self.event(frame)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn event(&mut self, frame: Frame) -> Result<Option<BackupEvent>, ClientError> {
        if frame.tag == b'd' {
            return Ok(Some(BackupEvent::Data(frame.body)));
        }
        let message = match BackendMessage::decode(frame)? {
            BackendMessage::NoticeResponse(notice) => return Ok(Some(BackupEvent::Notice(notice))),
            message => message,
        };
        let Some(message) = self.client.connection.note(message) else { return Ok(None) };
        match (message, &mut self.rows) {
            (BackendMessage::RowDescription(columns), None) => {
                self.rows = Some(ResultSet { columns, ..ResultSet::default() });
                Ok(None)
            }
            (BackendMessage::DataRow(row), Some(rows))
                if row.len() == rows.columns.len() && rows.rows.len() < MOST_ROWS =>
            {
                rows.rows
                    .push(row.into_iter().map(|value| value.map(|v| Bytes::copy_from_slice(&v))).collect());
                Ok(None)
            }
            (BackendMessage::CommandComplete(tag), rows) => {
                // The last one, BASE_BACKUP, completes no rows.
                Ok(rows.take().map(|rows| BackupEvent::Rows(ResultSet { tag, ..rows })))
            }
            (BackendMessage::CopyOutResponse(_), None) => {
                self.copying = true;
                Ok(Some(BackupEvent::CopyBegin))
            }
            (BackendMessage::CopyDone, None) => {
                (self.copying, self.drained) = (false, false);
                Ok(Some(BackupEvent::CopyEnd))
            }
            (BackendMessage::ReadyForQuery(_), None) => {
                self.finished = true;
                Ok(Some(BackupEvent::Finished))
            }
            (other, _) => Err(unexpected(&other)),
        }
    }
}
