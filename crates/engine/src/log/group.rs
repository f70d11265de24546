//! Group commit: one flushes, everybody else waits for that one.

use std::thread;

use runtime::sync::{Condvar, Mutex};

use crate::fatal::fatal;

/// Whose turn it is to flush.
#[derive(Debug, Default)]
pub(super) struct Group {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody has the turn.
    flushing: bool,
    /// Threads parked on `done`.
    waiting: usize,
    /// A flush has failed where that does not end the process (in simulations): nothing is known any more.
    failed: bool,
}

/// The turn to flush. Dropping it lets everybody go who waits: those whose record is covered return, and one of the
/// others gets the next turn.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Group);

impl Group {
    /// Waits until `is_done` or it is this thread's turn; `None` if it is done.
    pub(super) fn take_turn(&self, is_done: impl Fn() -> bool) -> Option<Turn<'_>> {
        let mut state = self.state.lock();
        loop {
            if state.failed {
                fatal("the WAL could not be written before");
            }
            if is_done() {
                return None;
            }
            if !state.flushing {
                state.flushing = true;
                return Some(Turn(self));
            }
            state.waiting += 1;
            state = self.done.wait(state);
            assert!(state.waiting > 0, "who has waited was counted");
            state.waiting -= 1;
        }
    }

    /// The turn, if nobody has it.
    pub(super) fn try_turn(&self) -> Option<Turn<'_>> {
        let mut state = self.state.lock();
        if state.flushing || state.failed {
            return None;
        }
        state.flushing = true;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        assert!(state.flushing, "only one has the turn, and keeps it until it is given up");
        state.flushing = false;
        state.failed |= thread::panicking();
        let waiting = state.waiting > 0;
        drop(state);
        // Waking costs a system call even if nobody sleeps.
        if waiting {
            self.0.done.notify_all();
        }
    }
}
