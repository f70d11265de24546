//! The engine as a whole, on simulated disks.

mod admission;
mod crash;
mod full_disk;
mod histories;
mod lifecycle;
mod long_runs;
mod lost_wal;
mod model;
mod orders;
mod ownership;
mod promotion;
mod replay;
mod retention;
mod threads;
mod transactions;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;

use disk::{Disk, SimDisk};
use replication::waldir::WalDir;
use wal::payload::CheckPoint;
use wal::record::Xid;
use wal::{Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId};

use super::*;
use crate::buffer::{PoolOptions, WalBeforeData};
use crate::lock::Locked;
use crate::log::{LogOptions, LogStart};
use crate::relation::RelationFiles;
use crate::replay::{LogSource, recover};
use crate::{Direction, EngineError, EngineOptions};

const SYSTEM: SystemId = SystemId::new(77);
const SEGMENT: u64 = 1 << 20;
const CATALOG: TreeId = TreeId::CATALOG;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The log of an engine that is being recovered: all of it is on the disk.
struct AllDurable;

impl WalBeforeData for AllDurable {
    fn flush(&self, _: Lsn) -> Result<(), EngineError> {
        Ok(())
    }

    fn flushed(&self) -> Lsn {
        Lsn::MAX
    }
}

fn segment_size() -> SegmentSize {
    SegmentSize::new(SEGMENT).unwrap()
}

fn first_checkpoint() -> CheckPoint {
    CheckPoint {
        redo: Lsn::new(SEGMENT),
        timeline: TimelineId::FIRST,
        previous_timeline: TimelineId::FIRST,
        full_page_writes: true,
        wal_level: 0,
        next_xid: 3,
        next_oid: 0,
        next_multi: 1,
        next_multi_offset: 0,
        oldest_xid: Xid::new(3),
        oldest_xid_database: 1,
        oldest_multi: 1,
        oldest_multi_database: 1,
        time: 0,
        oldest_commit_timestamp_xid: Xid::INVALID,
        newest_commit_timestamp_xid: Xid::INVALID,
        oldest_active_xid: Xid::INVALID,
    }
}

fn source(disk: &SimDisk, dir: &Path) -> LogSource {
    LogSource {
        dir: WalDir::new(dir.join("pg_wal"), Arc::new(disk.clone())),
        segment_size: segment_size(),
        system_id: SYSTEM,
        history: TimelineHistory::root(),
    }
}

fn pool(disk: &SimDisk, dir: &Path, wal: Arc<dyn WalBeforeData>, options: &EngineOptions) -> Arc<BufferPool> {
    let files = Arc::new(RelationFiles::new(Arc::new(disk.clone()), dir));
    let sizes = PoolOptions {
        capacity_bytes: options.shared_buffers as u64,
        version_bytes: options.version_memory as u64,
    };
    Arc::new(BufferPool::new(files, wal, sizes))
}

/// An engine without control file and checkpoints: its log begins at the first segment and is replayed from there.
fn open(disk: &SimDisk, dir: &Path, options: EngineOptions) -> Arc<Engine> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let wal_dir = dir.join("pg_wal");
    let is_new = !shared.exists(&wal_dir).unwrap();
    if is_new {
        shared.create_dir_all(&dir.join("base/5")).unwrap();
        shared.create_dir_all(&wal_dir).unwrap();
        for dir in [dir.to_owned(), dir.join("base"), dir.parent().unwrap().to_owned()] {
            shared.sync_dir(&dir).unwrap();
        }
    }
    let recovered = (!is_new).then(|| {
        let pool = pool(disk, dir, Arc::new(AllDurable), &options);
        let recovered = recover(&pool, source(disk, dir), &first_checkpoint(), Lsn::INVALID).unwrap();
        for page in pool.begin_checkpoint() {
            pool.write_back(page).unwrap();
        }
        pool.files().sync_dirty();
        recovered
    });
    let log_options =
        LogOptions { segment_size: segment_size(), publish_status: false, ..LogOptions::default() };
    let start = LogStart {
        system_id: SYSTEM,
        timeline: TimelineId::FIRST,
        timeline_start: Lsn::INVALID,
        position: recovered.map_or(Lsn::new(SEGMENT), |recovered| recovered.end),
        prev: recovered.map_or(Lsn::INVALID, |recovered| recovered.prev),
        clean: is_new,
        aborted: None,
    };
    let log = Arc::new(Log::open(shared, &wal_dir, log_options, start).unwrap());
    log.set_initial_redo(Lsn::new(SEGMENT));
    let pool = pool(disk, dir, Arc::clone(&log) as Arc<dyn WalBeforeData>, &options);
    let numbers = recovered.map_or(Numbers::new(3, 0), |recovered| recovered.numbers);
    let engine =
        Engine::assemble(Parts { options, pool, log, numbers, applied: start.position, read_only: false });
    if is_new {
        engine.create_first_trees().unwrap();
        engine.log().flush(engine.log().inserted()).unwrap();
    }
    engine
}

fn flush(engine: &Engine) {
    engine.log().flush(engine.log().inserted()).unwrap();
}

fn put(engine: &Arc<Engine>, rows: &[(&str, &str)]) -> Commit {
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    for (key, value) in rows {
        lock(&mut transaction, key.as_bytes());
        transaction.put(CATALOG, key.as_bytes(), value.as_bytes()).unwrap();
    }
    transaction.commit().unwrap()
}

fn lock(transaction: &mut Transaction, key: &[u8]) {
    assert_eq!(transaction.lock_row(CATALOG, key, Waker::noop()).unwrap(), Locked::Granted);
}

/// All rows of `tree` that `transaction` sees, read forwards and backwards.
fn rows(transaction: &Transaction, tree: TreeId) -> Rows {
    let read = |direction| {
        let mut scan = transaction.scan(tree, (Bound::Unbounded, Bound::Unbounded), direction);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut rows = Vec::new();
        while scan.next(transaction, &mut key, &mut value).unwrap() {
            rows.push((key.clone(), value.clone()));
        }
        rows
    };
    let forward = read(Direction::Forward);
    let mut backward = read(Direction::Backward);
    backward.reverse();
    assert_eq!(forward, backward);
    assert!(forward.is_sorted_by(|one, other| one.0 < other.0));
    forward.into_iter().collect()
}

fn rows_now(engine: &Arc<Engine>, tree: TreeId) -> Rows {
    rows(&engine.begin(Isolation::RepeatableRead, true), tree)
}

/// Small numbers that look random, the same for the same seed (xorshift64*).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }

    /// A key of a small set, so that transactions meet.
    fn key(&mut self) -> Vec<u8> {
        format!("{:03}", self.below(120)).into_bytes()
    }

    /// A value, now and then longer than a page.
    fn value(&mut self) -> Vec<u8> {
        let length = if self.below(20) == 0 { self.below(20_000) } else { self.below(300) };
        let letter = b'a' + self.below(26) as u8;
        vec![letter; length]
    }
}
