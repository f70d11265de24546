//! The `walsender` command.

fn main() {}
