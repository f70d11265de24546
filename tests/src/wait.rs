//! Waiting for a condition, with a deadline: the only synchronisation the tests use.

use std::time::{Duration, Instant};

/// How long anything may take that takes milliseconds when all is well. Generous, since two cores may be busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks `condition` again and again until it gives a value.
///
/// # Panics
/// When `deadline` has passed, naming `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(25));
    }
}

/// [`wait_for`] a condition that is true or not, with the usual [`DEADLINE`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, DEADLINE, || condition().then_some(()));
}
