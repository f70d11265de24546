//! What the pool needs of the log.

use wal::Lsn;

use crate::EngineError;

/// The rule that makes the log a write-ahead log: a page reaches its file only after the run that changed it last is
/// durable in the log. On a standby, where all that is replayed is durable, only after the control file admits that pages
/// may be as new: "durable" then means that too.
pub trait WalBeforeData: Send + Sync {
    /// Returns when everything before `lsn` is durable.
    fn flush(&self, lsn: Lsn) -> Result<(), EngineError>;

    /// Up to where the log is durable. Never goes back.
    fn flushed(&self) -> Lsn;
}
