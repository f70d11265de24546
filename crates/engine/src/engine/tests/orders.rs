//! Data many times the pool, entries of every critical size, in every order, down to empty and up again, across crashes.

use std::hash::{DefaultHasher, Hash, Hasher};

use disk::CrashChoices;

use super::*;
use crate::btree::{BTree, MAX_KEY, MAX_VALUE};
use crate::buffer::latest_view;
use crate::checkpoint::Cause;
use crate::effort::cases;

/// Pages in the pool. The data is some twenty times that.
const POOL: usize = 16;
const ENTRIES: usize = 250;

/// Disks looked at after each crash.
const STATES: usize = 5;

/// Length and hash of each value.
type Model = BTreeMap<Vec<u8>, (usize, u64)>;

#[derive(Clone, Copy, Debug)]
enum Order {
    Ascending,
    Descending,
    Random,
}

const ORDERS: [Order; 3] = [Order::Ascending, Order::Descending, Order::Random];

fn summary(value: &[u8]) -> (usize, u64) {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    (value.len(), hasher.finish())
}

fn options() -> EngineOptions {
    EngineOptions { shared_buffers: POOL << 13, publish_status: false, ..EngineOptions::default() }
}

/// A data directory through its crashes.
struct Life {
    disk: SimDisk,
    engine: Arc<Engine>,
    random: Random,
    /// The content since the last crash, as of each commit.
    history: Vec<Model>,
    /// How many operations the disk had done when a commit of the history was durable.
    flushed: Vec<(usize, usize)>,
    crashes: usize,
}

impl Life {
    fn begin(seed: u64) -> Self {
        let disk = lifecycle::init();
        let engine = Engine::open(Arc::new(disk.clone()), Path::new(lifecycle::DIR), options()).unwrap();
        let flushed = vec![(disk.operations(), 0)];
        let random = Random::new(seed);
        Self { disk, engine, random, history: vec![Model::new()], flushed, crashes: 0 }
    }

    fn model(&self) -> &Model {
        self.history.last().unwrap()
    }

    /// The `number`th key: most are short, some as long as they may be. They ascend with the number.
    fn key(&mut self, number: usize) -> Vec<u8> {
        let mut key = (number as u32).to_be_bytes().to_vec();
        match number % 25 {
            7 => key.resize(MAX_KEY - number % 2, b'x'),
            11 => key.resize(700, b'y'),
            _ => {}
        }
        key
    }

    /// A value whose length is at one of the boundaries: of what fits a leaf, of overflow pages, of nothing.
    fn value(&mut self) -> Vec<u8> {
        const BODY: usize = 8192 - 24 - 16;
        // A quarter of a page with slot and header is the most that stays in a leaf.
        let around = [0, BODY / 4 - 16, BODY / 2, BODY, 2 * BODY, 3 * BODY][self.random.below(6)];
        let length = match self.random.below(4) {
            0 => self.random.below(400),
            _ => (around + self.random.below(24)).saturating_sub(12),
        };
        let seed = self.random.below(256);
        (0..length).map(|at| (at * 31 + at / 251 + seed) as u8).collect()
    }

