//! What the log costs per commit: appending alone, and appending with a flush beside a bare write and sync of as many
//! bytes into a file made in the same way.
//!
//! `cargo run --release -p engine --example log_commit -- DIRECTORY`

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use disk::{Disk, OpenMode, OsDisk, fill_zeros};
use engine::log::{Log, LogOptions, LogStart, record};
use wal::record::{ResourceManager, Xid};
use wal::{Lsn, SegmentNo, SegmentSize, SystemId, TimelineId};

/// A one-row change, and the commit that follows it.
const CHANGE: usize = 150;
/// Runs appended between two flushes when only appending is timed: too few to fill the buffer.
const BURST: u32 = 1000;
const BURSTS: u32 = 500;
const COMMITS: u32 = 20_000;
/// A change and a commit, each rounded up to a multiple of 8.
const RUN: usize = 152 + 40;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("a directory is needed")?);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    disk.create_dir_all(&dir)?;
    let size = SegmentSize::DEFAULT;
    let start = LogStart {
        system_id: SystemId::new(1),
        timeline: TimelineId::FIRST,
        timeline_start: Lsn::INVALID,
        position: size.start_of(SegmentNo::new(1)),
        prev: Lsn::INVALID,
        clean: true,
        aborted: None,
    };
    let log = Log::open(Arc::clone(&disk), &dir, LogOptions::default(), start)?;
    let raw = RawFile::make(&*disk, &dir)?;
    // In turns, so that whatever else the machine does hits both alike.
    let (mut ours, mut bare, mut appending) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..COMMITS {
        ours.push(time(1, |_| flush(&log, commit(&log))));
        bare.push(time(1, |_| raw.write(number)));
    }
    for _ in 0..BURSTS {
        let mut end = Lsn::INVALID;
        appending.push(time(BURST, |_| end = commit(&log)));
        flush(&log, end);
    }
    let without_flush = median(&mut appending);
    println!("run of two records, appended: {without_flush:?}");
    println!("appended and flushed: {:?}", median(&mut ours));
    println!("bare write and sync of {RUN} bytes: {:?}", median(&mut bare));
    Ok(())
}

/// Appends a run and returns its end.
fn commit(log: &Log) -> Lsn {
    thread_local! {
        static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
    }
    BUFFERS.with_borrow_mut(|(change, commit)| {
        let data = [7; CHANGE - 24 - 2];
        record::encode(change, ResourceManager::GENERIC, 0, Xid::new(3), &data);
        record::encode_commit(commit, Xid::new(3), wal::payload::RecordTime::new(1), &[]);
        let mut appender = log.appender();
        appender.append(change);
        appender.append(commit).end
    })
}

fn flush(log: &Log, end: Lsn) {
    log.flush(end).expect("the log reaches there");
}

fn time(count: u32, mut work: impl FnMut(u32)) -> Duration {
    let began = Instant::now();
    for number in 0..count {
        work(number);
    }
    began.elapsed() / count
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

struct RawFile(Box<dyn disk::DiskFile>);

impl RawFile {
    fn make(disk: &dyn Disk, dir: &Path) -> std::io::Result<Self> {
        let file = disk.open(&dir.join("raw"), OpenMode::Create)?;
        fill_zeros(&*file, 0, 16 << 20)?;
        file.sync_all()?;
        Ok(Self(file))
    }

    fn write(&self, number: u32) {
        let offset = u64::from(number) * RUN as u64 % (15 << 20);
        self.0.write_all_at(&[1; RUN], offset).expect("writes");
        self.0.sync_data().expect("syncs");
    }
}
