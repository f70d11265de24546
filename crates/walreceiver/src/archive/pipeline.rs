//! Writing and syncing beside receiving.
//!
//! ```text
//! receiving task --chunks--> queue --> writer thread --> segment files --> sync thread --> observer
//! ```
//!
//! Receiving goes on while WAL is written and while it is made durable. Where handing something to another thread
//! would cost more than doing it, the receiving task does it itself: a small chunk with nothing queued before it is
//! written at once, and where the disk syncs faster than threads switch, a synchronous standby syncs at once too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use runtime::sync::{Condvar, Mutex};
use tokio::sync::Notify;

use super::{ArchiveError, ArchiveWriter, Observer, SyncMode, Syncer};

/// How many bytes may wait for the writer: a few of the server's messages, so that they are still in the cache.
const QUEUE_LIMIT: usize = 4 << 20;
/// Chunks up to this size are written by the receiving task if nothing waits before them.
const SMALL: usize = 32 << 10;
/// A disk that syncs faster than this is not worth a switch to another thread and back, which on busy cores costs as
/// much again: what arrives in so short a time waits in the socket's buffer. Acknowledging is counted in.
const QUICK_SYNC: Duration = Duration::from_millis(1);
/// How long written bytes may stay unsynced in [`SyncMode::Soon`].
const SOON: Duration = Duration::from_millis(10);

/// Validated WAL that follows the chunk before it.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    /// Much more is known to come: what the server has is far ahead of this.
    pub(crate) lagging: bool,
}

/// One stream's writer and syncer, with a thread for each.
#[derive(Debug)]
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
    writer_thread: Option<JoinHandle<()>>,
    sync_thread: Option<JoinHandle<()>>,
}

struct Shared {
    writer: Mutex<ArchiveWriter>,
    syncer: Syncer,
    mode: SyncMode,
    observer: Arc<dyn Observer>,
    queue: Mutex<Queue>,
    queue_changed: Condvar,
    room: Notify,
    requests: Mutex<Requests>,
    requested: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("syncer", &self.syncer).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// The writer thread holds a chunk that is no longer in `chunks`.
    writing: bool,
    closed: bool,
}

#[derive(Debug)]
struct Requests {
    now: bool,
    soon: Option<Instant>,
    running: bool,
    closed: bool,
    /// How long syncs of the last while took, a running average.
    usual: Duration,
}

impl Pipeline {
    /// Starts the threads. They end with [`Pipeline::close`], or when this is dropped.
    pub(crate) fn start(
        writer: ArchiveWriter,
        syncer: Syncer,
        mode: SyncMode,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, ArchiveError> {
        let shared = Arc::new(Shared {
            writer: Mutex::new(writer),
            syncer,
            mode,
            observer,
            queue: Mutex::default(),
            queue_changed: Condvar::new(),
            room: Notify::new(),
            requests: Mutex::new(Requests {
                now: false,
                soon: None,
                running: false,
                closed: false,
                usual: QUICK_SYNC,
            }),
            requested: Condvar::new(),
        });
        let spawn = |name: &'static str, run: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            let body = move || run(&shared);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
                .map_err(ArchiveError::on("start a thread for", name))
        };
        let writer_thread = spawn("wal-writer", Shared::write_queued)?;
        let mut pipeline =
            Self { shared: Arc::clone(&shared), writer_thread: Some(writer_thread), sync_thread: None };
        pipeline.sync_thread = Some(spawn("wal-sync", Shared::sync_requested)?);
        Ok(pipeline)
    }

