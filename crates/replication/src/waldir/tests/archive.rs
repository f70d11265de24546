//! WAL of our own making, laid out in files as receivers and servers leave them.

use std::sync::Arc;

use disk::{OpenMode, SimDisk};
use wal::record::{Record, ResourceManager, Xid};
use wal::writer::{LogIdentity, LogWriter, Placed};
use wal::{Lsn, SegmentNo, SegmentSize, SystemId, TimelineHistory, TimelineId, WalVersion};

use crate::waldir::compression::compress;
use crate::waldir::{Compression, SegmentFile, WalDir};

pub(super) const T1: TimelineId = TimelineId::FIRST;
pub(super) const T2: TimelineId = TimelineId::new(2);
pub(super) const SYSTEM: SystemId = SystemId::new(7_000_000_000_000_000_007);

pub(super) fn size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

pub(super) fn start_of(segment: u64) -> Lsn {
    size().start_of(SegmentNo::new(segment))
}

/// A log that grows in memory, from segment 1 on.
#[derive(Clone)]
pub(super) struct Log {
    writer: LogWriter,
    bytes: Vec<u8>,
}

impl Log {
    pub(super) fn new() -> Self {
        let identity = LogIdentity { system_id: SYSTEM, segment_size: size(), version: WalVersion::V15 };
        Self { writer: LogWriter::new(identity, T1, start_of(1), Lsn::INVALID), bytes: Vec::new() }
    }

    pub(super) fn append(&mut self, data_len: usize) -> Placed {
        let data = vec![0xA5; data_len];
        let record = Record::new(ResourceManager::XLOG, 0x60, Xid::INVALID, &data);
        let placed = self.writer.append(&record).unwrap();
        self.bytes.extend(self.writer.drain());
        placed
    }

    /// Appends records until the next one would begin in or after `segment`.
    pub(super) fn fill_up_to(&mut self, segment: u64) -> Placed {
        loop {
            let placed = self.append(3000);
            if self.writer.position().as_u64() + 4000 > start_of(segment).as_u64() {
                return placed;
            }
        }
    }

    pub(super) fn end(&self) -> Lsn {
        self.writer.position()
    }

    pub(super) fn switch_to(&mut self, timeline: TimelineId) {
        self.writer.set_timeline(timeline);
    }

    /// A segment's content so far, filled up with zeros.
    pub(super) fn segment(&self, number: u64) -> Vec<u8> {
        let len = size().bytes() as usize;
        let start = (number as usize - 1) * len;
        let mut content = self.bytes.get(start..).unwrap_or_default().to_vec();
        content.resize(len, 0);
        content
    }
}

/// A directory of files on a simulated disk.
pub(super) struct Archive {
    pub(super) dir: WalDir,
    disk: SimDisk,
}

impl Archive {
    pub(super) fn new() -> Self {
        let disk = SimDisk::new();
        let archive = Self { dir: WalDir::new("/data/pg_wal", Arc::new(disk.clone())), disk };
        archive.dir.disk().create_dir_all("/data/global".as_ref()).unwrap();
        archive.dir.disk().create_dir_all(archive.dir.path()).unwrap();
        archive
    }

    pub(super) fn put(&self, name: &str, content: &[u8]) {
        let path = self.dir.path().join(name);
        let file = self.dir.disk().open(&path, OpenMode::Create).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(content, 0).unwrap();
    }

    pub(super) fn put_segment(&self, timeline: TimelineId, number: u64, content: &[u8]) {
        self.put_stored(timeline, number, content, Compression::None, false);
    }

    pub(super) fn put_partial(&self, timeline: TimelineId, number: u64, content: &[u8]) {
        self.put_stored(timeline, number, content, Compression::None, true);
    }

    pub(super) fn put_stored(
        &self,
        timeline: TimelineId,
        number: u64,
        content: &[u8],
        compression: Compression,
        partial: bool,
    ) {
        let name = SegmentFile::name_of(timeline, SegmentNo::new(number), size(), compression, partial);
        self.put(&name, &compress(compression, content));
    }

    /// Segments `1..last` as complete files, `last` as a partial one.
    pub(super) fn put_log(&self, log: &Log) {
        let last = size().segment_ending_at(log.end()).as_u64();
        for number in 1..last {
            self.put_segment(T1, number, &log.segment(number));
        }
        self.put_partial(T1, last, &log.segment(last));
    }

    pub(super) fn put_history(&self, switch_point: Lsn) -> TimelineHistory {
        let history =
            TimelineHistory::root().child(T2, switch_point, "no recovery target specified").unwrap();
        self.put(&T2.history_file_name(), &history.to_bytes());
        history
    }

    pub(super) fn put_control_file(&self, content: &[u8]) {
        self.put("../global/pg_control", content);
    }

    pub(super) fn remove(&self, name: &str) {
        self.dir.disk().remove_file(&self.dir.path().join(name)).unwrap();
    }

    pub(super) fn simulated_disk(&self) -> &SimDisk {
        &self.disk
    }
}
