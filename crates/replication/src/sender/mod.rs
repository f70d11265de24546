//! The sender's half of START_REPLICATION PHYSICAL for one follower, without a socket, a file or a clock.
//!
//! [`SenderMachine`] is told what the follower said, how far the log is durable and what time it is, and answers with
//! the one thing to do next: send these bytes, send a keepalive, end the stream, or wait. Whoever owns the socket
//! does that and nothing else, so that the same logic runs over TCP, TLS and in simulation. It follows
//! `replication/walsender.c` (`WalSndLoop`, `XLogSendPhysical`, `ProcessRepliesIfAny`, `WalSndDone`).
//!
//! Invariants: nothing at or above the limit is asked to be sent, the limit never moves back, bytes are asked for in
//! order and without gaps, and after CopyDone nothing else follows inside the stream.

mod lag;
mod machine;
mod positions;
#[cfg(test)]
mod tests;

use std::time::Duration;

use wal::{Lsn, TimelineId};

use crate::error::ServerError;

pub use lag::Lags;
pub use machine::SenderMachine;
pub use positions::{Positions, Said};

/// The most WAL that goes into one message: 16 pages (`MAX_SEND_SIZE`).
pub const MAX_CHUNK: u32 = 128 * 1024;

/// What does not change while a stream lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderConfig {
    /// After how long a silence of the follower the connection is closed; `None` never (`wal_sender_timeout`).
    pub timeout: Option<Duration>,
    /// The most WAL for one message, in bytes. At least a page.
    pub max_chunk: u32,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self { timeout: Some(Duration::from_secs(60)), max_chunk: MAX_CHUNK }
    }
}

/// Where a timeline that has ended continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineSwitch {
    /// The next timeline on the way to the server's own.
    pub next: TimelineId,
    /// Where it begins and this one ends.
    pub at: Lsn,
}

/// Consecutive bytes of the log for one `w` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The first byte.
    pub start: Lsn,
    /// How many bytes; at least one.
    pub length: u32,
    /// The server's end of WAL to put in the message's header.
    pub server_end: Lsn,
}

impl Chunk {
    /// The position after the last byte.
    pub const fn end(&self) -> Lsn {
        self.start.saturating_add(self.length as u64)
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes as one `w`, then say so with [`SenderMachine::sent`].
    Send(Chunk),
    /// Send a `k`.
    Keepalive {
        /// The position to put in it.
        end: Lsn,
        /// Whether it asks for an answer.
        reply_requested: bool,
    },
    /// Send CopyDone.
    CopyDone,
    /// The stream is over. What was to be sent before has been asked for.
    Finish(Finish),
    /// Nothing to do until something comes in or this much time has passed; `None` is forever.
    Wait(Option<Duration>),
}

/// How a stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// Both sides sent CopyDone: back to command mode, by way of the next timeline's row if there is one, and then
    /// two CommandCompletes.
    CommandMode(Option<TimelineSwitch>),
    /// The server stops and the follower has everything: `COPY 0` without CopyDone, then close.
    ServerShutdown,
    /// Close, after telling the follower why if there is something to tell.
    Close(CloseReason),
}

/// Why a connection is closed in the middle of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The follower said goodbye.
    #[error("the follower ended the connection")]
    Terminated,
    /// Silence for the whole timeout. Nothing is sent.
    #[error("terminating walsender process due to replication timeout")]
    Timeout,
    /// CopyData of a kind that followers do not send. Nothing is sent.
    #[error("unexpected message type \"{}\"", .0.escape_ascii())]
    UnknownPayload(u8),
    /// Anything else that the protocol does not allow here; the error is sent.
    #[error("{}", .0.message)]
    Protocol(Box<ServerError>),
}

/// How far a follower is on its way to the tail, as `pg_stat_replication.state` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowerState {
    /// Still behind what was durable when it connected.
    CatchUp,
    /// Has been sent everything at least once; gets new bytes as they become durable.
    Streaming,
    /// Being drained because the server stops.
    Stopping,
    /// Claims to have more than there is: its word does not count.
    Ahead,
}

impl FollowerState {
    /// PostgreSQL's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CatchUp => "catchup",
            Self::Streaming => "streaming",
            Self::Stopping => "stopping",
            Self::Ahead => "ahead",
        }
    }
}
