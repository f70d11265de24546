//! PostgreSQL's write-ahead log as bytes.
//!
//! Positions ([`Lsn`]), timelines and their [`history`], segment files, [`page`] headers, [`record`]s and what some of
//! them mean ([`payload`]), a [`writer`] that lays records out, and the [`Validator`] that decides whether a run of bytes
//! is WAL, a [`Walk`] over bytes from anywhere. Nothing here touches a file or a socket; bytes come in, facts and typed errors come out.
//! The formats are those of PostgreSQL 15 to 18 (`access/xlog_internal.h`, `access/xlogrecord.h`).

mod bytes;
pub mod crc;
pub mod history;
mod lsn;
pub mod page;
pub mod payload;
pub mod reader;
pub mod record;
mod segment;
mod tail;
mod timeline;
pub mod validator;
mod version;
mod walk;
pub mod writer;

pub use history::{HistoryEntry, HistoryError, TimelineHistory};
pub use lsn::{Lsn, ParseLsnError};
pub use segment::{InvalidSegmentSize, SegmentNo, SegmentSize, WalFileName};
pub use tail::Tail;
pub use timeline::{SystemId, TimelineId};
pub use validator::{Expectations, InvalidState, Validator, ValidatorState, WalError, WalErrorKind};
pub use version::WalVersion;
pub use walk::{LogBytes, Stop, Walk};
