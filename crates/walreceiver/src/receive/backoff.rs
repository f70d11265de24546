//! How long to wait before connecting again.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// A connection that held for so long starts the waiting afresh.
const HELD: Duration = Duration::from_secs(10);

/// Waits that double from 100 ms to 5 s, the interval of `pg_receivewal`.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// How long to wait after a connection begun at `since` and lost now.
    pub(super) fn after(&mut self, since: Instant, now: Instant) -> Duration {
        if now.saturating_duration_since(since) >= HELD {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_seconds_and_start_afresh_after_a_connection_that_held() {
        let mut backoff = Backoff::new();
        let now = Instant::now();
        let waits: Vec<u128> = (0..8).map(|_| backoff.after(now, now).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.after(now, now + Duration::from_secs(10)), FIRST);
    }
}
