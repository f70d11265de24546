//! SQL's messages on the wire, without I/O: [`FrontendMessage`]s are decoded in place from a receive buffer, and the
//! [`backend`]'s are appended to a send buffer. Source: the protocol's "Message Formats".
//!
//! Invariants: nothing is allocated for a length or a count that a client claims; a message that is not complete costs
//! nothing but the bytes that have arrived; no bytes make a decoder panic. What startup, log-in and replication share
//! is in the `replication` crate.

pub mod backend;
mod bind;
mod format;
mod frontend;
mod reader;
#[cfg(test)]
mod tests;

pub use bind::{Arguments, Bind};
pub use format::{Format, ResultFormats};
pub use frontend::{Frame, FrameError, FrontendMessage, ProtocolError, Target, peek};
