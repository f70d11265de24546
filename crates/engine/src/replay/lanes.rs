//! The pages split into lanes, each of which is changed by a thread of its own when there is much to replay.
//!
//! A page is always in the same lane, which makes the changes of its pages in the log's order. Between lanes there is no
//! order, and need not be any: nobody sees a page before [`Lanes::publish`], which waits until all of them are done.
//! What is little, as while a standby keeps up with its leader, is done by the caller: handing it over would cost more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use runtime::sync::{Mutex, MutexGuard};
use wal::Lsn;
use wal::record::BlockRef;

use super::batch::Batch;
use super::changes::{Changes, page_of};
use crate::buffer::BufferPool;
use crate::{EngineError, PageId, TreeId};

/// More lanes would wait for the one thread that reads the log.
const MOST_LANES: usize = 6;

/// How much is handed over at once, in bytes: a fraction of a millisecond's work.
const HANDED_OVER: usize = 128 << 10;

/// How many parcels wait for a lane before the reader of the log does.
const WAITING: usize = 4;

/// Pages copied before they are published, at least: a page that many runs in a row change is copied once.
const MIN_PAGES: usize = 2048;
/// The part of the buffer pool that the copies may take beside it. Runs that change pages all over a table meet few of
/// them twice among a small number.
const PART_OF_POOL: usize = 4;

/// What was applied and is not published yet.
pub(super) struct Lanes {
    pool: Arc<BufferPool>,
    lanes: Box<[Lane]>,
}

/// Some of the pages.
struct Lane {
    changed: Arc<Changed>,
    /// What is neither applied nor handed over yet.
    gathered: Changes,
    worker: Option<Worker>,
}

/// What has become of a lane's pages.
#[derive(Default)]
struct Changed {
    /// Locked by the worker while it applies a parcel; by the owner of the lane when none is under way.
    batch: Mutex<Batch>,
    /// How many pages are in the batch.
    pages: AtomicUsize,
}

/// A lane's thread. It ends when it is dropped.
struct Worker {
    /// `None` once it is being dropped.
    parcels: Option<SyncSender<Changes>>,
    /// Each parcel comes back, to be used again, with what became of it.
    done: Receiver<(Changes, Result<(), EngineError>)>,
    /// How many parcels have not come back.
    under_way: usize,
    thread: Option<JoinHandle<()>>,
}

impl Changed {
    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock()
    }

    fn apply(&self, pool: &BufferPool, changes: &Changes) -> Result<(), EngineError> {
        let mut batch = self.batch();
        let outcome = changes.iter().try_for_each(|change| batch.apply(pool, &change));
        self.pages.store(batch.pages(), Ordering::Relaxed);
        outcome
    }
}

impl Worker {
    fn start(pool: Arc<BufferPool>, changed: Arc<Changed>) -> Result<Self, EngineError> {
        let (parcels, taken) = sync_channel::<Changes>(WAITING);
        let (give_back, done) = channel();
        let thread = thread::Builder::new().name("replay".to_owned());
        let thread = thread.spawn(move || work(&pool, &changed, &taken, &give_back));
        let failed = |error| EngineError::Directory(format!("could not start a thread: {error}"));
        let thread = thread.map_err(failed)?;
        Ok(Self { parcels: Some(parcels), done, under_way: 0, thread: Some(thread) })
    }

    fn hand_over(&mut self, changes: Changes) {
        self.under_way += 1;
        if let Some(parcels) = &self.parcels
            && parcels.send(changes).is_ok()
        {
            return;
        }
        self.rethrow();
    }

    /// A parcel that was done with, if one was; the next one, if it is to `wait`.
    fn returned(&mut self, wait: bool) -> Result<Option<Changes>, EngineError> {
        if self.under_way == 0 {
            return Ok(None);
        }
        let returned = if wait { self.done.recv().ok() } else { self.done.try_recv().ok() };
        let Some((mut changes, outcome)) = returned else {
            if wait {
                self.rethrow();
            }
            return Ok(None);
        };
        assert!(self.under_way > 0, "a parcel that comes back was handed over");
        self.under_way -= 1;
        outcome?;
        changes.clear();
        Ok(Some(changes))
    }

    /// The thread has ended though nobody asked it to: it has panicked.
    fn rethrow(&mut self) -> ! {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => unreachable!("a replay thread works until its parcels end"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.parcels = None;
        if let Some(thread) = self.thread.take() {
            // What it did not finish is of no use to anybody.
            let _ = thread.join();
        }
    }
}

/// What a lane's thread does until there are no more parcels: after a failure, nothing but giving them back.
fn work(
    pool: &BufferPool,
    changed: &Changed,
    parcels: &Receiver<Changes>,
    give_back: &Sender<(Changes, Result<(), EngineError>)>,
) {
    let mut failed = false;
    for changes in parcels {
        let outcome = if failed { Ok(()) } else { changed.apply(pool, &changes) };
        failed |= outcome.is_err();
        if give_back.send((changes, outcome)).is_err() {
            return;
        }
    }
}

impl Lane {
    /// Lets the lane's thread apply what is gathered.
    fn hand_over(&mut self, pool: &Arc<BufferPool>) -> Result<(), EngineError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let worker = match &mut self.worker {
            Some(worker) => worker,
            none => none.insert(Worker::start(Arc::clone(pool), Arc::clone(&self.changed))?),
        };
        let empty = worker.returned(false)?.unwrap_or_default();
        worker.hand_over(std::mem::replace(&mut self.gathered, empty));
        Ok(())
    }

