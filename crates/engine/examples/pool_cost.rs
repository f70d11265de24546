//! What the buffer pool, snapshots and checksums cost, in nanoseconds of CPU an operation, so that a busy machine spoils
//! little:
//! `cargo run --release -p engine --example pool_cost`.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use disk::OsDisk;
use engine::buffer::{BufferPool, PoolOptions, WalBeforeData};
use engine::page::{Page, SharedPage};
use engine::relation::RelationFiles;
use engine::{EngineError, PageId, TreeId};
use wal::Lsn;

const TREE: TreeId = TreeId::new(16384);
const OPERATIONS: u64 = 2_000_000;

/// A log that is durable as far as it will ever reach.
struct Durable;

impl WalBeforeData for Durable {
    fn flush(&self, _: Lsn) -> Result<(), EngineError> {
        Ok(())
    }

    fn flushed(&self) -> Lsn {
        Lsn::MAX
    }
}

fn pool(dir: &Path, mebibytes: u64) -> BufferPool {
    let files = Arc::new(RelationFiles::new(Arc::new(OsDisk::new()), dir));
    let options = PoolOptions { capacity_bytes: mebibytes << 20, version_bytes: 64 << 20 };
    BufferPool::new(files, Arc::new(Durable), options)
}

fn page(lsn: u64) -> SharedPage {
    let mut page = Page::zeroed();
    page.init(16);
    page.set_lsn(Lsn::new(lsn));
    SharedPage::from(&*page)
}

/// Blocks in an order that no cache foresees.
fn scattered(step: u64, blocks: u32) -> PageId {
    let block = (step.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32 % blocks;
    PageId::new(TREE, block)
}

fn measure(what: &str, operations: u64, work: impl FnOnce()) {
    let start = cpu_nanoseconds();
    work();
    report(what, cpu_nanoseconds() - start, operations);
}

fn report(what: &str, nanoseconds: u64, operations: u64) {
    println!("{:>9.1} ns  {what}", nanoseconds as f64 / operations as f64);
}

/// What this thread has spent on a CPU.
fn cpu_nanoseconds() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn main() -> Result<(), EngineError> {
    let dir = std::env::temp_dir().join(format!("pool_cost.{}", std::process::id()));
    std::fs::create_dir_all(dir.join("base/5"))
        .map_err(|source| EngineError::file("create", &dir, source))?;
    let measured = measure_all(&dir);
    std::fs::remove_dir_all(&dir).map_err(|source| EngineError::file("remove", &dir, source))?;
    measured
}

fn measure_all(dir: &Path) -> Result<(), EngineError> {
    let mut sample = page(77);
    measure("checksum of a page", 200_000, || {
        for block in 0..200_000 {
            black_box(black_box(&sample).checksum(block));
        }
    });
    measure("copy of a page into one that is there", 1_000_000, || {
        let mut copy = Page::zeroed();
        for _ in 0..1_000_000 {
            copy.copy_from(black_box(&sample));
            black_box(&mut copy);
        }
    });
    measure("copy of a page into a new allocation", 1_000_000, || {
        for _ in 0..1_000_000 {
            black_box(SharedPage::from(black_box(&*sample)));
        }
    });
    black_box(sample.make_mut());

    let blocks = 10_000;
    let large = pool(dir, 128);
    large.publish((0..blocks).map(|block| (PageId::new(TREE, block), page(10))));
    large.snapshots().advance(Lsn::new(10));
    measure("snapshot registered and released", OPERATIONS, || {
        for _ in 0..OPERATIONS {
            black_box(large.snapshots().register_current());
        }
    });
    let snapshot = large.snapshots().register_current();
    measure("get_at, page in the pool, one hot page", OPERATIONS, || {
        for _ in 0..OPERATIONS {
            black_box(large.get_at(PageId::new(TREE, 1), &snapshot).is_ok());
        }
    });
    measure("get_at, page in the pool, 10000 pages", OPERATIONS, || {
        for step in 0..OPERATIONS {
            black_box(large.get_at(scattered(step, blocks), &snapshot).is_ok());
        }
    });
    drop(snapshot);
    measure_publish(&large, 64);
    measure_publish(&large, blocks);
    measure_threads(&large, blocks);
    measure_misses(dir)
}

fn measure_publish(pool: &BufferPool, blocks: u32) {
    let mut lsn = pool.snapshots().current().as_u64();
    let copies: Vec<SharedPage> = (0..5000).map(|n| page(lsn + n + 1)).collect();
    println!("             of {blocks} pages:");
    measure("publish of a page made before, and confirmation", 5000, || {
        for copy in copies {
            lsn += 1;
            pool.publish([(scattered(lsn, blocks), copy)]);
            pool.snapshots().advance(Lsn::new(lsn));
        }
    });
    for (what, pages) in [("1 page", 1), ("4 pages", 4), ("100 pages", 100)] {
        let runs = 500_000 / pages;
        measure(&format!("run of {what}: latest, copy, publish, confirmation; a page"), runs * pages, || {
            for _ in 0..runs {
                lsn += 1;
                let changed: Vec<_> = (0..pages)
                    .filter_map(|n| {
                        let id = scattered(lsn * pages + n, blocks);
                        let mut copy = pool.copy(&*pool.latest(id).ok()?);
                        copy.get_mut()?.set_lsn(Lsn::new(lsn));
                        Some((id, copy))
                    })
                    .collect();
                pool.publish(changed);
                pool.snapshots().advance(Lsn::new(lsn));
            }
        });
    }
}

fn measure_threads(pool: &BufferPool, blocks: u32) {
    let spent = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..2u64 {
            let spent = &spent;
            scope.spawn(move || {
                let start = cpu_nanoseconds();
                for step in 0..OPERATIONS / 4 {
                    let snapshot = pool.snapshots().register_current();
                    for n in 0..4 {
                        black_box(
                            pool.get_at(scattered((thread << 32) + step * 4 + n, blocks), &snapshot).is_ok(),
                        );
                    }
                }
                spent.fetch_add(cpu_nanoseconds() - start, Ordering::Relaxed);
            });
        }
    });
    let what = "get_at on each of two threads, 10000 pages, a quarter of a snapshot included";
    report(what, spent.load(Ordering::Relaxed), 2 * OPERATIONS);
}

fn measure_misses(dir: &Path) -> Result<(), EngineError> {
    let blocks = 10_000;
    let small = pool(dir, 8);
    small.publish((0..blocks).map(|block| (PageId::new(TREE, block), page(10))));
    for id in small.begin_checkpoint() {
        small.write_back(id)?;
    }
    small.snapshots().advance(Lsn::new(10));
    measure("latest, page in the kernel's cache only", 100_000, || {
        for step in 0..100_000 {
            black_box(small.latest(scattered(step, blocks)).is_ok());
        }
    });
    let mut lsn = 10;
    measure("run of 1 page in the kernel's cache only, evicting dirty ones", 100_000, || {
        for _ in 0..100_000 {
            lsn += 1;
            let id = scattered(lsn, blocks);
            let Ok(base) = small.latest(id) else { continue };
            let mut copy = small.copy(&base);
            if let Some(copy) = copy.get_mut() {
                copy.set_lsn(Lsn::new(lsn));
            }
            small.publish([(id, copy)]);
            small.snapshots().advance(Lsn::new(lsn));
        }
    });
    println!("{:?}", small.stats());
    Ok(())
}
