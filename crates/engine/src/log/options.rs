//! What a log is opened with.

use std::time::Duration;

use wal::{Lsn, SegmentSize, SystemId, TimelineId};

/// How a log works, wherever it starts.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The size of its segments.
    pub segment_size: SegmentSize,
    /// Memory for records on their way to the files, in bytes (`wal_buffers`); half of it for those being appended,
    /// half for those being written. At least 64 KiB are taken.
    pub wal_buffers: usize,
    /// After how long what nobody waited for is flushed at the latest (`wal_writer_delay`).
    pub writer_delay: Duration,
    /// Whether to publish positions in the directory's `walship.status`. Not on a simulated disk, which cannot map files.
    pub publish_status: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_size: SegmentSize::DEFAULT,
            wal_buffers: 16 << 20,
            writer_delay: Duration::from_millis(200),
            publish_status: true,
        }
    }
}

impl LogOptions {
    /// Bytes appended beyond which an appender writes before it goes on.
    pub(super) fn buffer_limit(&self) -> usize {
        self.wal_buffers.max(64 << 10) / 2
    }
}

/// Where a log goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogStart {
    /// The cluster.
    pub system_id: SystemId,
    /// The timeline to go on with.
    pub timeline: TimelineId,
    /// Where `timeline` left its parent; 0/0 on timeline 1.
    pub timeline_start: Lsn,
    /// The end of the last valid record: what the next one follows.
    pub position: Lsn,
    /// The start of the last valid record; 0/0 if there is none.
    pub prev: Lsn,
    /// Whether the log was closed in order at `position`, so that nothing can stand behind it.
    pub clean: bool,
    /// If a record that starts here was never completed and others may have its beginning: `position` is then the page
    /// boundary where its continuation is missing, and an OVERWRITE_CONTRECORD record is the first to be appended.
    pub aborted: Option<Lsn>,
}

/// The timeline that a promotion begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTimeline {
    /// The new timeline, higher than any other known.
    pub timeline: TimelineId,
    /// The end of the last record replayed: where it leaves its parent.
    pub position: Lsn,
    /// The start of that record.
    pub prev: Lsn,
    /// The parent's ancestry.
    pub parent: wal::TimelineHistory,
    /// Why, for the history file: "no recovery target specified".
    pub reason: String,
}
