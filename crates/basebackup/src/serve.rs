//! The server's side of BASE_BACKUP (`backup/basebackup.c`).
//!
//! A backup is a copy of the data directory taken while it is written to, and the WAL from a checkpoint's redo point to a
//! position that is durable once the last page was read. It is of the kind that PostgreSQL takes of a standby: nothing is
//! written to the log for it, so a leader, a standby and a process beside either give the same backup, and what makes
//! it consistent is `minRecoveryPoint` in the control file, which is sent last. Pages torn by a write in progress are read
//! again, and those changed since the checkpoint come back whole from the full-page images in the WAL.
//!
//! [`BackupRequest`] is the command taken apart, [`BackupSource`] what the server has to know, and [`BackupStream`]
//! makes the messages, a few at a time, so that the caller decides when and how fast they are sent. Nothing here touches a
//! socket.

mod archive;
mod calendar;
mod control;
mod label;
mod pages;
mod request;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod throttle;
mod tree;
mod wal_files;

pub use request::{BackupRequest, ManifestRequest};
pub use source::{BackupSource, StartPoint, StopPoint};
pub use stream::BackupStream;
pub use throttle::Throttle;