    fn ordered(&mut self, count: usize, order: Order) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..count).collect();
        match order {
            Order::Ascending => {}
            Order::Descending => numbers.reverse(),
            Order::Random => (1..count).rev().for_each(|at| numbers.swap(at, self.random.below(at + 1))),
        }
        numbers
    }

    /// Commits these writes, a few at a time.
    fn write(&mut self, writes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        let mut writes = writes.into_iter().peekable();
        while writes.peek().is_some() {
            let mut model = self.model().clone();
            let mut transaction = self.engine.begin(Isolation::ReadCommitted, false);
            for (key, value) in writes.by_ref().take(1 + self.random.below(40)) {
                match value {
                    Some(value) => {
                        transaction.put(CATALOG, &key, &value).unwrap();
                        model.insert(key, summary(&value));
                    }
                    None => {
                        transaction.delete(CATALOG, &key).unwrap();
                        model.remove(&key);
                    }
                }
            }
            let commit = transaction.commit().unwrap();
            self.history.push(model);
            match self.random.below(6) {
                0..3 => {
                    self.engine.log().flush(commit.lsn).unwrap();
                    self.flushed.push((self.disk.operations(), self.history.len() - 1));
                }
                3 if self.random.below(3) == 0 => self.engine.checkpoint(Cause::Immediate).unwrap(),
                _ => {}
            }
        }
    }

    fn fill(&mut self, order: Order) {
        let numbers = self.ordered(ENTRIES, order);
        let writes = numbers.into_iter().map(|number| (self.key(number), Some(self.value()))).collect();
        self.write(writes);
    }

    /// Gives every third entry another value, on pages that no WAL since the checkpoint knows of.
    fn update(&mut self, order: Order) {
        self.engine.checkpoint(Cause::Immediate).unwrap();
        let keys: Vec<_> = self.model().keys().cloned().collect();
        let numbers = self.ordered(keys.len(), order).into_iter().filter(|number| number % 3 == 0);
        let writes = numbers.collect::<Vec<_>>().into_iter();
        let writes = writes.map(|number| (keys[number].clone(), Some(self.value()))).collect();
        self.write(writes);
    }

    fn empty(&mut self, order: Order) {
        self.engine.checkpoint(Cause::Immediate).unwrap();
        let keys: Vec<_> = self.model().keys().cloned().collect();
        let numbers = self.ordered(keys.len(), order);
        self.write(numbers.into_iter().map(|number| (keys[number].clone(), None)).collect());
    }

    /// The power fails at some moment since the last crash. Of several disks that it may leave, it goes on with the last.
    fn crash(&mut self) {
        let mut left = None;
        for _ in 0..STATES {
            left = Some(self.recover_one());
        }
        let (disk, engine, found) = left.unwrap();
        // What it has recovered was on the disk: a crash of the recovery must not lose it.
        self.flushed = vec![(0, 0)];
        (self.disk, self.engine, self.history) = (disk, engine, vec![found]);
        self.crashes += 1;
        self.check();
    }

    /// One of those disks, and what is found on it.
    fn recover_one(&mut self) -> (SimDisk, Arc<Engine>, Model) {
        let (from, to) = (self.flushed[0].0, self.disk.operations());
        // Late moments mostly, so that it gets on.
        let moment = to - self.random.below(to - from + 1) / (1 + self.random.below(8));
        let at_least = self.flushed.iter().rfind(|(operations, _)| *operations <= moment).unwrap().1;
        let seed = self.random.below(1 << 20) as u64;
        let choices = CrashChoices { exhaustive_up_to: 1, samples: 40, seed };
        let states = self.disk.count_crash_states(moment, choices);
        let chosen = self.random.below(states);
        let state = self.disk.crash_states(moment, choices).nth(chosen).unwrap();
        let what = || {
            let log = self.disk.log_text();
            format!("not {at_least}, after {moment} operations, state {chosen} of {states}\n{log}")
        };
        let engine = Engine::open(Arc::new(state.clone()), Path::new(lifecycle::DIR), options()).unwrap();
        BTree::new(CATALOG)
            .check(&latest_view(engine.pool()))
            .unwrap_or_else(|error| panic!("{error}: {}", what()));
        let found: Model =
            rows_now(&engine, CATALOG).iter().map(|(key, value)| (key.clone(), summary(value))).collect();
        let at = self.history.iter().rposition(|model| *model == found);
        assert!(at.is_some_and(|at| at >= at_least), "{at:?}: {}", what());
        (state, engine, found)
    }

    /// Everything durable and sound; returns the tree's pages.
    fn check(&mut self) -> crate::btree::TreeReport {
        flush(&self.engine);
        let report = BTree::new(CATALOG).check(&latest_view(self.engine.pool())).unwrap();
        assert_eq!(report.entries as usize, self.model().len());
        report
    }

    fn blocks(&self) -> u32 {
        self.engine.checkpoint(Cause::Immediate).unwrap();
        self.engine.pool().files().blocks(CATALOG).unwrap()
    }
}

