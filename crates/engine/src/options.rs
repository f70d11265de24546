//! What an embedder can choose.

use std::sync::Arc;
use std::time::Duration;

use wal::Lsn;
use wal::payload::RecordTime;
use wal::record::ImageCompression;

use crate::LogKeeper;

/// Choices made each time a data directory is opened. Named as PostgreSQL's settings; sizes are in bytes.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Memory for the latest versions of pages.
    pub shared_buffers: usize,
    /// Memory for older versions, which snapshots read; beyond it the oldest snapshots are cancelled.
    pub version_memory: usize,
    /// WAL that makes a checkpoint due.
    pub max_wal_size: u64,
    /// WAL segments kept to be used again, however little is written.
    pub min_wal_size: u64,
    /// WAL kept for followers beyond what recovery needs.
    pub wal_keep_size: u64,
    /// If the log has lost its end: where it ends, as [`crate::EngineError::WalLost`] told it. Then the directory is opened all
    /// the same, and goes on from there on a new timeline. Refused if that is not where the log ends, or if nothing is lost.
    pub accept_loss: Option<Lsn>,
    /// Who needs WAL besides recovery; nobody by default.
    pub keeper: Option<Arc<dyn LogKeeper>>,
    /// WAL that may wait in memory to be written.
    pub wal_buffers: usize,
    /// How full-page images are compressed, if at all.
    pub wal_compression: Option<ImageCompression>,
    /// Whether a page's first change after a checkpoint logs the page. Off is safe only where pages are never torn.
    pub full_page_writes: bool,
    /// The longest time between checkpoints.
    pub checkpoint_timeout: Duration,
    /// The part of that time over which a checkpoint's writes are spread.
    pub checkpoint_completion_target: f64,
    /// The most a transaction may write: keys, values and their overhead, in memory until it commits. The pages that its
    /// commit changes may take twice as much: as they were, and as they become.
    pub max_transaction_size: u64,
    /// After how long WAL that nobody waits for is flushed at the latest.
    pub wal_writer_delay: Duration,
    /// Whether checkpoints are reported in the program's log.
    pub log_checkpoints: bool,
    /// Whether positions are published in the log's directory for other processes. Not on a simulated disk.
    pub publish_status: bool,
    /// Up to where a leader's log is known to be confirmed, whatever the embedder demands for that. If recovery finds more,
    /// [`crate::Engine::confirmed`] stays at 0/0 until the embedder confirms all of it.
    pub known_confirmed: Lsn,
    /// Tells the time that commit records carry.
    pub clock: fn() -> RecordTime,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            shared_buffers: 128 << 20,
            version_memory: 64 << 20,
            max_wal_size: 1 << 30,
            min_wal_size: 80 << 20,
            wal_keep_size: 0,
            accept_loss: None,
            keeper: None,
            wal_buffers: 16 << 20,
            wal_compression: None,
            full_page_writes: true,
            checkpoint_timeout: Duration::from_secs(300),
            checkpoint_completion_target: 0.9,
            max_transaction_size: 1 << 30,
            wal_writer_delay: Duration::from_millis(200),
            log_checkpoints: true,
            publish_status: true,
            known_confirmed: Lsn::MAX,
            clock: system_clock,
        }
    }
}

fn system_clock() -> RecordTime {
    let micros = replication::waldir::UnixMicros::now().as_u64();
    RecordTime::from_unix_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