    /// Takes a chunk, or gives it back if too much is waiting: then try again after [`Pipeline::room`].
    pub(crate) fn offer(&self, chunk: Chunk) -> Result<Option<Chunk>, ArchiveError> {
        let mut queue = self.shared.queue.lock();
        if queue.chunks.is_empty() && !queue.writing && chunk.bytes.len() <= SMALL {
            drop(queue);
            // Nobody else puts anything in the queue, so its order is kept.
            if !self.shared.syncer.is_full() {
                return self.shared.write(&chunk).map(|()| None);
            }
            queue = self.shared.queue.lock();
        }
        if queue.bytes >= QUEUE_LIMIT {
            drop(queue);
            self.shared.syncer.check()?;
            return Ok(Some(chunk));
        }
        assert!(!queue.closed, "nothing is offered to a pipeline that is being closed");
        queue.bytes += chunk.bytes.len();
        queue.chunks.push_back(chunk);
        let sleeping = !queue.writing;
        drop(queue);
        if sleeping {
            self.shared.queue_changed.notify_all();
        }
        Ok(None)
    }

    /// Waits until the queue has shrunk, or something failed. Nothing is lost if this is dropped.
    pub(crate) async fn room(&self) {
        self.shared.room.notified().await;
    }

    /// Nothing more can be read from the server at the moment: what a synchronous leader waits for is here.
    pub(crate) fn batch_ended(&self) -> Result<(), ArchiveError> {
        if self.shared.mode != SyncMode::AtOnce {
            return Ok(());
        }
        {
            let queue = self.shared.queue.lock();
            if queue.writing || !queue.chunks.is_empty() {
                return Ok(()); // the writer thread asks for the sync when it is through
            }
        }
        if !self.shared.syncer.is_behind() {
            return Ok(());
        }
        {
            let requests = self.shared.requests.lock();
            if requests.running || requests.usual > QUICK_SYNC || self.shared.syncer.has_finished() {
                drop(requests);
                self.shared.request_sync();
                return Ok(());
            }
        }
        self.shared.sync()
    }

    /// The first failure, if there was one.
    pub(crate) fn check(&self) -> Result<(), ArchiveError> {
        self.shared.syncer.check()
    }

    /// An error if the file being written was removed.
    pub(crate) fn still_there(&self) -> Result<(), ArchiveError> {
        self.shared.syncer.still_there()
    }

    /// Makes everything written durable without delay; the observer hears of it.
    pub(crate) fn sync_now(&self) {
        self.shared.request_sync();
    }

    /// Zeros what is left of a damaged record, see [`ArchiveWriter::discard_from`], after everything queued is written.
    pub(crate) fn discard_from(&mut self, good_end: wal::Lsn) -> Result<(), ArchiveError> {
        self.stop_writer()?;
        self.shared.writer.lock().discard_from(good_end)
    }

    /// Ends the threads, and tells whether anything failed before or meanwhile: a sync, for one, that was under way when the
    /// connection was lost. What it should have covered may be gone, and must not be found on the next connection and taken for
    /// durable.
    pub(crate) fn abandon(mut self) -> Result<(), ArchiveError> {
        self.stop_writer()?;
        self.stop_syncer()?;
        self.shared.syncer.check()
    }

    /// Writes what is queued, makes it durable and ends the threads. What was written becomes durable also where there was no
    /// space for all.
    pub(crate) fn close(mut self) -> Result<(), ArchiveError> {
        self.stop_writer()?;
        self.stop_syncer()?;
        while self.shared.syncer.is_behind() {
            self.shared.sync()?;
        }
        self.shared.syncer.check()
    }

    fn stop_writer(&mut self) -> Result<(), ArchiveError> {
        self.shared.queue.lock().closed = true;
        self.shared.queue_changed.notify_all();
        join(self.writer_thread.take(), "wal-writer")
    }

    fn stop_syncer(&mut self) -> Result<(), ArchiveError> {
        self.shared.requests.lock().closed = true;
        self.shared.requested.notify_all();
        join(self.sync_thread.take(), "wal-sync")
    }
}

impl Drop for Pipeline {
    /// After an error: no thread outlives the stream, lest it write where the next one does.
    fn drop(&mut self) {
        let _ = self.stop_writer();
        let _ = self.stop_syncer();
    }
}

fn join(thread: Option<JoinHandle<()>>, name: &'static str) -> Result<(), ArchiveError> {
    match thread.map(JoinHandle::join) {
        Some(Err(_)) => Err(ArchiveError::ThreadDied(name)),
        Some(Ok(())) | None => Ok(()),
    }
}

