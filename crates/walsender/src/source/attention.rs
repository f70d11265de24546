//! Whether anybody wants to know what can be served.
//!
//! Without followers a server's commits are nobody's news, and a thread woken for each of them would cost more than
//! some commits do. So the watching thread looks up at every change only while somebody [attends](Attention::attend),
//! and from time to time otherwise.
//!
//! Invariant: whoever attends is let go on only after a look that began after it had come, so that what it then
//! reads is never older than its arrival.

use std::sync::Arc;
use std::time::Duration;

use runtime::sync::{Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

/// Shared by the watching thread and those who attend.
#[derive(Debug)]
pub(super) struct Attention {
    state: Mutex<State>,
    arrival: Condvar,
    /// The last request that a look has answered. Moved by the watching thread, never ahead of [`State::requests`].
    answered: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// How many attend.
    attending: usize,
    /// How many looks have been asked for, each by somebody who came when nobody was there.
    requests: u64,
}

/// Somebody's attention, as long as it lives.
#[derive(Debug)]
pub struct Attending(Arc<Attention>);

impl Drop for Attending {
    fn drop(&mut self) {
        self.0.lock().attending -= 1;
    }
}

impl Attention {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), arrival: Condvar::new(), answered: watch::channel(0).0 })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Comes to stay, and waits for a look that is not older than that.
    pub(super) async fn attend(self: &Arc<Self>) -> Attending {
        let mut answered = self.answered.subscribe();
        let wanted = {
            let mut state = self.lock();
            if state.attending == 0 {
                state.requests += 1;
                self.arrival.notify_all();
            }
            state.attending += 1;
            state.requests
        };
        let attending = Attending(Arc::clone(self));
        // The sender is in `self`: this cannot fail.
        let _ = answered.wait_for(|answered| *answered >= wanted).await;
        attending
    }

    /// Has the watching thread look at once.
    pub(super) fn ask(&self) {
        self.lock().requests += 1;
        self.arrival.notify_all();
    }

    /// What a look that begins now will have answered.
    pub(super) fn requests(&self) -> u64 {
        self.lock().requests
    }

    /// A look that began at `requests` is over.
    pub(super) fn answer(&self, requests: u64) {
        self.answered.send_if_modified(|answered| {
            let news = *answered < requests;
            *answered = requests.max(*answered);
            news
        });
    }

    /// Whether anybody wants to know of every change.
    pub(super) fn is_attended(&self) -> bool {
        self.lock().attending > 0
    }

    /// Blocks the watching thread until somebody comes, at most for `timeout`.
    pub(super) fn await_arrival(&self, timeout: Duration) {
        let state = self.lock();
        let unanswered = |state: &mut State| state.requests == *self.answered.borrow();
        let _ = self.arrival.wait_timeout_while(state, timeout, unanswered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_waits_for_a_look_that_began_later() {
        let attention = Attention::new();
        let under_way = attention.requests();
        let coming = tokio::spawn({
            let attention = Arc::clone(&attention);
            async move { attention.attend().await }
        });
        while !attention.is_attended() {
            tokio::task::yield_now().await;
        }
        attention.answer(under_way);
        tokio::task::yield_now().await;
        assert!(!coming.is_finished(), "a look from before has been taken for an answer");
        attention.await_arrival(Duration::from_secs(3600));
        attention.answer(attention.requests());
        let attending = coming.await.unwrap();
        let second = attention.attend().await;
        drop(attending);
        assert!(attention.is_attended());
        drop(second);
        assert!(!attention.is_attended());
    }
}
