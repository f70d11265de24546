//! What the records mean that shipping a log needs to understand: the log's own, and the ends of transactions.

mod checkpoint;
mod transaction;
mod xlog;

pub use checkpoint::CheckPoint;
pub use transaction::{TransactionEnd, TransactionOutcome};
pub use xlog::{EndOfRecovery, XlogRecord};

/// A record whose main data is not what its kind demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("main data of the {0} record is malformed")]
pub struct PayloadError(pub &'static str);

/// A moment, in microseconds since 2000-01-01 00:00:00 UTC (`TimestampTz`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RecordTime(i64);

impl RecordTime {
    /// 2000-01-01 in seconds since 1970-01-01.
    const EPOCH: i64 = 946_684_800;

    /// The moment `micros` microseconds after the start of 2000.
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start of 2000.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Microseconds since the start of 1970, staying at the ends of the number space on overflow.
    pub const fn unix_micros(self) -> i64 {
        self.0.saturating_add(Self::EPOCH * 1_000_000)
    }

    /// The moment `micros` microseconds after the start of 1970.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(Self::EPOCH * 1_000_000))
    }
}
