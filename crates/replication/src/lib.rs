//! The streaming-replication protocol.
//!
//! Framing ([`frame`]), messages ([`message`]) and streaming payloads ([`stream`]) are sans-IO and serve both sides.
//! The client side is [`conninfo`] (what to connect to), [`auth`] and [`tls`] (how to be let in) and [`client`]
//! (the connection itself, over tokio).

pub mod auth;
pub mod client;
pub mod command;
pub mod conninfo;
pub mod error;
pub mod frame;
pub mod message;
pub mod receiver;
pub mod sender;
pub mod server;
pub mod stream;
pub mod tls;
pub mod waldir;
