//! Sessions over a real engine in a temporary directory, without a network.

mod client;
mod select;
