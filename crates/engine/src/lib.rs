//! A page storage engine that writes PostgreSQL's WAL.
//!
//! Trees of opaque keys and values ([`btree`]) on 8 KiB pages ([`page`], [`buffer`]) in PostgreSQL's relation files
//! ([`relation`]); transactions whose writes reach the pages only when they commit ([`transaction`], [`lock`]), as one
//! contiguous run of WAL records ([`run`], [`log`]); snapshots that are LSNs ([`snapshot`]); checkpoints and the control
//! file ([`checkpoint`], [`control`]), made with the directory ([`layout`]); and the replay of runs, the same after a crash
//! as on a standby ([`replay`]).
//! Nothing here knows SQL, sockets or the replication protocol.

pub mod btree;
pub mod buffer;
pub mod checkpoint;
pub mod control;
#[cfg(test)]
mod effort;
mod engine;
mod error;
pub mod fatal;
mod ids;
pub mod layout;
pub mod lock;
pub mod log;
mod options;
pub mod page;
pub mod page_access;
pub mod relation;
pub mod replay;
mod retention;
pub mod run;
pub mod snapshot;
mod standby;
pub mod transaction;

pub use engine::{Engine, PendingCommit, TimelinePosition};
pub use error::EngineError;
pub use ids::{PageId, TreeId};
pub use layout::InitOptions;
pub use options::EngineOptions;
pub use retention::{KnownDurable, LogExtent, LogKeeper};
pub use standby::Standby;
pub use transaction::{BulkLoad, Commit, Direction, Isolation, Savepoint, Scan, Transaction};
