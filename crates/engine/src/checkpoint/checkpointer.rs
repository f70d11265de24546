//! The thread that makes checkpoints when they are due or asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use runtime::sync::{Condvar, Mutex, MutexGuard};
use wal::Lsn;

use super::distance::Distance;
use super::perform::Performer;
use super::{Cause, CheckpointOptions, CheckpointPages};
use crate::EngineError;
use crate::control::ControlStore;
use crate::log::Log;

/// How long a checkpoint rests at a time when it is ahead of its schedule.
const REST: Duration = Duration::from_millis(100);
/// How long after a failed checkpoint the next is tried.
const RETRY: Duration = Duration::from_secs(10);

/// Makes checkpoints until it is told to stop. Dropping it stops the thread without a checkpoint.
#[derive(Debug)]
pub struct Checkpointer {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where checkpoints are asked for.
#[derive(Debug)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    /// From this position on the log's volume asks for a checkpoint. Moved by the thread.
    due_at: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// What is asked for and not begun.
    wanted: Option<Cause>,
    /// Checkpoints begun, and of those finished: requests before a beginning are served by its end.
    begun: u64,
    finished: u64,
    /// Why the last finished one failed, if it did.
    failure: Option<String>,
    stopping: bool,
    /// The thread is gone.
    ended: bool,
}

/// Says that the thread is gone, however it goes.
struct AtEnd<'a>(&'a Desk);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Checkpointer {
    /// Starts the thread. The log's redo position must be set.
    pub fn start(
        log: Arc<Log>,
        control: Arc<ControlStore>,
        pages: Arc<dyn CheckpointPages>,
        options: CheckpointOptions,
    ) -> Result<Self, EngineError> {
        let redo = control.get().checkpoint_copy.redo;
        let due_at = AtomicU64::new(options.due_at(redo, log.segment_size()).as_u64());
        let desk = Arc::new(Desk { state: Mutex::default(), changed: Condvar::new(), due_at });
        let observer = Arc::clone(&desk);
        log.subscribe(move |flushed| observer.flushed(flushed));
        let quiet_since = Lsn::INVALID;
        let performer =
            Performer { log, control, pages, options, distance: Distance::default(), redo, quiet_since };
        let work = {
            let desk = Arc::clone(&desk);
            move || work(&desk, performer)
        };
        let thread = thread::Builder::new().name("checkpointer".to_owned()).spawn(work);
        let thread =
            thread.map_err(|error| EngineError::Directory(format!("could not start a thread: {error}")))?;
        Ok(Self { desk, thread: Mutex::new(Some(thread)) })
    }

    /// Makes a checkpoint and waits until it is complete: one that begins after this call.
    pub fn request(&self, cause: Cause) -> Result<(), EngineError> {
        let mut state = self.desk.lock();
        assert!(state.finished <= state.begun, "checkpoints that ended were begun");
        let needed = state.begun + 1;
        state.want(cause);
        self.desk.changed.notify_all();
        while state.finished < needed {
            if state.ended {
                return Err(EngineError::Directory("the checkpointer has stopped".to_owned()));
            }
            state = self.desk.wait(state);
        }
        match &state.failure {
            None => Ok(()),
            Some(failure) => Err(EngineError::Directory(format!("checkpoint request failed: {failure}"))),
        }
    }

    /// Asks for a checkpoint, and does not wait for it.
    pub fn ask(&self, cause: Cause) {
        self.desk.lock().want(cause);
        self.desk.changed.notify_all();
    }

    /// Makes the last checkpoint, and ends the thread. Nothing may be appended from now on.
    pub fn shutdown(&self) -> Result<(), EngineError> {
        let outcome = self.request(Cause::Shutdown);
        self.stop();
        outcome
    }

    fn stop(&self) {
        self.desk.lock().stopping = true;
        self.desk.changed.notify_all();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state)
    }

    /// The log is durable up to `lsn`: on the thread that flushed.
    fn flushed(&self, lsn: Lsn) {
        if lsn.as_u64() >= self.due_at.load(Ordering::Relaxed) {
            self.due_at.store(u64::MAX, Ordering::Relaxed);
            self.lock().want(Cause::Wal);
            self.changed.notify_all();
        }
    }

    /// Waits until something is asked for, at most until `until`, when it is time; `None` when it is time to stop.
    fn next(&self, until: Instant) -> Option<Cause> {
        let mut state = self.lock();
        loop {
            if let Some(cause) = state.wanted.take() {
                state.begun += 1;
                return Some(cause);
            }
            if state.stopping {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.begun += 1;
                return Some(Cause::Time);
            }
            state = self.changed.wait_timeout(state, left).0;
        }
    }

    fn finish(&self, outcome: Result<(), EngineError>) {
        let mut state = self.lock();
        assert!(state.finished < state.begun, "a checkpoint that ends was begun");
        state.finished = state.begun;
        state.failure = outcome.err().map(|error| error.chain());
        self.changed.notify_all();
    }

    /// Rests for a moment, unless somebody is in a hurry.
    fn rest(&self) {
        let state = self.lock();
        let calm = |state: &mut State| !state.stopping && !state.wanted.is_some_and(Cause::is_immediate);
        let _ = self.changed.wait_timeout_while(state, REST, calm);
    }
}

impl State {
    fn want(&mut self, cause: Cause) {
        self.wanted = Some(self.wanted.map_or(cause, |wanted| wanted.or(cause)));
    }
}

fn work(desk: &Desk, mut performer: Performer) {
    let _at_end = AtEnd(desk);
    let (mut last, mut failing) = (Instant::now(), false);
    let mut timeout = performer.options.timeout;
    while let Some(cause) = desk.next(last + timeout) {
        runtime::fault::panic_if_wanted("panic in the checkpointer");
        last = Instant::now();
        timeout = performer.options.timeout;
        let outcome = if cause.is_forced() || !performer.is_quiet() {
            performer.perform(cause, &|| desk.rest())
        } else {
            if cause == Cause::LogFull {
                // Nothing to make a checkpoint for, but what kept segments, a slot, may be gone.
                performer.recycle();
            }
            Ok(())
        };
        if let Err(error) = &outcome {
            // Once, and not again with each attempt, until one succeeds.
            if !std::mem::replace(&mut failing, true) {
                tracing::error!(
                    "checkpoint failed, and is tried again every {} s: {}",
                    RETRY.as_secs(),
                    error.chain()
                );
            }
            // The log's volume would ask again at once.
            timeout = timeout.min(RETRY);
        } else {
            if std::mem::take(&mut failing) {
                tracing::info!("checkpoints succeed again");
            }
            let due_at = performer.options.due_at(performer.redo, performer.log.segment_size());
            desk.due_at.store(due_at.as_u64(), Ordering::Relaxed);
        }
        desk.finish(outcome);
    }
}
