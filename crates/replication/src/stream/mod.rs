//! What travels inside CopyData while WAL is streamed or a base backup is sent.
//!
//! Sans-IO: every type is decoded from, and encoded to, one CopyData body. Nothing here reserves memory for a
//! length that somebody claims, and no body, however short, makes a decoder panic.

mod backup;
mod timestamp;
mod wal;

pub use backup::BackupMessage;
pub use timestamp::PgTimestamp;
pub use wal::{
    ClientPayload, HotStandbyFeedback, Keepalive, ServerPayload, StandbyStatus, WAL_FRAME_HEADER, WalData,
    wal_frame_header,
};

/// A CopyData body that is not what the stream allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A CopyData message without a single byte.
    #[error("empty streaming message")]
    Empty,
    /// A kind that nobody knows, or that cannot come from this side.
    #[error("unknown streaming message type {}", .0.escape_ascii())]
    UnknownType(u8),
    /// Shorter or longer than its kind is.
    #[error("streaming message of type {} has {length} bytes", kind.escape_ascii())]
    WrongLength {
        /// The message's first byte.
        kind: u8,
        /// Its whole length with the first byte.
        length: usize,
    },
    /// A text without its terminating zero, or not in UTF-8.
    #[error("streaming message of type {} holds a malformed text", .0.escape_ascii())]
    MalformedText(u8),
}
