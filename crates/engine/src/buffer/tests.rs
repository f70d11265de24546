//! The pool by itself, over a simulated disk and a log that only remembers how far it was flushed.

mod model;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use disk::{CrashChoices, Disk, OpenMode, SimDisk};

use super::*;
use crate::TreeId;

const TREE: TreeId = TreeId::new(16384);

/// A log whose every byte exists, durable up to where somebody asked.
#[derive(Debug, Default)]
struct TestLog {
    flushed: AtomicU64,
    flushes: AtomicU64,
}

impl WalBeforeData for TestLog {
    fn flush(&self, lsn: Lsn) -> Result<(), EngineError> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.flushed.fetch_max(lsn.as_u64(), Ordering::SeqCst);
        Ok(())
    }

    fn flushed(&self) -> Lsn {
        Lsn::new(self.flushed.load(Ordering::SeqCst))
    }
}

struct Bench {
    disk: SimDisk,
    log: Arc<TestLog>,
    pool: BufferPool,
}

/// A pool of so many pages and versions, whose current snapshot is 0/1.
fn pool(pages: u64, versions: u64) -> Bench {
    let disk = SimDisk::new();
    disk::durable_create_dir_all(&disk, "/base/5".as_ref()).unwrap();
    let log = Arc::new(TestLog::default());
    let pool = open(&disk, &log, pages, versions);
    pool.snapshots().advance(Lsn::new(1));
    Bench { disk, log, pool }
}

fn open(disk: &SimDisk, log: &Arc<TestLog>, pages: u64, versions: u64) -> BufferPool {
    let files = RelationFiles::new(Arc::new(disk.clone()), Path::new("/"));
    let options = PoolOptions { capacity_bytes: pages * 8192, version_bytes: versions * 8192 };
    BufferPool::new(Arc::new(files), Arc::clone(log) as Arc<dyn WalBeforeData>, options)
}

fn id(block: u32) -> PageId {
    PageId::new(TREE, block)
}

/// A page that says where it belongs and which run wrote it.
fn page(block: u32, lsn: u64) -> SharedPage {
    let mut page = Page::zeroed();
    page.init(16);
    page.set_lsn(Lsn::new(lsn));
    page.bytes_mut()[4000..4004].copy_from_slice(&block.to_le_bytes());
    page.bytes_mut()[8000..8008].copy_from_slice(&lsn.to_le_bytes());
    SharedPage::from(&*page)
}

/// The run that wrote this page, which must be a whole one of this block.
fn run_of(block: u32, page: &Page) -> u64 {
    let lsn = page.lsn().as_u64();
    assert_eq!(page.bytes()[4000..4004], block.to_le_bytes());
    assert_eq!(page.bytes()[8000..8008], lsn.to_le_bytes());
    lsn
}

impl Bench {
    /// Publishes the blocks as one run ending at `lsn`, and makes it current.
    fn commit(&self, lsn: u64, blocks: impl IntoIterator<Item = u32>) {
        self.publish(lsn, blocks);
        self.pool.snapshots().advance(Lsn::new(lsn));
    }

    fn publish(&self, lsn: u64, blocks: impl IntoIterator<Item = u32>) {
        self.pool.publish(blocks.into_iter().map(|block| (id(block), page(block, lsn))));
    }

    fn at(&self, block: u32, snapshot: &SnapshotGuard) -> Result<u64, EngineError> {
        self.pool.get_at(id(block), snapshot).map(|page| run_of(block, &page))
    }

    fn latest(&self, block: u32) -> u64 {
        run_of(block, &self.pool.latest(id(block)).unwrap())
    }

    fn checkpoint(&self) {
        for id in self.pool.begin_checkpoint() {
            self.pool.write_back(id).unwrap();
        }
        self.pool.files().sync_dirty();
    }

    /// Looks at enough other pages, in `blocks`, to make every page that may leave do so.
    fn churn(&self, blocks: std::ops::Range<u32>) {
        for _ in 0..3 {
            for block in blocks.clone() {
                self.latest(block);
            }
        }
    }
}

#[test]
fn readers_see_the_version_of_their_snapshot() {
    let bench = pool(16, 100);
    bench.commit(10, [1, 2]);
    let first = bench.pool.snapshots().register_current();
    bench.commit(20, [1]);
    let second = bench.pool.snapshots().register_current();
    bench.publish(30, [1, 2]);
    let third = bench.pool.snapshots().register_current();
    assert_eq!([&first, &second, &third].map(|at| bench.at(1, at).unwrap()), [10, 20, 20]);
    assert_eq!([&first, &second, &third].map(|at| bench.at(2, at).unwrap()), [10, 10, 10]);
    assert_eq!((bench.latest(1), bench.latest(2)), (30, 30));
}

