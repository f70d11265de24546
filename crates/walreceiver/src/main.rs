//! The `walreceiver` command.

fn main() {}
