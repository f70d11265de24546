//! A database server whose bytes are PostgreSQL's.
//!
//! Clients speak PostgreSQL's [`protocol`] to the event loop in [`server`], which drives one [`session`] each; what is
//! configured, and how it is shown, is in [`config`].

mod catalog;
pub mod config;
pub mod exec;
pub mod process;
pub mod protocol;
pub mod server;
pub mod session;
mod settings;
mod views;
