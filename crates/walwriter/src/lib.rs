//! A database server whose bytes are PostgreSQL's.
//!
//! Clients speak PostgreSQL's [`protocol`] to the event loop in [`server`], which drives one [`session`] each; what is
//! configured, and how it is shown, is in [`config`]. Followers are served by [`shipping`], waited for by [`sync`]; a
//! [`standby`] gets its WAL from a leader or an archive.

pub mod config;
pub mod process;
pub mod protocol;
pub mod server;
pub mod session;
pub mod shipping;
pub mod standby;
pub mod storage;
pub mod sync;
