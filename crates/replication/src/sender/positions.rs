//! How far one follower is.

use wal::Lsn;

use crate::stream::StandbyStatus;

/// The positions of one stream. `sent <= limit` once the stream has begun; what the follower reports is its own
/// word and bounded by nothing: a follower that asks again for a segment's start reports what it has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// Up to here may be sent: what is durable here, or where the timeline ended. Moved by the WAL source, forward
    /// only; frozen once the server stops.
    pub limit: Lsn,
    /// Up to here has been handed to the socket. Moved by the socket's owner; never ahead of `limit`, but for a
    /// timeline that turned out to end earlier than what had been sent of it.
    pub sent: Lsn,
    /// Up to here the follower has written; 0/0 until it said so. Moved by its status messages, may move back.
    pub write: Lsn,
    /// Up to here the follower is durable; 0/0 for one that does not say (`pg_receivewal` without a slot).
    pub flush: Lsn,
    /// Up to here the follower has replayed; 0/0 for one that does not replay.
    pub apply: Lsn,
}

impl Positions {
    pub(super) const fn new(start: Lsn, limit: Lsn) -> Self {
        Self { limit, sent: start, write: Lsn::INVALID, flush: Lsn::INVALID, apply: Lsn::INVALID }
    }

    pub(super) const fn take(&mut self, status: &StandbyStatus) {
        self.write = status.write;
        self.flush = status.flush;
        self.apply = status.apply;
    }

    /// What the follower has, in the strongest sense that it tells (`WalSndDone`).
    pub const fn replicated(&self) -> Lsn {
        if self.flush.is_valid() { self.flush } else { self.write }
    }
}
