//! The clock of the protocol: microseconds since 2000-01-01 00:00 UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds from 1970-01-01 to 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800;
const MICROS: i64 = 1_000_000;

/// A moment in microseconds since 2000-01-01 00:00 UTC (`TimestampTz`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PgTimestamp(i64);

impl PgTimestamp {
    /// The moment `micros` microseconds after (or before) the beginning of 2000.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the beginning of 2000.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// By the system's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Microseconds since the beginning of 1970.
    pub const fn unix_micros(self) -> i64 {
        self.0.saturating_add(POSTGRES_EPOCH * MICROS)
    }

    /// The moment `micros` microseconds after the beginning of 1970.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(POSTGRES_EPOCH * MICROS))
    }

    /// How long after `earlier`; zero if in fact before it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for PgTimestamp {
    fn from(time: SystemTime) -> Self {
        let micros = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Self::from_unix_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_year_2000() {
        let start = UNIX_EPOCH + Duration::from_secs(946_684_800);
        assert_eq!(PgTimestamp::from(start).as_micros(), 0);
        assert_eq!(PgTimestamp::from(UNIX_EPOCH).unix_micros(), 0);
        let later = PgTimestamp::from_micros(5);
        assert_eq!(later.since(PgTimestamp::default()), Duration::from_micros(5));
        assert_eq!(PgTimestamp::default().since(later), Duration::ZERO);
    }
}
