//! How far one follower is.

use wal::Lsn;

use crate::stream::StandbyStatus;

/// What a follower says of itself, as it says it: bounded by nothing. 0/0 where it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// Written.
    pub write: Lsn,
    /// Durable.
    pub flush: Lsn,
    /// Replayed.
    pub apply: Lsn,
}

impl Said {
    /// The furthest of the three.
    pub fn furthest(&self) -> Lsn {
        self.write.max(self.flush).max(self.apply)
    }
}

/// The positions of one stream. `sent <= limit` once the stream has begun.
///
/// A follower's word counts only as far as it is about what this stream has sent. A follower that comes back asks again
/// for a segment's start, and claims from the first moment on what it has already: of this log or, if this server has
/// lost WAL or another one writes here now, of another. What it says it has *written* begins at the stream's start and
/// goes on as what arrives is compared with what is there, or overwrites it (`XLogWalRcvWrite`). So what it calls
/// durable or replayed counts once it has written that far on this stream, and not before; and nothing counts of a
/// stream that nothing was sent on. `start < write <= sent`, `flush <= write` and `apply <= write`, or 0/0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// Where the stream began.
    pub start: Lsn,
    /// Up to here may be sent: what is durable here, or where the timeline ended. Moved by the WAL source, forward
    /// only; frozen once the server stops.
    pub limit: Lsn,
    /// Up to here has been handed to the socket. Moved by the socket's owner; never ahead of `limit`, but for a
    /// timeline that turned out to end earlier than what had been sent of it.
    pub sent: Lsn,
    /// Up to here the follower has written of what was sent; 0/0 until it said so. Moved by its status messages.
    pub write: Lsn,
    /// Up to here what was sent is durable there; 0/0 for one that does not say (`pg_receivewal` without a slot).
    pub flush: Lsn,
    /// Up to here the follower has replayed what was sent; 0/0 for one that does not replay.
    pub apply: Lsn,
    /// Its last word, as it was said.
    pub said: Said,
    /// What it claimed to have when that was more than there is of the timeline being sent. Nothing more that it says
    /// counts until it has written as far on this stream.
    pub ahead: Option<Lsn>,
}

impl Positions {
    pub(super) fn new(start: Lsn, limit: Lsn) -> Self {
        let none = Lsn::INVALID;
        let said = Said::default();
        Self { start, limit, sent: start, write: none, flush: none, apply: none, said, ahead: None }
    }

    /// The follower has said how far it is. `is_newest` if the timeline that is sent goes on here: of one that has ended
    /// a follower may well have more than there is.
    pub(super) fn take(&mut self, status: &StandbyStatus, is_newest: bool) {
        self.said = Said { write: status.write, flush: status.flush, apply: status.apply };
        let claimed = self.said.furthest();
        if is_newest && claimed > self.limit {
            self.ahead = self.ahead.max(Some(claimed));
        }
        let held = status.write.min(self.sent);
        if self.ahead.is_some_and(|ahead| held >= ahead) {
            self.ahead = None;
        }
        if self.ahead.is_some() || held <= self.start {
            return;
        }
        self.write = held;
        // What it claims beyond that leaves as it was what has counted, as far as it does not go back on having written it.
        self.flush = if status.flush <= held { status.flush } else { self.flush.min(held) };
        self.apply = if status.apply <= held { status.apply } else { self.apply.min(held) };
        self.check();
    }

    /// What counts of the follower's word, whatever that is.
    fn check(&self) {
        let Self { start, sent, write, flush, apply, .. } = *self;
        assert!(start < write, "what counts as written, {write}, lies behind the stream's start, {start}");
        assert!(write <= sent, "what counts as written, {write}, was sent, {sent}");
        assert!(flush <= write, "what counts as durable, {flush}, counts as written, {write}");
        assert!(apply <= write, "what counts as replayed, {apply}, counts as written, {write}");
    }

    /// What counts of the follower's word.
    pub const fn counted(&self) -> Said {
        Said { write: self.write, flush: self.flush, apply: self.apply }
    }

    /// What the follower says that it has, in the strongest sense that it tells (`WalSndDone`).
    pub const fn replicated(&self) -> Lsn {
        if self.said.flush.is_valid() { self.said.flush } else { self.said.write }
    }
}