#[test]
fn a_page_that_was_never_written_is_an_error() {
    let bench = pool(16, 100);
    let snapshot = bench.pool.snapshots().register_current();
    assert!(matches!(bench.at(0, &snapshot), Err(EngineError::NoTree(TREE))));
    bench.commit(10, [0]);
    bench.checkpoint();
    let snapshot = bench.pool.snapshots().register_current();
    let error = bench.at(1, &snapshot).unwrap_err().to_string();
    assert_eq!(error, "block 1 of base/5/16384 is damaged: file \"base/5/16384\" ends before it");
}

#[test]
fn versions_go_when_no_snapshot_needs_them() {
    let bench = pool(16, 100);
    bench.commit(10, 0..8);
    let old = bench.pool.snapshots().register_current();
    bench.commit(20, 0..8);
    bench.pool.trim();
    assert_eq!(bench.pool.stats().versions, 8);
    drop(old);
    bench.pool.trim();
    assert_eq!(bench.pool.stats().versions, 0);
    assert_eq!(bench.latest(3), 20);
}

#[test]
fn versions_of_many_runs_that_replay_publishes_at_once_go_whatever_order_they_come_in() {
    let bench = pool(64, 1000);
    bench.commit(10, 0..30);
    let old = bench.pool.snapshots().register_current();
    for batch in 1..4_u64 {
        // Each page by another run, the newest first, the oldest last, and others between.
        let runs = (0..30_u64).map(|at| (at as u32, 100 * batch + if at == 0 { 29 } else { (at * 7) % 29 }));
        bench.pool.publish(runs.map(|(block, lsn)| (id(block), page(block, lsn))));
        bench.pool.snapshots().advance(Lsn::new(100 * batch + 40));
        assert!((0..30).all(|block| bench.at(block, &old).unwrap() == 10));
    }
    let current = bench.pool.snapshots().register_current();
    assert!((0..30).all(|block| bench.at(block, &current).unwrap() == bench.latest(block)));
    drop((old, current));
    bench.pool.trim();
    assert_eq!(bench.pool.stats().versions, 0);
}

#[test]
#[should_panic(expected = "of 0/13 is published after pages of 0/14")]
fn nothing_is_published_that_is_older_than_what_was_published_before() {
    let bench = pool(16, 100);
    bench.commit(20, [1]);
    bench.publish(19, [2]);
}

#[test]
fn publishing_alone_keeps_the_versions_few() {
    let bench = pool(64, 1000);
    for lsn in 10..2000 {
        bench.commit(lsn, [(lsn % 32) as u32, 33]);
        assert!(bench.pool.stats().versions <= 2, "{:?}", bench.pool.stats());
    }
}

#[test]
fn versions_between_two_snapshots_go_first() {
    let bench = pool(64, 40);
    bench.commit(10, 0..4);
    let old = bench.pool.snapshots().register_current();
    for lsn in 11..2000 {
        bench.commit(lsn, 0..4);
    }
    assert_eq!((0..4).map(|block| bench.at(block, &old).unwrap()).collect::<Vec<_>>(), [10; 4]);
    let stats = bench.pool.stats();
    assert!(stats.versions <= 40 && stats.cancelled == 0, "{stats:?}");
}

#[test]
fn beyond_the_bound_the_oldest_snapshots_are_cancelled() {
    let bench = pool(256, 100);
    bench.commit(10, 0..200);
    let first = bench.pool.snapshots().register_current();
    bench.commit(20, 0..60);
    let second = bench.pool.snapshots().register_current();
    assert_eq!(bench.at(0, &first).unwrap(), 10);
    bench.commit(30, 60..110);
    assert!(matches!(bench.at(150, &first), Err(EngineError::SnapshotTooOld(lsn)) if lsn == Lsn::new(10)));
    assert_eq!((bench.at(0, &second).unwrap(), bench.at(60, &second).unwrap()), (20, 10));
    let stats = bench.pool.stats();
    assert!(stats.versions <= 100 && stats.cancelled == 1, "{stats:?}");
}

#[test]
fn a_cancelled_snapshot_is_too_old_even_where_the_tree_is_gone() {
    let bench = pool(16, 4);
    bench.commit(10, 0..8);
    let old = bench.pool.snapshots().register_current();
    bench.commit(20, 0..8);
    bench.commit(30, 0..1);
    assert!(old.is_cancelled());
    bench.pool.forget_tree(TREE);
    assert!(matches!(bench.at(0, &old), Err(EngineError::SnapshotTooOld(_))));
}

