//! How many single-row upserts a second the engine commits, not waiting for the disk, and how fast their log is replayed.
//!
//! `cargo run --release -p engine --example commit_rate -- DIRECTORY [ROWS] [COMMITS] [THREADS]`; the directory must not exist.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use disk::{Disk, OsDisk};
use engine::{Engine, EngineOptions, InitOptions, Isolation, Standby, TreeId};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("which directory?")?;
    let mut number = |default| args.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (rows, commits, threads) = (number(100_000)?, number(1_000_000)?, number(1)?);
    let (dir, disk): (_, Arc<dyn Disk>) = (Path::new(&dir), Arc::new(OsDisk::new()));
    Engine::init(&disk, dir, &InitOptions::default())?;
    let options =
        EngineOptions { shared_buffers: 1 << 30, max_wal_size: 64 << 30, ..EngineOptions::default() };
    let engine = Engine::open(Arc::clone(&disk), dir, options.clone())?;

    let mut load = engine.begin(Isolation::ReadCommitted, false);
    let tree = load.create_tree()?;
    let mut bulk = load.bulk_load(tree)?;
    for row in 0..rows {
        bulk.add(&row.to_be_bytes(), &[b'x'; 84])?;
    }
    bulk.finish()?;
    let commit = load.commit()?;
    engine.log().flush(commit.lsn)?;
    let copy = dir.with_extension("standby");
    copy_directory(dir, &copy)?;

    let (start, cpu, began) = (engine.log().inserted(), cpu_seconds()?, Instant::now());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // As sessions that wait for their commits would, all the time.
        let flusher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                engine.log().flush(engine.log().inserted())?;
                thread::sleep(Duration::from_micros(500));
            }
            Ok::<_, engine::EngineError>(())
        });
        let threads: Vec<_> = (0..threads)
            .map(|seed| {
                let engine = &engine;
                scope.spawn(move || upserts(engine, tree, seed + 1, rows, commits / threads))
            })
            .collect();
        let outcome = threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"));
        done.store(true, Ordering::Relaxed);
        flusher.join().expect("no panic")?;
        outcome
    })?;
    let (seconds, end) = (began.elapsed().as_secs_f64(), engine.log().inserted());
    let cpu = cpu_seconds()? - cpu;
    let bytes = end.bytes_since(start) as f64;
    println!(
        "{threads} threads: {:.0} commits/s, {:.2} us of processor time and {:.0} bytes of WAL each; {:?}",
        commits as f64 / seconds,
        cpu * 1e6 / commits as f64,
        bytes / commits as f64,
        engine.pool().stats(),
    );
    engine.log().flush(end)?;
    let began = Instant::now();
    let mut reads = engine.begin(Isolation::ReadCommitted, true);
    for row in 0..commits {
        reads.begin_statement();
        let key = (row.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % rows;
        reads.get_with(tree, &key.to_be_bytes(), <[u8]>::len)?;
    }
    println!("{:.0} reads/s by key", commits as f64 / began.elapsed().as_secs_f64());
    drop((reads, engine));

    for entry in std::fs::read_dir(dir.join("pg_wal"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), copy.join("pg_wal").join(entry.file_name()))?;
        }
    }
    let began = Instant::now();
    let standby = Standby::open(disk, &copy, options)?;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "replay up to {}: {:.0} MB/s, {:.0} transactions/s",
        standby.replayed(),
        bytes / seconds / 1e6,
        commits as f64 / seconds
    );
    Ok(())
}

fn upserts(
    engine: &Arc<Engine>,
    tree: TreeId,
    seed: u64,
    rows: u64,
    count: u64,
) -> Result<(), engine::EngineError> {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut value = [b'y'; 84];
    for _ in 0..count {
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        let key = (random % rows).to_be_bytes();
        value[..8].copy_from_slice(&random.to_le_bytes());
        let mut transaction = engine.begin(Isolation::ReadCommitted, false);
        // Nobody else has it for long, and nobody waits for another row meanwhile.
        while transaction.lock_row(tree, &key, Waker::noop())? == engine::lock::Locked::Wait {
            thread::yield_now();
        }
        transaction.get_locked(tree, &key)?;
        transaction.put(tree, &key, &value)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Processor time of this process so far, to a hundredth of a second: `utime` and `stime` in proc(5).
fn cpu_seconds() -> Result<f64, Box<dyn Error + Send + Sync>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).flat_map(str::parse::<f64>).sum();
    Ok(ticks / 100.0)
}

fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
