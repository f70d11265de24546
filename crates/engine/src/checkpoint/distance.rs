//! How much log there is between checkpoints. Source: `UpdateCheckPointDistanceEstimate` in `access/transam/xlog.c`.

/// The log's volume between checkpoints, in bytes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Distance {
    /// From the last redo position but one to the last.
    pub(super) last: f64,
    /// What is expected of the next: up at once, down slowly, so that a quiet hour does not throw away the segments that
    /// the next busy one needs.
    pub(super) estimate: f64,
}

impl Distance {
    pub(super) fn observe(&mut self, bytes: u64) {
        let bytes = bytes as f64;
        self.last = bytes;
        self.estimate = if self.estimate < bytes { bytes } else { 0.90 * self.estimate + 0.10 * bytes };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_goes_up_at_once_and_down_slowly() {
        let mut distance = Distance::default();
        distance.observe(1000);
        assert_eq!(distance, Distance { last: 1000.0, estimate: 1000.0 });
        distance.observe(0);
        assert_eq!(distance, Distance { last: 0.0, estimate: 900.0 });
        distance.observe(2000);
        assert_eq!(distance.estimate, 2000.0);
    }
}