#[test]
fn what_the_current_snapshot_needs_stays_beyond_the_bound_however_far_it_lags() {
    let bench = pool(256, 10);
    bench.commit(10, 0..50);
    let own = |lsn| bench.pool.snapshots().register_at_least(Lsn::new(lsn));
    let mut ahead = None;
    for lsn in 11..500 {
        bench.publish(lsn, 0..50);
        if lsn == 100 {
            ahead = Some(own(lsn));
        }
        assert_eq!(bench.at(7, &own(lsn)).unwrap(), lsn, "who committed it sees it");
        assert!(bench.pool.stats().versions <= 600, "{:?}", bench.pool.stats());
    }
    let current = bench.pool.snapshots().register_current();
    assert!((0..50).all(|block| bench.at(block, &current).unwrap() == 10));
    let ahead = ahead.unwrap();
    assert!((0..50).all(|block| bench.at(block, &ahead).unwrap() == 100));
    bench.pool.snapshots().advance(Lsn::new(300));
    let later = bench.pool.snapshots().register_current();
    assert!((11..=300).contains(&later.lsn().as_u64()));
    assert!((0..50).all(|block| bench.at(block, &later).unwrap() == later.lsn().as_u64()));
    drop((current, ahead, later));
    bench.pool.snapshots().advance(Lsn::new(499));
    assert_eq!(bench.pool.snapshots().current(), Lsn::new(499));
    bench.pool.trim();
    assert_eq!(bench.pool.stats().versions, 0);
}

#[test]
fn before_the_first_snapshot_no_version_is_kept_and_nothing_is_read() {
    let bench = pool(16, 100);
    bench.commit(10, 0..4);
    bench.checkpoint();
    let pool = open(&bench.disk, &bench.log, 16, 100);
    pool.publish((0..4).map(|block| (id(block), page(block, 20))));
    pool.publish((0..4).map(|block| (id(block), page(block, 30))));
    let stats = pool.stats();
    assert_eq!((stats.pages, stats.dirty, stats.versions, stats.misses), (4, 4, 0, 0));
    assert_eq!(run_of(0, &pool.latest(id(0)).unwrap()), 30);
}

#[test]
fn data_larger_than_the_pool_comes_and_goes() {
    let bench = pool(8, 100);
    bench.commit(10, (0..100).rev());
    bench.commit(20, (0..100).step_by(3));
    for block in 0..100 {
        assert_eq!(bench.latest(block), if block % 3 == 0 { 20 } else { 10 });
    }
    bench.pool.trim();
    bench.churn(0..30);
    let stats = bench.pool.stats();
    assert!(stats.pages <= 8 && stats.evicted > 92, "{stats:?}");
    assert!(stats.written >= 92, "dirty pages are written before they leave: {stats:?}");
}

#[test]
fn a_version_that_left_the_pool_comes_back_when_the_page_is_changed() {
    let bench = pool(4, 100);
    bench.commit(10, 0..20);
    let old = bench.pool.snapshots().register_current();
    bench.churn(10..20);
    bench.commit(20, 0..5);
    assert!((0..20).all(|block| bench.at(block, &old).unwrap() == 10));
    assert!((0..5).all(|block| bench.latest(block) == 20));
}

#[test]
fn a_page_in_use_stays() {
    let bench = pool(4, 100);
    bench.commit(10, 0..20);
    bench.checkpoint();
    let held = bench.pool.latest(id(0)).unwrap();
    bench.churn(1..20);
    let misses = bench.pool.stats().misses;
    assert!(held.is_same(&bench.pool.latest(id(0)).unwrap()));
    assert_eq!(bench.pool.stats().misses, misses);
}

#[test]
fn memory_of_a_version_that_somebody_holds_is_not_used_again() {
    let bench = pool(16, 100);
    bench.commit(10, 0..8);
    let held: Vec<SharedPage> = (0..4).map(|block| bench.pool.latest(id(block)).unwrap()).collect();
    bench.commit(20, 0..8);
    bench.pool.trim();
    let copies: Vec<SharedPage> = (0..8).map(|block| bench.pool.copy(&page(block, 30))).collect();
    assert!((0..).zip(&held).all(|(block, page)| run_of(block, page) == 10));
    assert!((0..).zip(&copies).all(|(block, page)| run_of(block, page) == 30));
}

