//! The end of the process, where going on could lose or show what was never durable: [`runtime::end`], but for simulations.
//!
//! A failed fsync, or an error in the middle of applying a commit, leaves memory and disk in a state that only recovery
//! sorts out. The process ends at once and never retries: after a failed fsync the kernel may have dropped the bytes, and
//! a later fsync that succeeds proves nothing about them.

use std::fmt;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

/// What [`fatal`] panics with after [`panic_instead_of_abort`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fatal(pub String);

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Set once, by tests and simulations, never in production.
static PANICS: AtomicBool = AtomicBool::new(false);

/// Says `message` in one line on standard error and aborts the process, as a panic of a program does.
pub fn fatal(message: impl fmt::Display) -> ! {
    let message = message.to_string();
    if PANICS.load(Ordering::Relaxed) {
        tracing::error!("{message}");
        panic::panic_any(Fatal(message));
    }
    runtime::end::at_once(&message)
}

/// Says `message` in one line on standard error and ends the process with exit code 1, without a core file: nothing is
/// broken, but what this process has must be neither shown nor added to any more, and a restart will say the same.
pub fn refuse(message: impl fmt::Display) -> ! {
    let message = message.to_string();
    if PANICS.load(Ordering::Relaxed) {
        tracing::error!("{message}");
        panic::panic_any(Fatal(message));
    }
    runtime::end::refusing(&message)
}

/// From now on [`fatal`] and [`refuse`] panic with a [`Fatal`] instead, in the whole process: for tests, and for
/// simulations in which a node dies and its process goes on. Whatever was in use when it panics must not be used again.
pub fn panic_instead_of_abort() {
    PANICS.store(true, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_end_carries_the_message() {
        panic_instead_of_abort();
        let outcome = panic::catch_unwind(|| fatal("could not fsync file \"base/5/1259\""));
        let payload = outcome.map(|never: std::convert::Infallible| never).expect_err("does not return");
        let fatal = payload.downcast_ref::<Fatal>().expect("carries the message");
        assert_eq!(fatal.0, "could not fsync file \"base/5/1259\"");
    }
}
