//! The wall clock as it stands in the shared files.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01 00:00 UTC. Never 0, which in the shared files means "never".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnixMicros(u64);

impl UnixMicros {
    /// The moment `micros` after the epoch; `None` for 0.
    pub const fn new(micros: u64) -> Option<Self> {
        if micros == 0 { None } else { Some(Self(micros)) }
    }

    /// Now, by the system's clock (at least 1, should the clock stand at the epoch).
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX).max(1))
    }

    /// Microseconds since the epoch.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is, in microseconds; 0 if it is not.
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub(super) fn to_word(time: Option<Self>) -> u64 {
        time.map_or(0, Self::as_u64)
    }
}
