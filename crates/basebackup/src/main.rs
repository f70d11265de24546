//! The `basebackup` command.

fn main() {}
