//! Receives PostgreSQL WAL into a directory, validates it, makes it durable and acknowledges it.
//!
//! - [`receive`]: what the `walreceiver` command does, connection after connection;
//! - [`status`], [`verify`], [`fetch`]: what an archive's owner asks of it;
//! - [`standby`]: the receiver of a server that replays what arrives;
//! - [`sink`] and [`stream`]: WAL streamed in the background from one position to another, for a base backup.

mod archive;
mod compress;
pub mod fetch;
#[cfg(test)]
mod generated;
pub mod receive;
pub mod sink;
pub mod slot;
pub mod standby;
pub mod status;
pub mod stream;
pub mod verify;

pub use archive::ArchiveError;
pub use compress::Compress;
