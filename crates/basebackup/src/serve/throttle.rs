//! `MAX_RATE`: how long to wait before more is sent.

use std::time::{Duration, Instant};

/// Holds a transfer to a rate, measured from its beginning.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: f64,
    begun_at: Instant,
    sent: u64,
}

impl Throttle {
    /// A limit of `rate` kB/s from `now` on.
    pub fn new(rate: u32, now: Instant) -> Self {
        Self { bytes_per_second: f64::from(rate) * 1024.0, begun_at: now, sent: 0 }
    }

    /// How long to wait after `bytes` more were sent.
    pub fn delay(&mut self, bytes: usize, now: Instant) -> Duration {
        self.sent += bytes as u64;
        let due = Duration::from_secs_f64(self.sent as f64 / self.bytes_per_second);
        due.saturating_sub(now.duration_since(self.begun_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_too_early_is_waited_for() {
        let begun = Instant::now();
        let mut throttle = Throttle::new(64, begun);
        assert_eq!(throttle.delay(64 * 1024, begun), Duration::from_secs(1));
        let later = begun + Duration::from_secs(3);
        assert_eq!(throttle.delay(64 * 1024, later), Duration::ZERO);
        assert_eq!(throttle.delay(2 * 64 * 1024, later), Duration::from_secs(1));
    }
}
