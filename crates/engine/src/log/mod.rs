//! The write-ahead log: appending records, making them durable together, and the segment files that they go to.
//!
//! A record goes through three places. An [`Appender`], of which there is one at a time, lays it out behind the last one
//! in a buffer; a flush takes the buffer, writes it to the segment's file and syncs that. One thread flushes at a time,
//! on behalf of everybody who waits, while appending goes on into another buffer (`group`). Segment files are
//! made ahead of their use by a thread of their own, or renamed from those no longer needed (`segments`).
//!
//! Positions: `flushed <= written <= inserted`. None of them moves backwards, but when a timeline is begun: that is where the
//! last whole transaction ends, and what was received of another one behind it is left to the timeline before. `flushed` is
//! always the end of a record: buffers are taken between records, never inside one.
//!
//! A write or sync that fails ends the process ([`crate::fatal`]): nobody can know any more what is durable.
//!
//! Locks, in the order in which they are taken: the appender's, the output's, then either the buffer's or those of the
//! segment files. Nobody waits for an appender while holding another.

mod appender;
mod atomic_lsn;
mod begin_timeline;
mod flush;
mod group;
mod observers;
mod options;
mod output;
pub mod record;
mod recycle;
mod segments;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod writer_thread;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use disk::{DirLock, Disk};
use runtime::sync::Mutex;
use wal::writer::{LogIdentity, LogLayout};
use wal::{Lsn, SegmentSize, SystemId, TimelineId, WalVersion};

use crate::EngineError;
use crate::buffer::WalBeforeData;
pub use appender::{Appender, Room};
use atomic_lsn::AtomicLsn;
use flush::Pending;
use group::Group;
use observers::Observers;
pub use options::{LogOptions, LogStart, NewTimeline};
use output::Output;
pub use recycle::{Recycled, Retention};
use segments::SegmentFiles;
use status::Publisher;
use writer_thread::Nudge;

/// The log of one data directory. Shared as `Arc`; dropping it stops its threads and flushes nothing.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the log's threads have in common.
#[derive(Debug)]
struct Shared {
    buffer_limit: usize,
    /// Where the next record goes; its lock is the appender.
    layout: Mutex<LogLayout>,
    /// What was appended and no flush has taken yet.
    pending: Mutex<Pending>,
    /// The file being written; held for as long as a write or a sync takes.
    output: Mutex<Output>,
    /// Who flushes, and who waits for that.
    group: Group,
    /// The end of the last record appended. Moved by the appender.
    inserted: AtomicLsn,
    /// The end of what was handed to the operating system. Moved by whoever holds the output; never ahead of `inserted`.
    written: AtomicLsn,
    /// The end of what is durable. Moved by the one flusher; never ahead of `written`, and always a record's end.
    flushed: AtomicLsn,
    /// Where recovery would start: pages not newer than this are logged whole. Moved by the checkpointer, which holds
    /// the appender meanwhile; never ahead of `inserted` by more than a page header.
    redo: AtomicLsn,
    segments: Arc<SegmentFiles>,
    status: Publisher,
    observers: Observers,
    /// Those who are told last.
    readers: Observers,
    nudge: Nudge,
    /// The right to write in the directory, from when anything can be appended.
    directory: Mutex<Option<DirLock>>,
}

