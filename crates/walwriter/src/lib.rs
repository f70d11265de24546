//! A database server whose bytes are PostgreSQL's.
//!
//! Clients speak PostgreSQL's [`protocol`] to the event loop in [`server`], which drives one [`session`] each; statements
//! are executed by [`exec`]. What is configured, and how it is shown, is in [`config`]. Followers are served by
//! [`shipping`], waited for by [`sync`]; a [`standby`] gets its WAL from a leader or an archive; [`storage`] opens a
//! directory with all of these. A [`node`] is storage and executor together, and [`process`] runs one.

mod catalog;
pub mod config;
pub mod exec;
pub mod node;
pub mod process;
pub mod protocol;
pub mod server;
pub mod session;
mod settings;
pub mod shipping;
pub mod standby;
pub mod storage;
pub mod sync;
mod views;
