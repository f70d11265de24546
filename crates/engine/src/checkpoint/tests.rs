//! Tests of checkpoints over pages that only pretend.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use disk::{CrashChoices, Disk, SimDisk, read_file};
use runtime::sync::Mutex;
use wal::payload::XlogRecord;
use wal::reader::Records;
use wal::record::{Record, ResourceManager, Xid};
use wal::{Expectations, Lsn, SegmentNo, SegmentSize, TimelineHistory, TimelineId, WalVersion};

use super::*;
use crate::TreeId;
use crate::control::{ClusterState, ControlStore};
use crate::layout::{InitOptions, create};
use crate::log::{Log, LogOptions, LogStart, record};

const DIR: &str = "/data";

fn size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

/// Pages that note what is done with them.
struct Pretended {
    log: Arc<Log>,
    dirty: usize,
    notes: Mutex<Vec<String>>,
    fails: AtomicBool,
    needed: Option<Lsn>,
}

impl Pretended {
    fn note(&self, what: String) {
        self.notes.lock().push(what);
    }

    fn notes(&self) -> Vec<String> {
        self.notes.lock().clone()
    }
}

impl CheckpointPages for Pretended {
    fn begin(&self) -> Begun {
        let redo = self.log.appender().set_redo();
        self.note("begin".to_owned());
        let pages = (0..self.dirty).map(|block| PageId::new(TreeId::new(16384), block as u32)).collect();
        Begun::Checkpoint { redo, pages, next_xid: 800, next_oid: 16400 }
    }

    fn write_back(&self, page: PageId) -> Result<(), EngineError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(EngineError::Damaged { page, reason: "pretended".to_owned() });
        }
        self.note(format!("write {}", page.block.as_u32()));
        Ok(())
    }

    fn sync(&self) -> SyncReport {
        self.note(format!("sync, log at {}", self.log.inserted()));
        SyncReport::default()
    }

    fn capacity(&self) -> usize {
        100
    }

    fn keep(&self, _: LogExtent, remove: &mut dyn FnMut(Option<Lsn>)) {
        remove(self.needed);
    }
}

/// A data directory that is in use.
struct Cluster {
    sim: SimDisk,
    log: Arc<Log>,
    control: Arc<ControlStore>,
}

impl Cluster {
    fn new() -> Self {
        let sim = SimDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let options = InitOptions { segment_size: size(), ..InitOptions::default() };
        let system_id = create(&disk, Path::new(DIR), &options).unwrap();
        let control = Arc::new(ControlStore::open(&disk, Path::new(DIR)).unwrap());
        let start = LogStart {
            system_id,
            timeline: TimelineId::FIRST,
            timeline_start: Lsn::INVALID,
            position: control.get().checkpoint.saturating_add(114),
            prev: control.get().checkpoint,
            clean: true,
            aborted: None,
        };
        let options = LogOptions {
            segment_size: size(),
            writer_delay: Duration::from_secs(3600),
            publish_status: false,
            ..LogOptions::default()
        };
        let log = Arc::new(Log::open(disk, &Path::new(DIR).join("pg_wal"), options, start).unwrap());
        control.update(|control| control.state = ClusterState::InProduction);
        Self { sim, log, control }
    }

    fn pages(&self, dirty: usize, needed: Option<Lsn>) -> Arc<Pretended> {
        let log = Arc::clone(&self.log);
        let (notes, fails) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Pretended { log, dirty, notes, fails, needed })
    }

    fn start(&self, pages: &Arc<Pretended>, options: CheckpointOptions) -> Checkpointer {
        let pages: Arc<dyn CheckpointPages> = pages.clone();
        Checkpointer::start(Arc::clone(&self.log), Arc::clone(&self.control), pages, options).unwrap()
    }

    fn append(&self, length: usize) -> Lsn {
        let mut encoded = Vec::new();
        let data = vec![1; length];
        record::encode(&mut encoded, ResourceManager::LOGICAL_MESSAGE, 0, Xid::new(9), &data);
        self.log.appender().append(&mut encoded).end
    }
}

/// The record that the control file of `disk` names, as far as the first segment that holds it tells.
fn named_checkpoint(disk: &SimDisk) -> (ClusterState, XlogRecord, Lsn) {
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let control = ControlStore::open(&as_disk, Path::new(DIR)).unwrap().get();
    let first = size().segment_of(control.checkpoint_copy.redo);
    let mut bytes = Vec::new();
    for number in first.as_u64()..=size().segment_of(control.checkpoint).as_u64() {
        let name = SegmentNo::new(number).file_name(TimelineId::FIRST, size());
        bytes.extend(read_file(disk, &Path::new(DIR).join("pg_wal").join(name), 1 << 20).unwrap());
    }
    let expectations = Expectations::new(size(), TimelineHistory::root());
    let mut records = Records::new(&bytes, size().start_of(first), expectations);
    let found = records.find(|record| record.start == control.checkpoint).unwrap();
    let decoded = Record::decode(&found.bytes, WalVersion::V15).unwrap();
    let said = XlogRecord::decode(&decoded, WalVersion::V15).unwrap().unwrap();
    (control.state, said, control.checkpoint_copy.redo)
}

