//! How long ago what a follower reports was to be sent: a sample of the log's end and the time from time to time, matched
//! with the positions that come back. Source: `LagTrackerWrite`, `LagTrackerRead` in `replication/walsender.c`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wal::Lsn;

use super::Positions;

/// How many samples are kept until all positions have passed them (`LAG_TRACKER_BUFFER_SIZE`).
const MOST_SAMPLES: usize = 8192;

/// How far behind a follower is, as time: in writing, in syncing and in replaying. `None` where it has not told, or has
/// had everything for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lags {
    /// Until written there.
    pub write: Option<Duration>,
    /// Until durable there.
    pub flush: Option<Duration>,
    /// Until visible there.
    pub apply: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    lsn: Lsn,
    at: Instant,
}

/// One of the follower's positions among the samples.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    /// The number of the first sample that the position has not passed, counted from the stream's beginning.
    next: u64,
    /// The last sample it has passed; `None` once it has passed all there are.
    last: Option<Sample>,
}

/// Samples of one stream.
#[derive(Debug, Default)]
pub(super) struct LagTracker {
    /// Ascending; those that some position has not passed yet.
    samples: VecDeque<Sample>,
    /// The number of the first of them.
    first: u64,
    /// What was sampled last, to sample each end of the log once.
    last_lsn: Lsn,
    /// For write, flush and apply.
    heads: [Head; 3],
    lags: Lags,
    /// The last report said that everything was applied.
    was_all_applied: bool,
}

impl LagTracker {
    /// The log up to `end` is about to be sent.
    pub(super) fn sending(&mut self, end: Lsn, now: Instant) {
        if end <= self.last_lsn {
            return;
        }
        self.last_lsn = end;
        if self.samples.len() >= MOST_SAMPLES {
            // The last one is replaced, as in PostgreSQL: a simple way to sample less often. Whoever has passed it by
            // then passes it once more.
            self.samples.pop_back();
            let end = self.first + self.samples.len() as u64;
            self.heads.iter_mut().for_each(|head| head.next = head.next.min(end));
        }
        let last = self.samples.back().map_or(Lsn::INVALID, |last| last.lsn);
        assert!(last < end, "samples ascend: {end} after {last}");
        assert!(self.samples.len() < MOST_SAMPLES, "there are {MOST_SAMPLES} samples at most");
        self.samples.push_back(Sample { lsn: end, at: now });
    }

    /// The follower has told where it is.
    pub(super) fn reported(&mut self, positions: &Positions, now: Instant) {
        // Everything twice in a row: nothing happens, and what was measured last is no news any more.
        let all_applied = positions.apply.is_valid() && positions.apply == positions.sent;
        let is_idle = all_applied && self.was_all_applied;
        self.was_all_applied = all_applied;
        let lsns = [positions.write, positions.flush, positions.apply];
        let mut lags = [self.lags.write, self.lags.flush, self.lags.apply];
        for (index, (lsn, lag)) in lsns.into_iter().zip(&mut lags).enumerate() {
            // Who replays nothing, or does not say what is durable, is not behind in it.
            let read = if lsn.is_valid() { self.read(index, lsn, now) } else { None };
            if read.is_some() || is_idle {
                *lag = read;
            }
        }
        let [write, flush, apply] = lags;
        self.lags = Lags { write, flush, apply };
        self.forget_passed(lsns);
    }

    /// The last that was measured.
    pub(super) const fn lags(&self) -> Lags {
        self.lags
    }

    /// How long ago `lsn` was the log's end: of the last sample passed, or guessed between two, so that a position that
    /// stands still shows a growing lag.
    fn read(&mut self, index: usize, lsn: Lsn, now: Instant) -> Option<Duration> {
        let head = self.heads.get_mut(index)?;
        let mut passed = None;
        let sample =
            |number: u64| self.samples.get(usize::try_from(number.checked_sub(self.first)?).ok()?).copied();
        while let Some(next) = sample(head.next).filter(|next| next.lsn <= lsn) {
            passed = Some(next.at);
            head.last = Some(next);
            head.next += 1;
        }
        let ahead = sample(head.next);
        let last = head.last;
        if ahead.is_none() {
            // It has everything: what it passed last says nothing of the next burst.
            head.last = None;
        }
        let at = match (passed, ahead, last) {
            (Some(at), _, _) => at,
            (None, None, _) => return None,
            (None, Some(ahead), Some(last)) => between(last, ahead, lsn)?,
            (None, Some(ahead), None) => ahead.at,
        };
        Some(now.saturating_duration_since(at))
    }

