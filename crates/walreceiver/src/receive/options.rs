//! What to receive, from where, into what.

use std::path::PathBuf;
use std::time::Duration;

use replication::client::PasswordPrompt;
use replication::conninfo::ConnInfo;
use wal::Lsn;

use crate::compress::Compress;

/// A receiver's options: those of `pg_receivewal`.
#[derive(Clone, Debug)]
pub struct ReceiverOptions {
    /// The server.
    pub conninfo: ConnInfo,
    /// `-w`, `-W`: when to ask for a password.
    pub prompt: PasswordPrompt,
    /// The directory; it must exist.
    pub dir: PathBuf,
    /// `-S`: the slot to stream with.
    pub slot: Option<String>,
    /// `--create-slot-if-missing`: have the server make the slot whenever it has not got it.
    pub create_slot_if_missing: bool,
    /// `--synchronous`: make WAL durable and acknowledge it at once.
    pub synchronous: bool,
    /// `-E`: stop once a byte past this position has been received.
    pub end_position: Option<Lsn>,
    /// `-n`: end with the first connection.
    pub no_loop: bool,
    /// `-s`: the longest time between two statuses; zero: only when the server asks.
    pub status_interval: Duration,
    /// `-Z`.
    pub compress: Compress,
    /// False with `--no-sync`: nothing is made durable, and written counts as flushed.
    pub sync: bool,
}

impl ReceiverOptions {
    pub(super) fn flush_reports(&self) -> replication::receiver::FlushReports {
        use replication::receiver::FlushReports;
        match (self.synchronous, &self.slot) {
            (true, _) => FlushReports::AtOnce,
            (false, Some(_)) => FlushReports::Regularly,
            (false, None) => FlushReports::Never,
        }
    }

    pub(super) fn sync_mode(&self) -> crate::archive::SyncMode {
        use crate::archive::SyncMode;
        match (self.sync, self.synchronous) {
            (false, _) => SyncMode::Never,
            (true, true) => SyncMode::AtOnce,
            (true, false) => SyncMode::Soon,
        }
    }
}
