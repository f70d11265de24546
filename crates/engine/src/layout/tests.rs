//! Tests of a new data directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use disk::{CrashChoices, Disk, SimDisk, read_file};
use wal::payload::XlogRecord;
use wal::reader::Records;
use wal::record::Record;
use wal::{Expectations, Lsn, SegmentNo, SegmentSize, TimelineHistory, TimelineId, WalVersion};

use super::*;
use crate::control::ControlStore;
use crate::log::{Log, LogOptions, LogStart, record};

const DIR: &str = "/data";

fn small() -> InitOptions {
    InitOptions {
        segment_size: SegmentSize::new(1 << 20).unwrap(),
        files: vec![("postgresql.conf".into(), b"port = 5432\n".to_vec())],
    }
}

fn made() -> (SimDisk, Arc<dyn Disk>, SystemId) {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let system_id = create(&disk, Path::new(DIR), &small()).unwrap();
    (sim, disk, system_id)
}

#[test]
fn a_new_directory_is_shut_down_at_a_checkpoint_that_its_log_holds() {
    let (_, disk, system_id) = made();
    let control = ControlStore::open(&disk, Path::new(DIR)).unwrap().get();
    assert_eq!((control.system_id, control.state), (system_id, ClusterState::ShutDown));
    assert_eq!(control.checkpoint, Lsn::new(0x10_0028));
    let segment =
        read_file(&*disk, &Path::new(DIR).join("pg_wal/000000010000000000000001"), 1 << 20).unwrap();
    assert_eq!(segment.len(), 1 << 20);
    let expectations = Expectations {
        system_id: Some(system_id),
        ..Expectations::new(control.segment_size, TimelineHistory::root())
    };
    let mut records = Records::new(&segment, Lsn::new(0x10_0000), expectations);
    let first = records.next().unwrap();
    assert_eq!(first.start, control.checkpoint);
    let record = Record::decode(&first.bytes, WalVersion::V15).unwrap();
    let said = XlogRecord::decode(&record, WalVersion::V15).unwrap().unwrap();
    assert_eq!(said, XlogRecord::CheckpointShutdown(control.checkpoint_copy));
    assert!(records.next().is_none());
}

#[test]
fn the_log_goes_on_in_it() {
    let (_, disk, system_id) = made();
    let control = ControlStore::open(&disk, Path::new(DIR)).unwrap().get();
    let start = LogStart {
        system_id,
        timeline: TimelineId::FIRST,
        timeline_start: Lsn::INVALID,
        position: Lsn::new(control.checkpoint.as_u64() + 114),
        prev: control.checkpoint,
        clean: true,
        aborted: None,
    };
    let options = LogOptions {
        segment_size: control.segment_size,
        writer_delay: Duration::from_secs(60),
        publish_status: false,
        ..LogOptions::default()
    };
    let log = Log::open(Arc::clone(&disk), &Path::new(DIR).join("pg_wal"), options, start).unwrap();
    let mut encoded = Vec::new();
    record::encode_restore_point(&mut encoded, record::now(), "first");
    let placed = log.appender().append(&mut encoded);
    assert_eq!(placed.start, Lsn::new(0x10_0028 + 120));
    log.flush(placed.end).unwrap();
    drop(log);
    let name = SegmentNo::new(1).file_name(TimelineId::FIRST, control.segment_size);
    let segment = read_file(&*disk, &Path::new(DIR).join("pg_wal").join(name), 1 << 20).unwrap();
    let expectations = Expectations::new(control.segment_size, TimelineHistory::root());
    assert_eq!(Records::new(&segment, Lsn::new(0x10_0000), expectations).count(), 2);
}

#[test]
fn a_directory_with_something_in_it_is_refused() {
    let (_, disk, _) = made();
    let refusal = create(&disk, Path::new(DIR), &small()).unwrap_err().to_string();
    assert_eq!(refusal, "directory \"/data\" exists but is not empty: it is a data directory of walwriter");
}

#[test]
fn a_directory_with_a_control_file_is_complete_whenever_the_power_fails() {
    let (sim, _, system_id) = made();
    let choices = CrashChoices { exhaustive_up_to: 32, samples: 4, seed: 9 };
    // The zeros of the first segment are two hundred operations alike.
    let points = (0..=sim.operations()).filter(|after| after % 7 == 0 || after + 8 > sim.operations());
    for after in points {
        for crashed in sim.crash_states(after, choices) {
            let disk: Arc<dyn Disk> = Arc::new(crashed);
            let Ok(store) = ControlStore::open(&disk, Path::new(DIR)) else { continue };
            assert_eq!(store.get().system_id, system_id);
            for name in ["PG_VERSION", "postgresql.conf", "pg_wal/000000010000000000000001"] {
                assert!(disk.metadata(&Path::new(DIR).join(name)).unwrap().len > 0, "{name} after {after}");
            }
            for name in DIRECTORIES {
                assert!(disk.exists(&Path::new(DIR).join(name)).unwrap(), "{name} after {after}");
            }
        }
    }
    let disk: Arc<dyn Disk> = Arc::new(sim.crash_states(sim.operations(), choices).next().unwrap());
    ControlStore::open(&disk, Path::new(DIR)).unwrap();
}
