//! WAL streamed in the background, beside something else: what `basebackup -X stream` needs.
//!
//! [`BackgroundStream::start`] opens a replication connection of its own on a thread of its own, makes or takes a
//! slot, checks that the system is the expected one, and streams validated WAL into a
//! [`WalSink`] until it has passed the position given to [`BackgroundStream::stop_at`]; [`BackgroundStream::join`]
//! waits for that. Timeline switches are followed. There is no reconnecting: a base backup whose WAL stream breaks has
//! failed.

use wal::{Lsn, SystemId, TimelineId};

use crate::sink::SinkError;

/// The slot that keeps the server from removing WAL before it has been streamed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamSlot {
    /// None: the server may remove WAL too early, and the stream then fails.
    None,
    /// One that exists.
    Existing(String),
    /// One to be created first, permanent, reserving WAL at once (`-C -S`).
    Create(String),
    /// A temporary one, `PREFIX_<backend pid>`, gone with the connection.
    Temporary {
        /// What its name begins with: `pg_basebackup` calls it `pg_basebackup`.
        prefix: String,
    },
}

/// What to stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRequest {
    /// Where the WAL must begin; rounded down to the start of its segment.
    pub start: Lsn,
    /// The timeline of `start`.
    pub timeline: TimelineId,
    /// The system it must come from, if known.
    pub system_id: Option<SystemId>,
    /// The slot to use.
    pub slot: StreamSlot,
    /// How often to tell the server how far we are (`-s`); zero: only when asked.
    pub status_interval: std::time::Duration,
}

/// What a stream that ended well has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streamed {
    /// The timeline it ended on.
    pub timeline: TimelineId,
    /// After the last byte received: at or past the stop position.
    pub end: Lsn,
}

/// Why a stream failed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The sink could not keep what was received.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

// `BackgroundStream` itself follows with the client half of the protocol:
//   pub async fn start(conninfo: &ConnInfo, request: StreamRequest, sink: Box<dyn WalSink>) -> Result<Self, StreamError>
//       returns once streaming has begun, so that a refused slot or connection is known at once;
//   pub fn stop_at(&self, end: Lsn)      the stream ends by itself once it has received everything before `end`;
//   pub fn received(&self) -> Lsn        how far it is;
//   pub async fn join(self) -> Result<Streamed, StreamError>
