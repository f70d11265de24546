//! How long a step may take.

use std::time::{Duration, Instant};

/// How long a step works before others get their turn.
const LENGTH: Duration = Duration::from_millis(1);
/// How many rows are handled between two looks at the clock.
const ROWS: u32 = 64;
/// How much output a step produces before it is sent.
const OUTPUT: usize = 64 * 1024;

/// The time slice of one step. Costs nothing for those that handle few rows.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    rows: u32,
    end: Option<Instant>,
    /// Length of the output when the step began.
    output: usize,
}

impl Slice {
    /// A slice that begins now, with `output` bytes waiting to be sent already.
    pub(crate) fn new(output: usize) -> Self {
        Self { rows: 0, end: None, output }
    }

    /// Counts a row. True if the slice is used up.
    #[inline]
    pub(crate) fn is_spent(&mut self) -> bool {
        self.rows += 1;
        self.rows.is_multiple_of(ROWS) && self.look()
    }

    /// The same, where output is produced.
    #[inline]
    pub(crate) fn is_spent_with(&mut self, output: usize) -> bool {
        output.saturating_sub(self.output) >= OUTPUT || self.is_spent()
    }

    #[cold]
    fn look(&mut self) -> bool {
        let now = Instant::now();
        now >= *self.end.get_or_insert(now + LENGTH)
    }
}
