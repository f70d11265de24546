//! Receives PostgreSQL WAL into a directory, validates it, makes it durable and acknowledges it.
//!
//! - [`receive`]: what the `walreceiver` command does, connection after connection;
//! - [`sink`] and [`stream`]: WAL streamed in the background from one position to another, for a base backup.

mod archive;
mod compress;
pub mod receive;
pub mod sink;
pub mod slot;
pub mod stream;

pub use archive::ArchiveError;
pub use compress::Compress;
