//! Sessions over a real engine in a temporary directory, without a network.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod blocks;
mod client;
mod concurrency;
mod copy;
mod memory;
mod pgbench;
mod reply;
mod select;
mod server;
mod settings;
mod tables;
mod temporary;
mod writes;