#[test]
fn a_requested_checkpoint_writes_syncs_and_then_records() {
    let cluster = Cluster::new();
    let pages = cluster.pages(3, None);
    let checkpointer = cluster.start(&pages, CheckpointOptions::default());
    cluster.append(500);
    let redo = cluster.log.next_record();
    checkpointer.request(Cause::Immediate).unwrap();
    let sync = format!("sync, log at {redo}");
    assert_eq!(pages.notes(), ["begin", "write 0", "write 1", "write 2", sync.as_str()]);
    assert_eq!(cluster.log.redo(), redo);
    assert_eq!(cluster.log.flushed(), cluster.log.inserted());
    let (state, said, found_redo) = named_checkpoint(&cluster.sim);
    assert_eq!((state, found_redo), (ClusterState::InProduction, redo));
    let XlogRecord::CheckpointOnline(said) = said else { panic!("{said:?}") };
    assert_eq!((said.redo, said.next_xid, said.next_oid), (redo, 800, 16400));
}

#[test]
fn the_last_checkpoint_is_its_own_redo_position_and_the_directory_shut_down() {
    let cluster = Cluster::new();
    let pages = cluster.pages(1, None);
    let checkpointer = cluster.start(&pages, CheckpointOptions::default());
    cluster.append(500);
    checkpointer.shutdown().unwrap();
    let control = cluster.control.get();
    let (state, said, redo) = named_checkpoint(&cluster.sim);
    assert_eq!((state, redo), (ClusterState::ShutDown, control.checkpoint));
    assert!(matches!(said, XlogRecord::CheckpointShutdown(_)));
    assert_eq!(cluster.log.inserted(), control.checkpoint.saturating_add(114).align8());
    let refusal = checkpointer.request(Cause::Immediate).unwrap_err().to_string();
    assert_eq!(refusal, "the checkpointer has stopped");
}

#[test]
fn a_log_that_grows_asks_for_checkpoints_and_its_old_segments_serve_again() {
    let cluster = Cluster::new();
    let pages = cluster.pages(0, None);
    let options =
        CheckpointOptions { max_wal_size: 4 << 20, min_wal_size: 2 << 20, ..CheckpointOptions::default() };
    let _checkpointer = cluster.start(&pages, options);
    let first = cluster.control.get().checkpoint;
    // Far less than the timeout of five minutes: only the log's volume can ask.
    while cluster.control.get().checkpoint == first {
        let end = cluster.append(60_000);
        cluster.log.flush(end).unwrap();
    }
    let oldest = Path::new(DIR).join("pg_wal/000000010000000000000001");
    while cluster.sim.exists(&oldest).unwrap() {
        thread::yield_now();
    }
    assert!(cluster.log.redo() >= size().start_of(SegmentNo::new(2)));
}

#[test]
fn what_a_slot_needs_is_kept() {
    let cluster = Cluster::new();
    let pages = cluster.pages(0, Some(size().start_of(SegmentNo::new(3))));
    let options = CheckpointOptions { min_wal_size: 0, ..CheckpointOptions::default() };
    let checkpointer = cluster.start(&pages, options);
    for _ in 0..5 {
        cluster.append(100);
        cluster.log.switch_segment().unwrap();
    }
    checkpointer.request(Cause::Immediate).unwrap();
    let exists = |segment: u64| {
        let name = SegmentNo::new(segment).file_name(TimelineId::FIRST, size());
        cluster.sim.exists(&Path::new(DIR).join("pg_wal").join(name)).unwrap()
    };
    assert_eq!((exists(2), exists(3), exists(4)), (false, true, true));
}

#[test]
fn a_page_that_cannot_be_written_fails_the_request_and_moves_nothing() {
    let cluster = Cluster::new();
    let pages = cluster.pages(2, None);
    let checkpointer = cluster.start(&pages, CheckpointOptions::default());
    let before = cluster.control.get().checkpoint;
    pages.fails.store(true, Ordering::SeqCst);
    let refusal = checkpointer.request(Cause::Immediate).unwrap_err().to_string();
    assert_eq!(refusal, "checkpoint request failed: block 0 of base/5/16384 is damaged: pretended");
    assert_eq!(cluster.control.get().checkpoint, before);
    pages.fails.store(false, Ordering::SeqCst);
    checkpointer.request(Cause::Immediate).unwrap();
    assert!(cluster.control.get().checkpoint > before);
}