#[test]
fn whatever_comes_in_whatever_order_and_goes_again_survives_every_crash() {
    for seed in 1..=u64::from(cases(3)) {
        let mut life = Life::begin(seed);
        let order = |step: u64| ORDERS[(seed + step) as usize % 3];
        life.fill(order(0));
        life.crash();
        life.fill(order(1));
        let report = life.check();
        let pages = report.leaves + report.inner_nodes + report.overflow_pages;
        assert!(pages as usize > 15 * POOL, "only {pages} pages");
        life.update(order(2));
        life.crash();
        life.empty(order(seed));
        life.crash();
        life.empty(order(seed + 1));
        let report = life.check();
        assert_eq!((report.entries, report.leaves, report.overflow_pages), (0, 1, 0), "{report:?}");
        let blocks = life.blocks();
        life.fill(order(2));
        life.check();
        // The pages that became free are used again.
        assert!(life.blocks() <= blocks + blocks / 2, "{blocks} blocks, then {}", life.blocks());
        life.crash();
        assert_eq!(life.crashes, 4);
        assert!(life.engine.pool().stats().evicted > 100, "the data fits the pool");
    }
}

#[test]
fn values_as_long_as_they_may_be_survive_the_end_of_the_process_at_any_moment() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let disk: Arc<dyn Disk> = Arc::new(disk::OsDisk::default());
    Engine::init(&disk, &dir, &crate::InitOptions::default()).unwrap();
    let value = |length: usize, seed: usize| -> Vec<u8> {
        (0..length).map(|at| (at * 7 + at / 8191 + seed) as u8).collect()
    };
    let longest = [MAX_VALUE, 100 * 8152];
    {
        let engine = Engine::open(Arc::clone(&disk), &dir, options()).unwrap();
        for (number, length) in (0..).zip(longest) {
            let mut transaction = engine.begin(Isolation::ReadCommitted, false);
            transaction.put(CATALOG, &[number], &value(length, number.into())).unwrap();
            let commit = transaction.commit().unwrap();
            engine.log().flush(commit.lsn).unwrap();
        }
        // Neither of them is durable; the process ends.
        let mut transaction = engine.begin(Isolation::ReadCommitted, false);
        let refused = transaction.put(CATALOG, b"longer", &vec![0; MAX_VALUE + 1]);
        assert!(matches!(refused, Err(EngineError::ValueTooLong { .. })));
        transaction.rollback();
    }
    let engine = Engine::open(Arc::clone(&disk), &dir, options()).unwrap();
    let reader = engine.begin(Isolation::RepeatableRead, true);
    for (number, length) in (0..).zip(longest) {
        let expected = value(length, number.into());
        let same = reader.get_with(CATALOG, &[number], |found| found == expected).unwrap();
        assert_eq!(same, Some(true), "the value of {length} bytes");
    }
    let pages = BTree::new(CATALOG).check(&latest_view(engine.pool())).unwrap().overflow_pages;
    drop(reader);
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    transaction.delete(CATALOG, &[0]).unwrap();
    transaction.put(CATALOG, &[1], b"short").unwrap();
    let commit = transaction.commit().unwrap();
    engine.log().flush(commit.lsn).unwrap();
    drop(engine);
    let engine = Engine::open(disk, &dir, options()).unwrap();
    let report = BTree::new(CATALOG).check(&latest_view(engine.pool())).unwrap();
    assert_eq!((report.entries, report.overflow_pages), (1, 0));
    assert!(report.free_pages >= pages);
}
