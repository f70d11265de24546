//! The buffer pool: pages in memory, each as of every LSN that somebody may read at.

use crate::EngineError;
use wal::Lsn;

/// The rule that makes the log a write-ahead log, as the pool needs it: a page reaches its file only after the run that
/// changed it last is durable in the log.
pub trait WalBeforeData: Send + Sync {
    /// Returns when everything before `lsn` is durable.
    fn flush(&self, lsn: Lsn) -> Result<(), EngineError>;

    /// Up to where the log is durable. Never goes back.
    fn flushed(&self) -> Lsn;
}
