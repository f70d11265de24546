//! Who needs the log besides recovery: followers, by the slots that the embedder keeps for them.
//!
//! Part of the [options](crate::EngineOptions) that a directory is opened with, because recovery itself ends with a
//! checkpoint, and a standby makes restartpoints before its pages can be read: slots that were told later would find their
//! WAL gone.

use std::fmt;

use wal::{Lsn, SegmentSize, TimelineId};

use crate::EngineError;

/// Where the log ends that something is to be removed of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogExtent {
    /// The size of its segments.
    pub segment_size: SegmentSize,
    /// The end of what is durable.
    pub end: Lsn,
}

/// A position up to which the log was durable here once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownDurable {
    /// The position.
    pub lsn: Lsn,
    /// Who says so, for the operator: `replication slot "standby1"`.
    pub witness: String,
}

/// What the embedder knows of the log's readers.
pub trait LogKeeper: fmt::Debug + Send + Sync {
    /// Calls `remove` with the oldest position that somebody needs, `None` if nobody needs any. From before that position
    /// is taken until `remove` returns nobody can claim an older one, in whatever process: a claim made before counts, and
    /// one made after it finds its WAL there. Does not call it if it cannot tell: then nothing is removed.
    fn keep(&self, log: LogExtent, remove: &mut dyn FnMut(Option<Lsn>));

    /// The furthest position of `timeline` that readers have had: nobody is sent what is not durable, so the log reached
    /// that far. `None` if none is remembered.
    ///
    /// # Errors
    /// What is remembered cannot be read.
    fn known_durable(&self, timeline: TimelineId) -> Result<Option<KnownDurable>, EngineError>;
}
