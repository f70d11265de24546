//! How long followers are waited for when the server stops.
//!
//! A follower gets what is durable at that moment, and nothing is added to it. PostgreSQL waits for as long as followers say
//! anything; then one that trickles keeps a host from going down. Here a follower is worth waiting for while it
//! - has taken or confirmed something within the last [`STALLED`], and
//! - has altogether got at least [`PACE`] for each second beyond the first [`STALLED`].
//!
//! So one that lacks N MiB holds the server up for N + 5 seconds at most, and one that just catches up is never cut off.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wal::Lsn;

/// How long a follower may take nothing and confirm nothing.
const STALLED: Duration = Duration::from_secs(5);
/// What it has to get on by in a second, in bytes.
const PACE: u64 = 1 << 20;

/// How far one client has got. Shared by the thread that serves it and whoever waits for it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicU64,
    confirmed: AtomicU64,
}

impl Progress {
    /// The log was handed to its socket up to `sent`, and it has said that it has it up to `confirmed`.
    pub(super) fn tell(&self, sent: Lsn, confirmed: Lsn) {
        self.sent.store(sent.as_u64(), Ordering::Relaxed);
        self.confirmed.store(confirmed.as_u64(), Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Reached {
        let read = |position: &AtomicU64| position.load(Ordering::Relaxed);
        Reached { sent: read(&self.sent), confirmed: read(&self.confirmed) }
    }
}

/// Where a client was at some moment, as positions; 0 for one that follows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reached {
    sent: u64,
    confirmed: u64,
}

/// Waiting for clients since the server was told to stop.
#[derive(Debug)]
pub(super) struct Draining {
    began: Instant,
    seen: BTreeMap<u64, Seen>,
}

/// What was seen of a client.
#[derive(Debug)]
struct Seen {
    first: Reached,
    last: Reached,
    moved_at: Instant,
}

impl Draining {
    /// The server was told to stop at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, seen: BTreeMap::new() }
    }

    /// Whether any of these clients, each with the number of its connection, is worth waiting for. To be asked every now and
    /// then, and first at the beginning.
    pub(super) fn goes_on(
        &mut self,
        clients: impl IntoIterator<Item = (u64, Reached)>,
        now: Instant,
    ) -> bool {
        let mut any = false;
        for (number, reached) in clients {
            any |= self.gets_on(number, reached, now);
        }
        any
    }

    fn gets_on(&mut self, number: u64, reached: Reached, now: Instant) -> bool {
        let new = Seen { first: reached, last: reached, moved_at: self.began };
        let seen = self.seen.entry(number).or_insert(new);
        if seen.last != reached {
            seen.last = reached;
            seen.moved_at = now;
        }
        let sent = reached.sent.saturating_sub(seen.first.sent);
        let got = sent.max(reached.confirmed.saturating_sub(seen.first.confirmed));
        let allowed = STALLED + Duration::from_micros(got.saturating_mul(1_000_000) / PACE);
        now.duration_since(seen.moved_at) < STALLED && now.duration_since(self.began) < allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tenths of a second a client is waited for that is at `at` after each of them.
    fn waited_for(at: impl Fn(u64) -> Reached) -> u64 {
        let began = Instant::now();
        let mut draining = Draining::new(began);
        let worth = |tenths: &u64| {
            let now = began + Duration::from_millis(100 * tenths);
            draining.goes_on([(7, at(*tenths))], now)
        };
        (0..10_000).take_while(worth).count() as u64
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn whoever_takes_and_confirms_nothing_is_waited_for_5_seconds() {
        assert_eq!(waited_for(|_| Reached { sent: 100 * MIB, confirmed: MIB }), 50);
        // Also one that began well.
        let stalls = |tenths: u64| Reached { sent: 10 * MIB * tenths.min(20), confirmed: 0 };
        assert_eq!(waited_for(stalls), 70);
    }

    #[test]
    fn whoever_trickles_is_waited_for_as_long_as_it_would_have_taken_at_the_least_pace() {
        // Ten bytes a tenth of a second, in either sense, and far more than that.
        assert_eq!(waited_for(|tenths| Reached { sent: 5 + 10 * tenths, confirmed: 0 }), 51);
        assert_eq!(waited_for(|tenths| Reached { sent: 50 * MIB, confirmed: 10 * tenths }), 51);
        let half = waited_for(|tenths| Reached { sent: MIB / 20 * tenths, confirmed: 0 });
        assert!((99..=101).contains(&half), "5 s and 5 MiB, {half}");
    }

    #[test]
    fn whoever_gets_on_is_waited_for_to_the_end() {
        let fast = |tenths: u64| Reached { sent: MIB / 10 * tenths + 1, confirmed: 0 };
        assert_eq!(waited_for(fast), 10_000);
        let confirms = |tenths: u64| Reached { sent: 9000 * MIB, confirmed: MIB / 5 * tenths };
        assert_eq!(waited_for(confirms), 10_000);
    }

    #[test]
    fn one_that_gets_on_is_enough() {
        let began = Instant::now();
        let mut draining = Draining::new(began);
        let (stalled, mut good) = (Reached::default(), Reached::default());
        for seconds in 0..20 {
            good.confirmed = 2 * MIB * seconds;
            assert!(draining.goes_on([(1, stalled), (2, good)], began + Duration::from_secs(seconds)));
        }
        assert!(!draining.goes_on([(1, stalled)], began + Duration::from_secs(20)));
        assert!(!draining.goes_on([], began));
    }
}