    /// Drops the samples that every position has passed which the follower tells.
    fn forget_passed(&mut self, lsns: [Lsn; 3]) {
        let told = self.heads.iter().zip(lsns).filter(|(_, lsn)| lsn.is_valid()).map(|(head, _)| head.next);
        let Some(passed) = told.min() else { return };
        let count = usize::try_from(passed.saturating_sub(self.first)).unwrap_or(0).min(self.samples.len());
        self.samples.drain(..count);
        self.first += count as u64;
        self.heads.iter_mut().for_each(|head| head.next = head.next.max(self.first));
    }
}

/// When the log's end was at `lsn`, if it went evenly; `None` for a position before both, as after a change of timeline.
fn between(last: Sample, ahead: Sample, lsn: Lsn) -> Option<Instant> {
    if lsn < last.lsn {
        return None;
    }
    let (done, whole) = (lsn.bytes_since(last.lsn), ahead.lsn.bytes_since(last.lsn));
    let fraction = done as f64 / whole.max(1) as f64;
    Some(last.at + ahead.at.saturating_duration_since(last.at).mul_f64(fraction.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tracker: &mut LagTracker, lsns: [u64; 4], now: Instant) -> [Option<u64>; 3] {
        let [write, flush, apply, sent] = lsns.map(Lsn::new);
        let positions = Positions { sent, write, flush, apply, ..Positions::new(Lsn::INVALID, sent) };
        tracker.reported(&positions, now);
        let Lags { write, flush, apply } = tracker.lags();
        [write, flush, apply].map(|lag| lag.map(|lag| u64::try_from(lag.as_millis()).unwrap()))
    }

    #[test]
    fn a_lag_is_the_time_since_the_last_sample_passed_and_grows_while_a_position_stands_still() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut tracker = LagTracker::default();
        tracker.sending(Lsn::new(100), at(0));
        tracker.sending(Lsn::new(100), at(5));
        tracker.sending(Lsn::new(200), at(10));
        assert_eq!(report(&mut tracker, [100, 50, 0, 200], at(12)), [Some(12), Some(12), None]);
        assert_eq!(report(&mut tracker, [200, 100, 1, 200], at(20)), [Some(10), Some(20), Some(20)]);
        assert_eq!(report(&mut tracker, [200, 150, 1, 200], at(30)), [Some(10), Some(25), Some(30)]);
        assert_eq!(report(&mut tracker, [200, 200, 200, 200], at(40)), [Some(10), Some(30), Some(30)]);
        assert_eq!(report(&mut tracker, [200, 200, 200, 200], at(50)), [None; 3], "idle");
        tracker.sending(Lsn::new(300), at(1000));
        assert_eq!(
            report(&mut tracker, [200, 200, 200, 300], at(1007)),
            [Some(7); 3],
            "not since the last burst"
        );
        assert_eq!(report(&mut tracker, [300, 300, 300, 300], at(1008)), [Some(8); 3]);
        assert!(tracker.samples.is_empty());
    }

    #[test]
    fn samples_are_bounded_however_far_behind_a_follower_is() {
        let start = Instant::now();
        let mut tracker = LagTracker::default();
        for n in 1..=20_000 {
            tracker.sending(Lsn::new(n), start + Duration::from_millis(n));
        }
        assert_eq!(tracker.samples.len(), MOST_SAMPLES);
        let now = start + Duration::from_millis(20_000);
        assert_eq!(report(&mut tracker, [4_000, 4_000, 4_000, 20_000], now), [Some(16_000); 3]);
        assert_eq!(report(&mut tracker, [20_000, 20_000, 20_000, 20_000], now), [Some(0); 3]);
        // Who reports nothing keeps nothing from being forgotten.
        for n in 20_001..40_000 {
            tracker.sending(Lsn::new(n), now);
            report(&mut tracker, [n, 0, 0, n], now);
        }
        assert!(tracker.samples.is_empty());
    }
}
