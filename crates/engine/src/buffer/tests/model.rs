//! Random histories against a plain map of every version of every page.

use std::collections::HashMap;
use std::thread;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;
use crate::effort::cases;

const BLOCKS: u32 = 24;

/// What happens to the pool next.
#[derive(Clone, Debug)]
enum Step {
    /// A run changes these blocks.
    Publish(Vec<u32>),
    /// The run so many before the last is confirmed, and with it all before that.
    Confirm(u64),
    /// Somebody begins to read.
    Register,
    /// The reader so many before the last ends.
    Release(usize),
    /// One of the readers looks at a block.
    Read(usize, u32),
    /// The writer looks at a block.
    Latest(u32),
    WriteBack(u32),
    Checkpoint,
    Trim,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => btree_set(0..BLOCKS, 1..6).prop_map(|blocks| Step::Publish(blocks.into_iter().collect())),
        5 => (0u64..4).prop_map(Step::Confirm),
        3 => Just(Step::Register),
        2 => (0usize..8).prop_map(Step::Release),
        12 => (0usize..8, 0..BLOCKS).prop_map(|(reader, block)| Step::Read(reader, block)),
        6 => (0..BLOCKS).prop_map(Step::Latest),
        1 => (0..BLOCKS).prop_map(Step::WriteBack),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Trim),
    ]
}

/// Every version that was ever published.
#[derive(Default)]
struct Model {
    /// The LSNs of each block, ascending.
    versions: HashMap<u32, Vec<u64>>,
    last: u64,
}

impl Model {
    fn publish(&mut self, blocks: &[u32]) -> u64 {
        self.last += 10;
        for &block in blocks {
            self.versions.entry(block).or_default().push(self.last);
        }
        self.last
    }

    /// The version as of `lsn`.
    fn at(&self, block: u32, lsn: u64) -> Option<u64> {
        self.versions.get(&block)?.iter().rev().copied().find(|&version| version <= lsn)
    }
}

/// Runs a history in a pool of so many pages and versions; gives how many snapshots it cancelled.
fn run(pages: u64, versions: u64, steps: Vec<Step>) -> u64 {
    let bench = pool(pages, versions);
    let mut model = Model::default();
    let mut readers: Vec<SnapshotGuard> = Vec::new();
    bench.commit(model.publish(&(0..BLOCKS / 2).collect::<Vec<_>>()), 0..BLOCKS / 2);
    for step in steps {
        match step {
            Step::Publish(blocks) => bench.publish(model.publish(&blocks), blocks),
            Step::Confirm(before) => {
                bench.pool.snapshots().advance(Lsn::new(model.last.saturating_sub(10 * before)))
            }
            Step::Register => readers.push(bench.pool.snapshots().register_current()),
            Step::Release(_) if readers.is_empty() => {}
            Step::Release(reader) => drop(readers.swap_remove(reader % readers.len())),
            Step::Read(_, _) if readers.is_empty() => {}
            Step::Read(reader, block) => {
                let reader = &readers[reader % readers.len()];
                check_read(&bench, &model, reader, block);
            }
            Step::Latest(block) => match model.at(block, u64::MAX) {
                Some(lsn) => assert_eq!(bench.latest(block), lsn),
                None => assert_unwritten(bench.pool.latest(id(block))),
            },
            Step::WriteBack(block) => bench.pool.write_back(id(block)).unwrap(),
            Step::Checkpoint => bench.checkpoint(),
            Step::Trim => bench.pool.trim(),
        }
    }
    for reader in &readers {
        (0..BLOCKS).for_each(|block| check_read(&bench, &model, reader, block));
    }
    drop(readers);
    bench.pool.snapshots().advance(Lsn::new(model.last));
    bench.pool.trim();
    assert_eq!(bench.pool.stats().versions, 0);
    bench.checkpoint();
    assert_eq!(bench.pool.dirty_count(), 0);
    let reopened = open(&bench.disk, &bench.log, 4, 4);
    for (&block, versions) in &model.versions {
        let page = reopened.latest(id(block)).unwrap();
        assert_eq!(Some(&run_of(block, &page)), versions.last());
    }
    bench.pool.stats().cancelled
}

