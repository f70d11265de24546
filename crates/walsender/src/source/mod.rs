//! What may be served from the directory, and how far, at every moment.
//!
//! A thread of its own watches the directory and publishes a [`Serving`], at every change while somebody attends. The directory can be a living receiver's
//! (its status file says what is durable), a running PostgreSQL server's `pg_wal` (see `running_server`), or
//! nobody's (the end of valid WAL is found, and what was found is made durable before it is believed); and it can turn
//! from one into another at any time.
//!
//! Invariants: nothing is published that is not durable, and on one timeline [`Serving::flush`] never goes back, so
//! that a follower is never told that what it has does not exist.

mod attention;
mod quiet;
mod running_server;
mod watch;

use wal::{Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId, WalVersion};

pub use attention::Attending;
pub use watch::{Source, SourceError};

/// Whose directory it is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Nobody who says so: an archive, a stopped receiver's or server's directory, or that of a tool which publishes
    /// no status.
    Unknown,
    /// A receiver that publishes its positions.
    Receiver,
    /// A running PostgreSQL server.
    Server,
}

/// What can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// The cluster whose WAL it is.
    pub system_id: SystemId,
    /// The PostgreSQL version whose WAL it is.
    pub version: WalVersion,
    /// The cluster's segment size.
    pub segment_size: SegmentSize,
    /// The newest timeline and where it left its ancestors, which are durable up to there.
    pub history: TimelineHistory,
    /// The end of what is durable of the newest timeline. Moved by the watching thread and by whoever writes
    /// here, forward only while the timeline stays the same.
    pub flush: Lsn,
    /// Who writes here.
    pub writer: Writer,
    /// Whether files may be recycled under a reader's hands, as PostgreSQL does in `pg_wal`.
    pub recycles: bool,
    /// Changes when files may have been replaced by others of the same name: open ones are then to be opened anew.
    pub generation: u64,
}

impl Serving {
    /// The newest timeline.
    pub fn timeline(&self) -> TimelineId {
        self.history.timeline()
    }
}
