//! From the connection to the thread that writes.

use replication::client::{BackupEvent, BackupStream};
use replication::stream::BackupMessage;
use tokio::sync::mpsc;

use super::super::error::TakeError;
use super::super::feed::Delivery;
use super::Session;
use super::answers::next;

/// How many messages are handed to the other thread at once.
const BATCH: usize = 64;

impl Session<'_> {
    /// Hands the copy over to the receiver's thread, message by message in batches.
    pub(super) async fn pass_on(
        &mut self,
        stream: &mut BackupStream,
        sender: mpsc::Sender<Delivery>,
    ) -> Result<(), TakeError> {
        const READ: &str = "could not read COPY data";
        let mut batch = Vec::new();
        loop {
            let event = match stream.try_next().map_err(TakeError::server(READ))? {
                Some(event) => event,
                None => {
                    send(&sender, Delivery::Batch(std::mem::take(&mut batch))).await?;
                    let patience = self.patience.clone();
                    patience.wait("data of the backup", next(stream, READ)).await?
                }
            };
            match event {
                BackupEvent::Data(body) => {
                    let message =
                        BackupMessage::decode(body).map_err(|error| TakeError::Answer(error.to_string()))?;
                    match &message {
                        BackupMessage::NewArchive { name, .. } => self.progress.begin(name),
                        BackupMessage::Progress(done) => self.progress.advance(*done),
                        BackupMessage::Data(_) | BackupMessage::Manifest => {}
                    }
                    batch.push(message);
                    if batch.len() >= BATCH {
                        send(&sender, Delivery::Batch(std::mem::take(&mut batch))).await?;
                    }
                }
                BackupEvent::CopyBegin => {}
                BackupEvent::CopyEnd => {
                    send(&sender, Delivery::Batch(batch)).await?;
                    send(&sender, Delivery::End).await?;
                    self.progress.finish();
                    return Ok(());
                }
                BackupEvent::Notice(notice) => tracing::warn!("{notice}"),
                BackupEvent::Rows(_) | BackupEvent::Finished => {
                    return Err(TakeError::Answer("server ended the backup before its data".to_owned()));
                }
            }
        }
    }
}

/// Fails if the receiver's thread has ended, which then knows why.
async fn send(sender: &mpsc::Sender<Delivery>, delivery: Delivery) -> Result<(), TakeError> {
    if matches!(&delivery, Delivery::Batch(batch) if batch.is_empty()) {
        return Ok(());
    }
    sender.send(delivery).await.map_err(|_| TakeError::Abandoned)
}
