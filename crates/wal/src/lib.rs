//! PostgreSQL's write-ahead log as bytes.
//!
//! Positions ([`Lsn`]), timelines, segment files, page headers, records, and the validator that decides whether a
//! run of bytes is WAL. Nothing here touches a file or a socket; bytes come in, facts and typed errors come out.
//! The formats are those of PostgreSQL 15 to 18 (`access/xlog_internal.h`, `access/xlogrecord.h`).

mod lsn;
mod segment;
mod timeline;

pub use lsn::{Lsn, ParseLsnError};
pub use segment::{InvalidSegmentSize, SegmentNo, SegmentSize, WalFileName};
pub use timeline::{SystemId, TimelineId};