#[test]
fn a_damaged_page_is_reported_and_not_kept() {
    let bench = pool(16, 100);
    bench.commit(10, 0..3);
    bench.checkpoint();
    let file = bench.disk.open("/base/5/16384".as_ref(), OpenMode::ReadWrite).unwrap();
    file.write_all_at(b"!", 8192 + 100).unwrap();
    let pool = open(&bench.disk, &bench.log, 16, 100);
    for _ in 0..2 {
        let error = pool.latest(id(1)).unwrap_err().to_string();
        assert!(error.starts_with("block 1 of base/5/16384 is damaged: its checksum is"), "{error}");
    }
    file.write_all_at(&[0], 8192 + 100).unwrap();
    assert_eq!(run_of(1, &pool.latest(id(1)).unwrap()), 10);
}

#[test]
fn a_checkpoint_writes_what_is_dirty_in_the_order_of_the_files() {
    let bench = pool(64, 100);
    bench.commit(10, [5, 3, 9, 1]);
    let dirty = bench.pool.begin_checkpoint();
    assert_eq!(dirty, [1, 3, 5, 9].map(id));
    assert_eq!(bench.pool.dirty_count(), 4);
    bench.checkpoint();
    assert_eq!((bench.pool.dirty_count(), bench.pool.begin_checkpoint().len()), (0, 0));
    let reopened = open(&bench.disk, &bench.log, 64, 100);
    assert_eq!(run_of(5, &reopened.latest(id(5)).unwrap()), 10);
    assert!(reopened.latest(id(4)).unwrap().is_new(), "a gap is a new page");
}

#[test]
fn a_page_that_could_not_be_written_stays_dirty() {
    let bench = pool(8, 100);
    bench.commit(5, 100..120);
    bench.checkpoint();
    bench.disk.limit_space(Some(0));
    bench.commit(10, 200..220);
    let error = bench.pool.write_back(id(219)).unwrap_err().to_string();
    assert_eq!(error, "could not write file \"/base/5/16384\"");
    assert_eq!(bench.pool.dirty_count(), 20, "nothing is lost for want of room");
    // Readers go on beside what is dirty, and take no more memory the more they read.
    for _ in 0..3 {
        (100..120).for_each(|block| drop(bench.pool.latest(id(block)).unwrap()));
    }
    let pages = bench.pool.stats().pages;
    assert!((20..40).contains(&pages), "{pages} pages for readers beside 20 dirty ones");
    let refused = bench.pool.check_takes_changes().unwrap_err();
    assert!(refused.is_disk_full(), "{refused}");
    bench.disk.limit_space(None);
    bench.pool.check_takes_changes().unwrap();
    bench.checkpoint();
    bench.churn(100..120);
    assert_eq!((bench.pool.dirty_count(), bench.pool.stats().pages), (0, 8));
}

#[test]
fn a_dropped_tree_is_forgotten_unwritten() {
    let bench = pool(64, 100);
    bench.commit(10, 0..4);
    bench.commit(20, 0..4);
    let other = PageId::new(TreeId::CATALOG, 0);
    bench.pool.publish([(other, page(0, 30))]);
    bench.pool.forget_tree(TREE);
    let stats = bench.pool.stats();
    assert_eq!((stats.pages, stats.dirty, stats.versions), (1, 1, 0));
    bench.checkpoint();
    assert_eq!(bench.pool.files().trees().unwrap(), [TreeId::CATALOG]);
    assert_eq!(run_of(0, &bench.pool.latest(other).unwrap()), 30);
}

/// Each page in each state that a power cut could leave is new, or of a run whose log was durable before it was written.
#[test]
fn no_page_reaches_the_disk_before_its_log() {
    let bench = pool(4, 100);
    let mut boundaries = Vec::new();
    for lsn in 1..12u64 {
        bench.commit(lsn * 10, (0..3).map(|n| (lsn as u32 * 2 + n) % 7));
        if lsn % 5 == 0 {
            bench.checkpoint();
        }
        boundaries.push((bench.disk.operations(), bench.log.flushed()));
    }
    assert!(bench.log.flushes.load(Ordering::SeqCst) > 0);
    let choices = CrashChoices { exhaustive_up_to: 64, samples: 16, seed: 7 };
    let mut written = 0;
    for (after, flushed) in boundaries {
        for state in bench.disk.crash_states(after, choices) {
            let files = RelationFiles::new(Arc::new(state), Path::new("/"));
            for block in 0..files.blocks(TREE).unwrap() {
                let mut page = Page::zeroed();
                files.read_block(id(block), &mut page).unwrap();
                if page.verify(id(block)).is_ok() && !page.is_new() {
                    assert!(page.lsn() <= flushed, "{page:?} but the log only up to {flushed}");
                    written += 1;
                }
            }
        }
    }
    assert!(written > 0);
}
