//! When checkpoints happen, and what they keep.

use std::time::Duration;

use wal::{Lsn, SegmentNo, SegmentSize};

/// PostgreSQL's settings of the same names; sizes in bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CheckpointOptions {
    /// `checkpoint_timeout`: a checkpoint begins this long after the last one began, if anything was appended.
    pub timeout: Duration,
    /// `checkpoint_completion_target`: the part of the time until the next checkpoint over which pages are written, 0 to 1.
    pub completion_target: f64,
    /// `max_wal_size`: checkpoints begin early enough that the log behind the last redo position stays below this.
    pub max_wal_size: u64,
    /// `min_wal_size`: at least so much is kept in segment files to be used again.
    pub min_wal_size: u64,
    /// `wal_keep_size`: so much of the past is kept for standbys without a slot.
    pub wal_keep_size: u64,
    /// `full_page_writes`, which the record tells.
    pub full_page_writes: bool,
    /// `log_checkpoints`.
    pub log: bool,
}

impl Default for CheckpointOptions {
    /// PostgreSQL 15's defaults.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(300),
            completion_target: 0.9,
            max_wal_size: 1 << 30,
            min_wal_size: 80 << 20,
            wal_keep_size: 0,
            full_page_writes: true,
            log: true,
        }
    }
}

impl CheckpointOptions {
    /// After how many segments a checkpoint begins, so that it is complete before `max_wal_size` is reached.
    /// Source: `CalculateCheckpointSegments` in `access/transam/xlog.c`.
    pub(super) fn segments(&self, size: SegmentSize) -> u64 {
        let most = self.max_wal_size / u64::from(size.bytes());
        ((most as f64 / (1.0 + self.completion_target)) as u64).max(1)
    }

    /// The position at which a checkpoint is due because of the log's volume, if the last redo position is `redo`.
    pub(super) fn due_at(&self, redo: Lsn, size: SegmentSize) -> Lsn {
        let last = size.segment_of(redo).as_u64() + self.segments(size) - 1;
        size.end_of(SegmentNo::new(last))
    }
}