    /// Applies what is gathered, here. Nothing is under way.
    fn apply(&mut self, pool: &BufferPool) -> Result<(), EngineError> {
        let outcome = self.changed.apply(pool, &self.gathered);
        self.gathered.clear();
        outcome
    }

    fn is_busy(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.under_way > 0)
    }

    /// Waits until nothing is under way.
    fn wait(&mut self) -> Result<(), EngineError> {
        let Some(worker) = &mut self.worker else { return Ok(()) };
        while worker.returned(true)?.is_some() {}
        Ok(())
    }
}

impl Lanes {
    /// One lane for each processor, over the pages of `pool`.
    pub(super) fn new(pool: Arc<BufferPool>) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self::with_lanes(pool, processors.min(MOST_LANES))
    }

    fn with_lanes(pool: Arc<BufferPool>, lanes: usize) -> Self {
        let lane = || Lane { changed: Arc::default(), gathered: Changes::default(), worker: None };
        Self { pool, lanes: (0..lanes).map(|_| lane()).collect() }
    }

    /// Takes what a record that ends at `record_end` says about a block, for a committed run that ends at `run_end`.
    pub(super) fn add(
        &mut self,
        block: &BlockRef<'_>,
        record_end: Lsn,
        run_end: Lsn,
    ) -> Result<(), EngineError> {
        assert!(record_end <= run_end, "a run ends with its last record: {run_end}, not {record_end}");
        let page = page_of(block, record_end)?;
        let alone = self.lanes.len() == 1;
        let at = lane_of(page, self.lanes.len());
        let lane = &mut self.lanes[at];
        lane.gathered.add(page, block, record_end, run_end);
        match lane.gathered.size() < HANDED_OVER {
            true => Ok(()),
            false if alone => lane.apply(&self.pool),
            false => lane.hand_over(&self.pool),
        }
    }

    /// Whether there are so many pages that they should be published.
    pub(super) fn is_full(&self) -> bool {
        let pages: usize = self.lanes.iter().map(|lane| lane.changed.pages.load(Ordering::Relaxed)).sum();
        pages >= (self.pool.capacity() / PART_OF_POOL).max(MIN_PAGES)
    }

    /// Applies all that was taken.
    pub(super) fn settle(&mut self) -> Result<(), EngineError> {
        // What is under way comes first.
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_busy()) {
            lane.hand_over(&self.pool)?;
        }
        for lane in &mut self.lanes {
            lane.wait()?;
            assert!(!lane.is_busy(), "what is under way is applied before what follows it");
            lane.apply(&self.pool)?;
        }
        Ok(())
    }

    /// Applies all that was taken, and publishes the pages, whose space is claimed first.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] if there is no space: everything stays as it is, and this can be called again. So can whatever
    /// led here be done again, from the record at hand on: applying a record twice is applying it once.
    pub(super) fn publish(&mut self) -> Result<(), EngineError> {
        self.settle()?;
        let mut batches: Vec<_> = self.lanes.iter().map(|lane| lane.changed.batch()).collect();
        let stopped = |error| EngineError::Stopped(Box::new(error));
        self.pool.check_takes_changes().map_err(stopped)?;
        let mut ends = BTreeMap::<TreeId, u32>::new();
        for (tree, end) in batches.iter().flat_map(|batch| batch.ends_of_new_pages()) {
            let known = ends.entry(tree).or_default();
            *known = (*known).max(end);
        }
        ends.into_iter().try_for_each(|(tree, end)| self.pool.files().claim(tree, end)).map_err(stopped)?;
        self.pool.publish(batches.iter_mut().flat_map(|batch| batch.drain()));
        for lane in &self.lanes {
            lane.changed.pages.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// `tree` is dropped. Everything before that is settled.
    pub(super) fn forget_tree(&self, tree: TreeId) {
        for lane in &self.lanes {
            lane.changed.batch().forget_tree(tree);
        }
    }

    /// A page that should have been there and was not, with the record that was to change it. Everything is settled.
    pub(super) fn missing(&self) -> Option<(PageId, Lsn)> {
        let missing = self.lanes.iter().filter_map(|lane| lane.changed.batch().missing());
        missing.min_by_key(|&(_, lsn)| lsn)
    }
}

/// The lane, of so many, that a page is in. Neighbours are spread: a tree grows at its end.
fn lane_of(page: PageId, lanes: usize) -> usize {
    let number = u64::from(page.tree.as_u32()) << 32 | u64::from(page.block.as_u32());
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let lane = ((spread * lanes as u64) >> 32) as usize;
    assert!(lane < lanes, "a page is in one of the lanes");
    lane
}

#[cfg(test)]
mod tests;
