//! The command line of walwriter.
fn main() {}
