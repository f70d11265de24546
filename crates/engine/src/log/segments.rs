//! The segment files: made ahead of their use.
//!
//! Writing into blocks that exist costs half of what appending to a file costs at each sync, so a segment's file is
//! filled with zeros and synced, and its name made durable, before it is written to. A thread does that ahead of the
//! writer; what a checkpoint finds no longer needed is renamed to serve again ([`super::recycle`]).
//!
//! A file made ahead begins with a page header that says whose it is and how long a segment is, because tools ask
//! whichever segment they find first; its page address is 0/0, which no page has, so nothing in the file is valid.
//!
//! Invariant: every segment from the one being written up to `ready` has a file of full length whose name is durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use disk::{Disk, DiskFile, OpenMode, fill_zeros};
use runtime::sync::{Condvar, Mutex};
use wal::page::{LongHeader, PAGE_SIZE, PageFlags, PageHeader};
use wal::{Lsn, SegmentNo, SegmentSize, SystemId, TimelineId, WalVersion};

use crate::EngineError;
use crate::fatal::fatal;

/// How many segments are kept ready behind the one being written.
const AHEAD: u64 = 2;
/// After how long the thread tries again to make a file, when the disk was full or failed.
const RETRY: Duration = Duration::from_secs(1);
/// What a segment is called while it is being made, before the process id (`xlogtemp.PID`).
pub(super) const TEMPORARY: &str = "xlogtemp.";

/// The segment files of a log.
#[derive(Debug)]
pub(super) struct SegmentFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    size: SegmentSize,
    system_id: SystemId,
    /// Whose files are written. Changed at a promotion, while nothing is being written.
    timeline: AtomicU32,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while files are made or renamed. Taken before `state`.
    making: Mutex<()>,
    /// Where the last segment that is ready ends, for those who only look. Moved with `ready`.
    ready_end: AtomicU64,
    /// The last attempt to make a file has failed.
    short: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// The segment being written; the thread stays ahead of it. Moved by the writer.
    current: SegmentNo,
    /// The last one that is ready. Moved by whoever makes files; may be behind `current` before the writer's first.
    ready: SegmentNo,
    /// Files made since they were last counted, for the checkpoint's report.
    made: u64,
    /// No files are to be made: somebody else writes the log.
    resting: bool,
    /// No files are to be made ahead yet: a promotion has better use for the disk.
    held_back: bool,
    stopping: bool,
}

impl State {
    /// Whether the thread is to make a file.
    fn wants_file(&self) -> bool {
        !self.resting && !self.held_back && self.ready.as_u64() < self.current.as_u64() + AHEAD
    }
}

