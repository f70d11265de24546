//! The messages that replication connections use, in both directions: decode from a complete [`Frame`], encode into
//! a send buffer. Source: the protocol's "Message Formats".
//!
//! [`Frame`]: crate::frame::Frame
//!
//! Decoders check every length against the bytes that are there, so that a malformed body is an error, never a
//! panic, and allocate nothing for a count that the body cannot hold.

mod backend;
mod body;
mod frontend;
mod startup;

pub use backend::{
    AuthenticationRequest, BackendMessage, Column, CopyFormat, TransactionStatus, put_copy_data_header,
};
pub use frontend::FrontendMessage;
pub use startup::{CANCEL_REQUEST, FirstPacket, GSSENC_REQUEST, PROTOCOL_3_0, SSL_REQUEST, StartupMessage};

/// A complete frame whose body is not what its type requires.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Too short, too long, or inconsistent in itself.
    #[error("malformed {0} message")]
    Malformed(&'static str),
    /// A type that this side does not know.
    #[error("unknown message type \"{}\"", .0.escape_ascii())]
    UnknownType(u8),
    /// A first packet that asks for another protocol than 3.
    #[error("unsupported frontend protocol {}.{}", .0 >> 16, .0 & 0xffff)]
    UnsupportedProtocol(u32),
}
