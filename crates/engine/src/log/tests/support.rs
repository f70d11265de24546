//! A log on a simulated disk, and what is found there afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use disk::{Disk, OpenMode, SimDisk};
use wal::reader::Records;
use wal::record::{ResourceManager, Xid};
use wal::writer::Placed;
use wal::{Expectations, Lsn, SegmentNo, SegmentSize, SystemId, TimelineHistory, TimelineId, Validator};

use crate::log::{Appender, Log, LogOptions, LogStart, record};

pub(super) const DIR: &str = "/pg_wal";
pub(super) const SYSTEM: SystemId = SystemId::new(7);

pub(super) fn size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

pub(super) fn options() -> LogOptions {
    LogOptions {
        segment_size: size(),
        wal_buffers: 256 << 10,
        writer_delay: Duration::from_secs(3600),
        publish_status: false,
    }
}

/// Where a new cluster's log begins.
pub(super) fn fresh() -> LogStart {
    LogStart {
        system_id: SYSTEM,
        timeline: TimelineId::FIRST,
        timeline_start: Lsn::INVALID,
        position: size().start_of(SegmentNo::new(1)),
        prev: Lsn::INVALID,
        clean: true,
        aborted: None,
    }
}

pub(super) fn empty_disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir(Path::new(DIR)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

pub(super) fn open(disk: &SimDisk, start: LogStart) -> Log {
    Log::open(Arc::new(disk.clone()), Path::new(DIR), options(), start).unwrap()
}

pub(super) fn append(appender: &mut Appender<'_>, data: &[u8]) -> Placed {
    let mut encoded = Vec::new();
    record::encode(&mut encoded, ResourceManager::LOGICAL_MESSAGE, 0, Xid::new(3), data);
    appender.append(&mut encoded)
}

/// One record found in the files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) placed: Placed,
    /// Everything behind the header.
    pub(super) body: Vec<u8>,
}

/// The bytes from the start of segment `first` on, as far as there are files, from those of `history`.
pub(super) fn bytes(disk: &SimDisk, history: &TimelineHistory, first: SegmentNo) -> Vec<u8> {
    let mut all = Vec::new();
    let mut segment = first;
    loop {
        let timeline = history.timeline_at(Lsn::new(size().end_of(segment).as_u64() - 1));
        let path = Path::new(DIR).join(segment.file_name(timeline, size()));
        let Ok(file) = disk.open(&path, OpenMode::Read) else { return all };
        let mut content = vec![0; size().bytes() as usize];
        let Ok(()) = file.read_exact_at(&mut content, 0) else { return all };
        all.extend_from_slice(&content);
        segment = segment.next();
    }
}

/// Where the log on `disk` ends by the validator's judgement, and its records.
pub(super) fn read(disk: &SimDisk, history: &TimelineHistory) -> (LogStart, Vec<Found>) {
    let first = SegmentNo::new(1);
    let all = bytes(disk, history, first);
    let mut validator = Validator::new(size().start_of(first), expectations(history));
    // The error is the end of the log.
    let _ = validator.feed(&all);
    let records = Records::new(&all, size().start_of(first), expectations(history));
    let found = records
        .map(|record| Found {
            placed: Placed { start: record.start, end: record.end },
            body: record.bytes.get(24..).unwrap_or_default().to_vec(),
        })
        .collect();
    let start = LogStart {
        position: validator.record_end(),
        prev: validator.last_record().unwrap_or(Lsn::INVALID),
        timeline: history.timeline(),
        clean: false,
        ..fresh()
    };
    (start, found)
}

pub(super) fn expectations(history: &TimelineHistory) -> Expectations {
    Expectations { system_id: Some(SYSTEM), ..Expectations::new(size(), history.clone()) }
}

pub(super) fn root() -> TimelineHistory {
    TimelineHistory::root()
}