#[test]
fn a_checkpoint_that_has_time_hurries_when_somebody_cannot_wait() {
    let cluster = Cluster::new();
    let pages = cluster.pages(50, None);
    // At its own pace it would take an hour and a half.
    let options = CheckpointOptions { timeout: Duration::from_secs(6000), ..CheckpointOptions::default() };
    let checkpointer = cluster.start(&pages, options);
    thread::scope(|scope| {
        let spread = scope.spawn(|| checkpointer.request(Cause::Spread));
        while pages.notes().len() < 2 {
            thread::yield_now();
        }
        checkpointer.request(Cause::Immediate).unwrap();
        spread.join().unwrap().unwrap();
    });
    let begun = pages.notes().iter().filter(|note| *note == "begin").count();
    assert_eq!(begun, 2);
}

#[test]
fn time_makes_checkpoints_only_when_something_was_appended() {
    let cluster = Cluster::new();
    let pages = cluster.pages(0, None);
    let options = CheckpointOptions { timeout: Duration::from_millis(5), ..CheckpointOptions::default() };
    let first = cluster.control.get().checkpoint;
    let checkpointer = cluster.start(&pages, options);
    cluster.append(100);
    while cluster.control.get().checkpoint == first {
        thread::yield_now();
    }
    // Its own record does not count: after the thread's next rounds there are no more than the requested one.
    checkpointer.request(Cause::Immediate).unwrap();
    let quiet = cluster.log.inserted();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(cluster.log.inserted(), quiet);
}

#[test]
fn whenever_the_power_fails_the_control_file_names_a_checkpoint_that_is_there() {
    let cluster = Cluster::new();
    let pages = cluster.pages(0, None);
    let settled = cluster.sim.operations();
    let checkpointer = cluster.start(&pages, CheckpointOptions::default());
    for length in [100, 9000, 400] {
        cluster.append(length);
        checkpointer.request(Cause::Immediate).unwrap();
    }
    checkpointer.shutdown().unwrap();
    let choices = CrashChoices { exhaustive_up_to: 16, samples: 2, seed: 11 };
    // The zeros of segments made ahead are many operations alike.
    let log = cluster.sim.log_text();
    let interesting: Vec<usize> = log
        .lines()
        .enumerate()
        .skip(settled)
        .filter(|(_, line)| !line.contains("8192"))
        .map(|(at, _)| at)
        .collect();
    for after in interesting {
        for crashed in cluster.sim.crash_states(after + 1, choices) {
            named_checkpoint(&crashed);
        }
    }
}

/// A standby that has replayed one checkpoint.
struct Standby(Begun);

impl CheckpointPages for Standby {
    fn begin(&self) -> Begun {
        self.0.clone()
    }

    fn write_back(&self, _: PageId) -> Result<(), EngineError> {
        Ok(())
    }

    fn sync(&self) -> SyncReport {
        SyncReport::default()
    }

    fn capacity(&self) -> usize {
        1
    }

    fn keep(&self, _: LogExtent, remove: &mut dyn FnMut(Option<Lsn>)) {
        remove(None);
    }
}

#[test]
fn a_restartpoint_takes_over_the_checkpoint_that_was_replayed_and_appends_nothing() {
    let cluster = Cluster::new();
    let checkpoint = wal::payload::CheckPoint { next_xid: 900, ..cluster.control.get().checkpoint_copy };
    let (record, applied) = (Lsn::new(0x10_0100), Lsn::new(0x10_0200));
    let reached = TimelinePosition { timeline: TimelineId::FIRST, lsn: applied };
    let begun = Begun::Restartpoint { record, checkpoint, reached, pages: Vec::new() };
    let inserted = cluster.log.inserted();
    let start = |pages: Standby| {
        let (log, control) = (Arc::clone(&cluster.log), Arc::clone(&cluster.control));
        Checkpointer::start(log, control, Arc::new(pages), CheckpointOptions::default()).unwrap()
    };
    start(Standby(begun)).request(Cause::Immediate).unwrap();
    let control = cluster.control.get();
    assert_eq!((control.checkpoint, control.checkpoint_copy), (record, checkpoint));
    assert_eq!((control.min_recovery_point, control.min_recovery_timeline), (applied, TimelineId::FIRST));
    assert_eq!(cluster.log.inserted(), inserted);
    assert_eq!(cluster.log.redo(), checkpoint.redo, "slots reserve from here on");
    start(Standby(Begun::Nothing)).shutdown().unwrap();
    assert_eq!(cluster.control.get().state, ClusterState::ShutDownInRecovery);
}