impl Log {
    /// Opens the log in `dir` (a `pg_wal`) to go on at `start`. Whatever stands behind that in the files is wiped, so that
    /// nothing a crash left there can ever be taken for a record that follows one appended from now on; what stands
    /// before it is made durable. Blocks for as long as that takes. An error if another process writes there.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
        start: LogStart,
    ) -> Result<Self, EngineError> {
        let segments = SegmentFiles::open(disk, dir, options.segment_size, start.system_id, start.timeline);
        // Before anything is wiped: nobody else may be writing here.
        let lock = start::lock_directory(&segments)?;
        start::prepare(&segments, &start)?;
        let log = Self::new(options, &start, segments)?;
        log.shared.keep_lock(lock);
        log.shared.status.take_over(&log.shared.segments, &start)?;
        if let Some(aborted) = start.aborted {
            log.appender().overwrite_continuation(aborted);
        }
        Ok(log)
    }

    /// The log of a standby, whose WAL somebody else writes to `dir`: [`Log::advance`] tells how far it is durable.
    /// Nothing can be appended before [`Log::begin_timeline`]. `start.position` is as far as it is durable now.
    pub fn follow(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
        start: LogStart,
    ) -> Result<Self, EngineError> {
        let segments = SegmentFiles::open(disk, dir, options.segment_size, start.system_id, start.timeline);
        Self::new(options, &start, segments)
    }

    fn new(options: LogOptions, start: &LogStart, segments: Arc<SegmentFiles>) -> Result<Self, EngineError> {
        let identity = LogIdentity {
            system_id: start.system_id,
            segment_size: options.segment_size,
            version: WalVersion::V15,
        };
        let layout = LogLayout::new(identity, start.timeline, start.position, start.prev);
        let position = layout.position();
        let shared = Arc::new(Shared {
            buffer_limit: options.buffer_limit(),
            layout: Mutex::new(layout),
            pending: Mutex::new(Pending::at(position)),
            output: Mutex::new(Output::new(Arc::clone(&segments))),
            group: Group::default(),
            inserted: AtomicLsn::new(position),
            written: AtomicLsn::new(position),
            flushed: AtomicLsn::new(position),
            redo: AtomicLsn::new(Lsn::INVALID),
            segments,
            status: Publisher::new(options.publish_status, start.system_id, options.segment_size),
            observers: Observers::default(),
            readers: Observers::default(),
            nudge: Nudge::default(),
            directory: Mutex::new(None),
        });
        let mut log = Self { shared, threads: Vec::new() };
        log.threads.push(segments::spawn(Arc::clone(&log.shared.segments))?);
        log.threads.push(writer_thread::spawn(Arc::clone(&log.shared), options.writer_delay)?);
        Ok(log)
    }

    /// The right to append, waiting for whoever has it. It is the engine's writer lock: a run keeps it from its first
    /// record until its pages are published.
    pub fn appender(&self) -> Appender<'_> {
        Appender::new(&self.shared)
    }

    /// The cluster.
    pub fn system_id(&self) -> SystemId {
        self.shared.layout.lock().identity().system_id
    }

    /// The size of its segments.
    pub fn segment_size(&self) -> SegmentSize {
        self.shared.segments.size()
    }

    /// The timeline that is appended to, or followed.
    pub fn timeline(&self) -> TimelineId {
        self.shared.segments.timeline()
    }

    /// The end of the last record appended (at a page's end before the next page's header).
    pub fn inserted(&self) -> Lsn {
        self.shared.inserted.load()
    }

    /// Where the next record will start (`pg_current_wal_insert_lsn`).
    pub fn next_record(&self) -> Lsn {
        wal::page::first_record_position(self.inserted(), self.segment_size())
    }

    /// The end of what was handed to the operating system.
    pub fn written(&self) -> Lsn {
        self.shared.written.load()
    }

    /// The end of what is durable: a record's end.
    pub fn flushed(&self) -> Lsn {
        self.shared.flushed.load()
    }

    /// Where recovery would start. A page that is not newer is logged whole on its next change; to be asked by whoever
    /// holds the appender, and before that only as a hint.
    pub fn redo(&self) -> Lsn {
        self.shared.redo.load()
    }

    /// Recovery would start at `redo`: set once at start, and by [`Appender::set_redo`] from then on.
    pub fn set_initial_redo(&self, redo: Lsn) {
        self.shared.redo.store(redo);
    }

    /// Calls `observer` with each new flush position, on whatever thread flushed: after the sync, before
    /// [`Log::flushed`] shows the position and before anybody is let go who waits for it. It must be quick, and must not
    /// flush.
    pub fn subscribe(&self, observer: impl Fn(Lsn) + Send + Sync + 'static) {
        self.shared.observers.add(Box::new(observer));
    }

    /// Calls `reader` with flush positions that [`Log::flushed`] shows by then: for those who pass on what is durable. It
    /// must be quick, and must not flush. Two calls may come in either order.
    pub fn subscribe_reader(&self, reader: impl Fn(Lsn) + Send + Sync + 'static) {
        self.shared.readers.add(Box::new(reader));
    }

    /// On a standby: what was received is durable up to `flushed`, on `timeline`.
    pub fn advance(&self, flushed: Lsn, timeline: TimelineId) {
        self.shared.advance(flushed, timeline);
    }

    /// Makes the segments ahead of the one being written, or waits for them.
    #[cfg(test)]
    pub(crate) fn make_all_ahead(&self) -> Result<(), EngineError> {
        self.shared.segments.make_all_ahead()
    }

    /// Ends the segment that is being written (`pg_switch_wal`): the end of the SWITCH record, or the current position if a
    /// segment is just about to begin. Durable only after a flush.
    ///
    /// # Errors
    /// There is no space for the segment after it: nothing was appended.
    pub fn switch_segment(&self) -> Result<Lsn, EngineError> {
        self.appender().switch_segment()
    }
}

impl Shared {
    fn keep_lock(&self, directory: DirLock) {
        *self.directory.lock() = Some(directory);
    }
}

impl WalBeforeData for Log {
    fn flush(&self, lsn: Lsn) -> Result<(), EngineError> {
        self.shared.flush(lsn)
    }

    fn flushed(&self) -> Lsn {
        self.shared.flushed.load()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.segments.stop();
        self.shared.nudge.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}
