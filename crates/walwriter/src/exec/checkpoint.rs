//! CHECKPOINT, which takes too long for a thread that serves sessions.

use std::sync::Arc;
use std::task::Waker;

use runtime::sync::Mutex;

use super::host::Host;
use super::{Failure, Result};

/// A checkpoint on a thread of its own.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    outcome: Arc<Mutex<Option<Result<()>>>>,
}

impl Checkpoint {
    /// Begins one; `waker` is woken when it is done.
    pub(super) fn start(host: Arc<dyn Host>, waker: Waker) -> Result<Self> {
        let this = Self::default();
        let outcome = Arc::clone(&this.outcome);
        let work = move || {
            let done = host.checkpoint();
            *outcome.lock() = Some(done);
            waker.wake();
        };
        std::thread::Builder::new()
            .name("checkpoint request".to_owned())
            .spawn(work)
            .map_err(|error| Failure::new("53000", format!("could not start a thread: {error}")))?;
        Ok(this)
    }

    /// How it went; `None` while it goes on.
    pub(super) fn poll(&self) -> Option<Result<()>> {
        self.outcome.lock().take()
    }
}
