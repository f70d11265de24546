//! Receives PostgreSQL WAL into a directory, validates it, makes it durable and acknowledges it.
//!
//! - [`sink`] and [`stream`]: WAL streamed in the background from one position to another, for a base backup;
//! - the `walreceiver` command itself: receiving, `status`, `verify` and `fetch`.

mod archive;
pub mod sink;
pub mod stream;