impl Shared {
    /// The writer thread.
    fn write_queued(&self) {
        while let Some(chunk) = self.next_chunk() {
            if self.write(&chunk).is_err() {
                return;
            }
        }
    }

    fn next_chunk(&self) -> Option<Chunk> {
        let mut queue = self.queue.lock();
        let was_writing = std::mem::replace(&mut queue.writing, false);
        if was_writing && queue.chunks.is_empty() {
            drop(queue);
            if self.mode == SyncMode::AtOnce && self.syncer.is_behind() {
                self.request_sync();
            }
            self.room.notify_one();
            queue = self.queue.lock();
        }
        loop {
            if let Some(chunk) = queue.chunks.pop_front() {
                let was_full = queue.bytes >= QUEUE_LIMIT;
                assert!(queue.bytes >= chunk.bytes.len(), "what waits for the writer is counted");
                queue.bytes -= chunk.bytes.len();
                assert!(!queue.chunks.is_empty() || queue.bytes == 0, "what waits for the writer is counted");
                assert!(!queue.writing, "the writer thread holds one chunk at a time");
                queue.writing = true;
                if was_full {
                    self.room.notify_one();
                }
                return Some(chunk);
            }
            if queue.closed {
                return None;
            }
            queue = self.queue_changed.wait(queue);
        }
    }

    /// Writes a chunk, on whatever thread, and asks for the syncs it calls for.
    fn write(&self, chunk: &Chunk) -> Result<(), ArchiveError> {
        runtime::fault::panic_if_wanted("panic in the writing of WAL");
        self.syncer.wait_for_room();
        let mut writer = self.writer.lock();
        let written = writer.write(&chunk.bytes, !chunk.lagging);
        let position = writer.position();
        drop(writer);
        let finished = written.inspect_err(|_| self.failed())?;
        self.observer.written(position);
        match self.mode {
            SyncMode::Never => self.sync()?,
            _ if finished => self.request_sync(),
            SyncMode::Soon => self.request_sync_soon(),
            SyncMode::AtOnce if chunk.lagging => self.request_sync_soon(),
            SyncMode::AtOnce => {}
        }
        Ok(())
    }

    fn request_sync(&self) {
        self.requests.lock().now = true;
        self.requested.notify_all();
    }

    fn request_sync_soon(&self) {
        let mut requests = self.requests.lock();
        if requests.soon.is_none() && !requests.now {
            requests.soon = Some(Instant::now() + SOON);
            drop(requests);
            self.requested.notify_all();
        }
    }

    /// The sync thread.
    fn sync_requested(&self) {
        while self.wait_for_request() {
            let failed = self.sync().is_err();
            self.requests.lock().running = false;
            if failed {
                return;
            }
        }
    }

    fn wait_for_request(&self) -> bool {
        let mut requests = self.requests.lock();
        loop {
            let now = Instant::now();
            if requests.now || requests.soon.is_some_and(|at| at <= now) {
                assert!(!requests.running, "the sync thread runs one sync at a time");
                requests.now = false;
                requests.soon = None;
                requests.running = true;
                return true;
            }
            if requests.closed {
                return false;
            }
            requests = match requests.soon {
                None => self.requested.wait(requests),
                Some(at) => self.requested.wait_timeout(requests, at.saturating_duration_since(now)).0,
            };
        }
    }

    fn sync(&self) -> Result<(), ArchiveError> {
        runtime::fault::panic_if_wanted("panic in the syncing of WAL");
        let started = Instant::now();
        let synced = self.syncer.sync(&|durable| self.observer.durable(durable));
        let took = started.elapsed();
        let mut requests = self.requests.lock();
        requests.usual = (requests.usual * 7 + took.min(Duration::from_secs(1))) / 8;
        drop(requests);
        synced.inspect_err(|_| self.failed())
    }

    fn failed(&self) {
        self.observer.failed();
        self.room.notify_one();
    }
}
