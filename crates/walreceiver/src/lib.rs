//! Receives WAL into a directory.