impl SegmentFiles {
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        size: SegmentSize,
        system_id: SystemId,
        timeline: TimelineId,
    ) -> Arc<Self> {
        let none = SegmentNo::new(0);
        let state =
            State { current: none, ready: none, made: 0, resting: true, held_back: false, stopping: false };
        Arc::new(Self {
            disk,
            dir: dir.to_owned(),
            size,
            system_id,
            timeline: AtomicU32::new(timeline.as_u32()),
            state: Mutex::new(state),
            changed: Condvar::new(),
            making: Mutex::new(()),
            ready_end: AtomicU64::new(0),
            short: AtomicBool::new(false),
        })
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn size(&self) -> SegmentSize {
        self.size
    }

    pub(super) fn timeline(&self) -> TimelineId {
        TimelineId::new(self.timeline.load(Ordering::Relaxed))
    }

    pub(super) fn set_timeline(&self, timeline: TimelineId) {
        self.timeline.store(timeline.as_u32(), Ordering::Relaxed);
    }

    /// Where the file of `segment` is on the current timeline.
    pub(super) fn path(&self, segment: SegmentNo) -> PathBuf {
        self.dir.join(segment.file_name(self.timeline(), self.size))
    }

    /// The log goes on in `current`; files up to `ready` are there.
    pub(super) fn begin_at(&self, current: SegmentNo, ready: SegmentNo) {
        let mut state = self.state.lock();
        (state.current, state.ready, state.resting) = (current, ready, false);
        self.note_ready(ready);
        self.changed.notify_all();
    }

    /// Makes no files ahead until [`SegmentFiles::make_ahead`].
    pub(super) fn hold_back(&self) {
        self.state.lock().held_back = true;
    }

    /// Makes files ahead from now on.
    pub(super) fn make_ahead(&self) {
        self.state.lock().held_back = false;
        self.changed.notify_all();
    }

    pub(super) fn is_resting(&self) -> bool {
        self.state.lock().resting
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Held while names are given to segments that follow the last ready one.
    pub(super) fn making(&self) -> runtime::sync::MutexGuard<'_, ()> {
        self.making.lock()
    }

    pub(super) fn ready(&self) -> SegmentNo {
        self.state.lock().ready
    }

    /// Files were given the names of the segments up to `ready`, durably.
    pub(super) fn set_ready(&self, ready: SegmentNo) {
        let mut state = self.state.lock();
        state.ready = state.ready.max(ready);
        self.note_ready(state.ready);
    }

    fn note_ready(&self, ready: SegmentNo) {
        self.ready_end.store(self.size.end_of(ready).as_u64(), Ordering::Release);
    }

    /// Sees to it that there are segments up to `end`, beyond those that the thread makes ahead if need be.
    ///
    /// # Errors
    /// A file cannot be made; those that were there are.
    pub(super) fn provide(&self, end: Lsn) -> Result<(), EngineError> {
        while self.ready_end.load(Ordering::Acquire) < end.as_u64() {
            self.make_up_to(self.size.segment_ending_at(end))?;
        }
        Ok(())
    }

    /// How many files were made since this was last asked.
    pub(super) fn take_made(&self) -> u64 {
        std::mem::take(&mut self.state.lock().made)
    }

    /// The file of `segment`, to be written from now on. Makes it if the thread is behind.
    pub(super) fn begin(&self, segment: SegmentNo) -> Result<(PathBuf, Box<dyn DiskFile>), EngineError> {
        {
            let mut state = self.state.lock();
            state.current = state.current.max(segment);
            self.changed.notify_all();
        }
        while self.ready() < segment {
            self.make_up_to(segment)?;
        }
        assert!(!self.is_resting(), "nobody else writes the log while this server does");
        assert!(self.ready() >= segment, "the segment being written has a file whose name is durable");
        let path = self.path(segment);
        let file = self.disk.open(&path, OpenMode::ReadWrite);
        let file = file.map_err(|source| EngineError::file("open", &path, source))?;
        Ok((path, file))
    }

    /// Makes the segment after the last ready one, if it is not after the last that is to be made ahead.
    fn make_ahead_of_use(&self) -> Result<(), EngineError> {
        let wanted = self.state.lock().current.as_u64() + AHEAD;
        self.make_up_to(SegmentNo::new(wanted))
    }

    /// Makes what the thread makes ahead, or waits for it where that has begun. The thread has nothing to do then.
    #[cfg(test)]
    pub(super) fn make_all_ahead(&self) -> Result<(), EngineError> {
        let last = SegmentNo::new(self.state.lock().current.as_u64() + AHEAD);
        self.provide(self.size.end_of(last))
    }

    /// Makes the segment after the last ready one, if it is not after `last`. That it cannot is said once, and so is that it
    /// can again.
    fn make_up_to(&self, last: SegmentNo) -> Result<(), EngineError> {
        let _making = self.making();
        let next = self.state.lock().ready.next();
        if next > last {
            return Ok(());
        }
        if let Err(error) = self.make(next) {
            if !self.short.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    "cannot make WAL segments: {}; transactions that write are refused once those that are there are full",
                    error.chain()
                );
            }
            return Err(error);
        }
        if self.short.swap(false, Ordering::Relaxed) {
            tracing::info!("WAL segments can be made again");
        }
        let mut state = self.state.lock();
        assert!(state.ready < next, "a segment is made ready once, by the one who makes files");
        state.ready = next;
        state.made += 1;
        self.note_ready(next);
        Ok(())
    }

    /// Order: zeros, synced, then the name, then the directory synced. Nobody writes to the file before.
    fn make(&self, segment: SegmentNo) -> Result<(), EngineError> {
        let temporary = self.dir.join(format!("{TEMPORARY}{}", std::process::id()));
        let outcome = self.fill(&temporary);
        if let Err(error) = outcome {
            // Space is what is most likely missing.
            let _ = self.disk.remove_file(&temporary);
            return Err(error);
        }
        let path = self.path(segment);
        if let Err(source) = self.disk.rename(&temporary, &path) {
            let _ = self.disk.remove_file(&temporary);
            return Err(EngineError::file("rename", &temporary, source));
        }
        if let Err(error) = self.sync_dir() {
            // Whether the name is durable is not known, and never will be by another sync.
            fatal(error.chain());
        }
        Ok(())
    }

    fn fill(&self, path: &Path) -> Result<(), EngineError> {
        let failed = |action| move |source: io::Error| EngineError::file(action, path, source);
        let file = self.disk.open(path, OpenMode::Create).map_err(failed("create"))?;
        file.set_len(0).map_err(failed("truncate"))?;
        // A disk that is too full says so at once, and not after most of the zeros.
        file.allocate(0, self.size.bytes().into()).map_err(failed("allocate"))?;
        fill_zeros(&*file, 0, self.size.bytes().into()).map_err(failed("write"))?;
        file.write_all_at(&self.unwritten_header(), 0).map_err(failed("write"))?;
        file.sync_all().map_err(failed("fsync"))
    }

    fn unwritten_header(&self) -> Vec<u8> {
        let long = LongHeader {
            system_id: self.system_id,
            segment_size: self.size.bytes(),
            block_size: PAGE_SIZE as u32,
        };
        let header = PageHeader {
            version: WalVersion::V15,
            flags: PageFlags::default(),
            timeline: self.timeline(),
            page_addr: Lsn::INVALID,
            rem_len: 0,
            long: Some(long),
        };
        let mut bytes = Vec::new();
        header.encode_into(&mut bytes);
        bytes
    }

    pub(super) fn sync_dir(&self) -> Result<(), EngineError> {
        self.disk.sync_dir(&self.dir).map_err(|source| EngineError::file("fsync", &self.dir, source))
    }

    /// Waits until a file is to be made; false when it is time to stop.
    fn wait_for_work(&self) -> bool {
        let mut state = self.state.lock();
        while !state.stopping && !state.wants_file() {
            state = self.changed.wait(state);
        }
        !state.stopping
    }

    fn wait_before_retry(&self) {
        let state = self.state.lock();
        let _ = self.changed.wait_timeout_while(state, RETRY, |state| !state.stopping);
    }
}

/// The thread that makes files ahead. That it cannot refuses nobody yet: who appends tries for himself
/// ([`SegmentFiles::provide`]) when he needs the file.
pub(super) fn spawn(files: Arc<SegmentFiles>) -> Result<JoinHandle<()>, EngineError> {
    let work = move || {
        while files.wait_for_work() {
            if files.make_ahead_of_use().is_err() {
                files.wait_before_retry();
            }
        }
    };
    let name = "wal segments".to_owned();
    thread::Builder::new()
        .name(name)
        .spawn(work)
        .map_err(|error| EngineError::Directory(format!("could not start a thread: {error}")))
}
