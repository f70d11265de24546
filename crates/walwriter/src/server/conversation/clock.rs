//! How long the statement at hand may still take (`statement_timeout`).
//!
//! The clock is read only for statements that take longer than one step, so that short ones cost no look at the time.

use std::time::{Duration, Instant};

/// When the statement has taken too long.
#[derive(Debug, Default)]
pub(super) struct StatementClock {
    /// Set once the statement has taken longer than one step, gone when it ends.
    deadline: Option<Instant>,
}

impl StatementClock {
    /// The statement takes longer than a step: its time counts from now on, if it does not already.
    pub(super) fn start(&mut self, timeout: impl FnOnce() -> Option<Duration>) {
        if self.deadline.is_none()
            && let Some(timeout) = timeout()
        {
            self.deadline = Instant::now().checked_add(timeout);
        }
    }

    /// The statement is over.
    pub(super) fn stop(&mut self) {
        self.deadline = None;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The deadline, or `other` if that comes first.
    pub(super) fn deadline_or(&self, other: Option<Instant>) -> Option<Instant> {
        match (self.deadline, other) {
            (Some(deadline), Some(other)) => Some(deadline.min(other)),
            (deadline, other) => deadline.or(other),
        }
    }

    pub(super) fn has_run_out(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