fn check_read(bench: &Bench, model: &Model, reader: &SnapshotGuard, block: u32) {
    let read = bench.pool.get_at(id(block), reader);
    if reader.is_cancelled() {
        assert!(matches!(read, Err(EngineError::SnapshotTooOld(_))));
        return;
    }
    match model.at(block, reader.lsn().as_u64()) {
        Some(lsn) => assert_eq!(run_of(block, &read.unwrap()), lsn),
        None if model.versions.contains_key(&block) => match read {
            Ok(page) => assert!(page.is_new(), "not there yet as of {}", reader.lsn()),
            Err(error) => assert!(matches!(error, EngineError::SnapshotTooOld(_)), "{error}"),
        },
        None => assert_unwritten(read),
    }
}

fn assert_unwritten(read: Result<SharedPage, EngineError>) {
    match read {
        Ok(page) => assert!(page.is_new(), "a gap in the file"),
        Err(EngineError::Damaged { .. } | EngineError::NoTree(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(150), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_sees_its_snapshot_in_a_tiny_pool(steps in vec(step(), 1..200)) {
        prop_assert_eq!(run(4, 1000, steps), 0);
    }

    #[test]
    fn every_reader_sees_its_snapshot_or_is_cancelled_for_want_of_memory(steps in vec(step(), 1..200)) {
        run(6, 8, steps);
    }
}

/// A writer, a checkpointer and readers at once, in a pool a tenth of the data.
#[test]
fn readers_on_several_threads_see_whole_commits() {
    const RUNS: u64 = 1_500;
    let bench = pool(10, 10_000);
    let last = AtomicU64::new(10);
    bench.commit(10, 0..100);
    // Each run changes blocks that are `apart` from one another, so what any snapshot must show can be computed.
    let blocks_of = |run: u64| (0..5).map(move |n| ((run * 7 + n * 20) % 100) as u32);
    let expected = |block: u32, lsn: u64| {
        let last_run = (lsn - 10) / 10;
        (1..=last_run)
            .rev()
            .take(100)
            .find(|&run| blocks_of(run).any(|other| other == block))
            .map_or(10, |run| 10 + run * 10)
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for run in 1..=RUNS {
                bench.commit(10 + run * 10, blocks_of(run));
            }
            last.store(u64::MAX, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while last.load(Ordering::SeqCst) != u64::MAX {
                bench.checkpoint();
            }
        });
        for seed in 0..3u32 {
            let (bench, last) = (&bench, &last);
            scope.spawn(move || {
                let mut block = seed;
                while last.load(Ordering::SeqCst) != u64::MAX {
                    let snapshot = bench.pool.snapshots().register_current();
                    for _ in 0..20 {
                        block = (block * 31 + 17) % 100;
                        assert_eq!(
                            bench.at(block, &snapshot).unwrap(),
                            expected(block, snapshot.lsn().as_u64())
                        );
                    }
                }
            });
        }
    });
    bench.pool.trim();
    let stats = bench.pool.stats();
    assert!(stats.versions == 0 && stats.cancelled == 0 && stats.evicted > 500, "{stats:?}");
    assert!((0..100).all(|block| bench.latest(block) == expected(block, 10 + RUNS * 10)));
}

#[test]
fn a_page_that_many_want_is_read_once() {
    let bench = pool(64, 100);
    bench.commit(10, 0..8);
    bench.checkpoint();
    let pool = open(&bench.disk, &bench.log, 64, 100);
    let start = std::sync::Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                for block in 0..8 {
                    assert_eq!(run_of(block, &pool.latest(id(block)).unwrap()), 10);
                }
            });
        }
    });
    assert_eq!((pool.stats().pages, pool.stats().read), (8, 8));
}
