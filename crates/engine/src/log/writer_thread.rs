//! The thread that writes what nobody waits for: much at a time while a big run is appended, and everything after a
//! while (`wal_writer_delay`), for commits that were told not to wait.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use runtime::sync::{Condvar, Mutex};

use super::Shared;
use crate::EngineError;

/// What the thread waits for.
#[derive(Debug, Default)]
pub(super) struct Nudge {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    much_to_write: bool,
    stopping: bool,
}

enum Wish {
    Write,
    Flush,
    Stop,
}

impl Nudge {
    /// There is much to write.
    pub(super) fn write(&self) {
        self.state.lock().much_to_write = true;
        self.changed.notify_one();
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_one();
    }

    fn wait(&self, delay: Duration) -> Wish {
        let idle = |state: &mut State| !state.much_to_write && !state.stopping;
        let (mut state, _) = self.changed.wait_timeout_while(self.state.lock(), delay, idle);
        if state.stopping {
            Wish::Stop
        } else if std::mem::take(&mut state.much_to_write) {
            Wish::Write
        } else {
            Wish::Flush
        }
    }
}

pub(super) fn spawn(shared: Arc<Shared>, delay: Duration) -> Result<JoinHandle<()>, EngineError> {
    let work = move || {
        loop {
            runtime::fault::panic_if_wanted("panic in the log's writer");
            match shared.nudge.wait(delay) {
                Wish::Write => shared.write_out(),
                Wish::Flush => shared.flush_behind(),
                Wish::Stop => return,
            }
        }
    };
    let name = "wal writer".to_owned();
    thread::Builder::new()
        .name(name)
        .spawn(work)
        .map_err(|error| EngineError::Directory(format!("could not start a thread: {error}")))
}
