//! The WAL that is streamed beside the backup.

use std::sync::Arc;
use std::time::Duration;

use disk::OsDisk;
use wal::SystemId;
use walreceiver::sink::{DirectoryOptions, DirectorySink, WalSink};
use walreceiver::stream::{BackgroundStream, StreamRequest, StreamSlot};

use super::super::error::TakeError;
use super::super::options::{Slot, WalMethod};
use super::super::tree::Tree;
use super::super::wal_archive::WalArchive;
use super::Session;
use super::answers::Position;
use crate::file_error::FileError;

impl Session<'_> {
    /// `pg_wal`, which streaming writes to before the archive names it.
    pub(super) fn prepare_wal(&mut self, tree: &mut Tree, major: u32) -> Result<(), TakeError> {
        let wal = tree.root().join("pg_wal");
        match &self.options.wal_directory {
            Some(directory) => {
                let linked = std::os::unix::fs::symlink(directory, &wal);
                linked.map_err(FileError::on("create symbolic link", &wal))?;
                tree.add_directory(&wal);
            }
            None => self.make_directory(tree, &wal)?,
        }
        if self.options.wal == WalMethod::Stream {
            self.make_directory(tree, &wal.join("archive_status"))?;
            if major >= 17 {
                self.make_directory(tree, &wal.join("summaries"))?;
            }
        }
        Ok(())
    }

    /// Starts to stream the WAL that is written from `start` on, if that is asked for.
    pub(super) async fn start_wal(&mut self, start: Position, system_id: SystemId) -> Result<(), TakeError> {
        if self.options.wal != WalMethod::Stream {
            return Ok(());
        }
        tracing::info!("starting background WAL receiver");
        let durable = !self.options.no_sync;
        let sink: Box<dyn WalSink> = if self.is_tree() {
            let options = DirectoryOptions { sync: durable, mark_done: true };
            let disk = if self.modes.group { OsDisk::with_group_access() } else { OsDisk::new() };
            Box::new(DirectorySink::new(Arc::new(disk), self.root().join("pg_wal"), options))
        } else {
            let compression = self.options.client_compression();
            let archive = WalArchive::create(self.root(), compression, self.modes.file, durable);
            Box::new(archive.map_err(|error| TakeError::Wal(error.to_string()))?)
        };
        let slot = match &self.options.slot {
            Slot::None => StreamSlot::None,
            Slot::Temporary => StreamSlot::Temporary { prefix: "pg_basebackup".to_owned() },
            Slot::Named { name, create: true } => StreamSlot::Create(name.clone()),
            Slot::Named { name, create: false } => StreamSlot::Existing(name.clone()),
        };
        let request = StreamRequest {
            start: start.lsn,
            timeline: start.timeline,
            system_id: Some(system_id),
            slot,
            status_interval: Duration::from_secs(self.options.status_interval.into()),
            patience: self.patience.for_answer().limit(),
        };
        let stream = BackgroundStream::start(self.conninfo, request, sink).await;
        self.wal = Some(stream.map_err(|error| TakeError::Wal(error.to_string()))?);
        Ok(())
    }

    /// Waits until all WAL up to `end` is there.
    pub(super) async fn finish_wal(&mut self, end: Position) -> Result<(), TakeError> {
        let Some(wal) = self.wal.take() else { return Ok(()) };
        tracing::info!("waiting for background process to finish streaming ...");
        wal.stop_at(end.lsn);
        wal.join().await.map_err(|error| TakeError::Wal(error.to_string()))?;
        Ok(())
    }
}
