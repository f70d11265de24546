//! What a backup needs to know of the server that it is taken of.

use std::path::Path;

use replication::error::ServerError;
use wal::{Lsn, SegmentSize, TimelineId};

/// Where a backup starts: a checkpoint that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartPoint {
    /// The checkpoint's redo point, from which on WAL is needed.
    pub redo: Lsn,
    /// The checkpoint's record.
    pub checkpoint: Lsn,
    /// The timeline of both.
    pub timeline: TimelineId,
}

/// Where a backup is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopPoint {
    /// The end of a record that is durable and not before the LSN of any page that is on disk.
    pub end: Lsn,
    /// The timeline it lies on.
    pub timeline: TimelineId,
}

/// A server that can be backed up. Everything may block.
pub trait BackupSource {
    /// The data directory.
    fn data_directory(&self) -> &Path;

    /// The size of its WAL segments.
    fn segment_size(&self) -> SegmentSize;

    /// Finds a checkpoint to start from, or has one made, at once if `fast`; and keeps the WAL from its redo point on until
    /// the source is dropped.
    ///
    /// # Errors
    /// Whatever keeps the server from making a checkpoint, to be told to the client.
    fn start(&mut self, fast: bool) -> Result<StartPoint, Box<ServerError>>;

    /// Names the position that the backup has to be replayed to. Asked for once everything but the control file is read.
    ///
    /// # Errors
    /// A server that was promoted or stopped since the start.
    fn stop(&mut self) -> Result<StopPoint, Box<ServerError>>;
}
