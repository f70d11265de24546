//! Spreading a checkpoint's writes. Source: `IsCheckpointOnSchedule` in `postmaster/checkpointer.c`.

use std::time::Duration;

use wal::{Lsn, SegmentSize};

use super::CheckpointOptions;

/// How far a checkpoint may have got by now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    options: CheckpointOptions,
    segment_size: SegmentSize,
    /// Where the log ended when the checkpoint began.
    began_at: Lsn,
    /// How many pages there are to write.
    pages: usize,
}

impl Pace {
    pub(super) fn new(
        options: CheckpointOptions,
        segment_size: SegmentSize,
        began_at: Lsn,
        pages: usize,
    ) -> Self {
        Self { options, segment_size, began_at, pages }
    }

    /// Whether, with `written` pages done, the checkpoint is ahead of both the clock and the log, and may rest.
    pub(super) fn is_ahead(&self, written: usize, elapsed: Duration, log_end: Lsn) -> bool {
        let progress = written as f64 / self.pages.max(1) as f64 * self.options.completion_target;
        let segments = self.options.segments(self.segment_size) as f64;
        let log = log_end.bytes_since(self.began_at) as f64;
        let by_log = log / f64::from(self.segment_size.bytes()) / segments;
        let by_time = elapsed.as_secs_f64() / self.options.timeout.as_secs_f64().max(1e-3);
        progress >= by_log && progress >= by_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_pages_are_written_in_half_the_target_of_time_and_log() {
        let size = SegmentSize::new(1 << 20).unwrap();
        let options = CheckpointOptions {
            timeout: Duration::from_secs(100),
            completion_target: 0.5,
            max_wal_size: 15 << 20,
            ..CheckpointOptions::default()
        };
        let began_at = size.start_of(wal::SegmentNo::new(7));
        let pace = Pace::new(options, size, began_at, 1000);
        let after = |segments: f64| began_at.saturating_add((segments * f64::from(1 << 20)) as u64);
        assert!(pace.is_ahead(500, Duration::from_secs(24), began_at));
        assert!(!pace.is_ahead(500, Duration::from_secs(26), began_at));
        // Ten segments until the next checkpoint.
        assert!(pace.is_ahead(500, Duration::ZERO, after(2.4)));
        assert!(!pace.is_ahead(500, Duration::ZERO, after(2.6)));
    }
}
