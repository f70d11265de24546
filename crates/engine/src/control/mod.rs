//! The control file, `global/pg_control`: what is known of a data directory before its log is read.
//!
//! [`ControlFile`] is its content as PostgreSQL 15 lays it out, so that `pg_controldata`, `pg_checksums` and everybody else
//! who looks there understands it; [`ControlStore`] reads it and replaces it.

mod file;
mod store;

pub use file::{ControlFile, Settings};
pub use replication::waldir::{ClusterState, ControlFileError};
pub(crate) use store::unix_seconds;
pub use store::{ControlStore, path_in};
