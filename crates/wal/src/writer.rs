//! Lays records out on pages and segments, as PostgreSQL's `CopyXLogRecordToWAL` does.
//!
//! Bytes go to a buffer that the caller drains. A record is linked to the one before it and sealed with its checksum
//! on the way. Positions: `prev < position`; `position` is where the next byte of the log goes, a multiple of 8 between
//! records.

use crate::page::{LongHeader, PAGE_SIZE, PageFlags, PageHeader};
use crate::payload::{RecordTime, XlogRecord};
use crate::record::{RECORD_HEADER, Record, RecordError, RecordHeader, ResourceManager, Xid, seal};
use crate::{Lsn, SegmentSize, SystemId, TimelineId, WalVersion};

/// What the pages of a log say about where they come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogIdentity {
    /// The cluster.
    pub system_id: SystemId,
    /// The size of its segments.
    pub segment_size: SegmentSize,
    /// The version whose format is written.
    pub version: WalVersion,
}

/// Where a record was put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// The record's LSN.
    pub start: Lsn,
    /// Its end, rounded up to a multiple of 8; at a page's end before the next page's header.
    pub end: Lsn,
}

/// Writes records one after the other.
#[derive(Clone, Debug)]
pub struct LogWriter {
    identity: LogIdentity,
    /// Stamped on pages begun from now on.
    timeline: TimelineId,
    /// Where the next byte goes. Moved by every append.
    position: Lsn,
    /// The start of the last record; 0/0 before the first ever. Behind `position`.
    prev: Lsn,
    /// Flags for the next page that is begun, and for no other.
    next_page: PageFlags,
    /// What was written and not yet drained; ends at `position`.
    buffer: Vec<u8>,
}

impl LogWriter {
    /// Writes from `start` on: a page boundary, or where a record may start on a page whose beginning is already
    /// written. `prev` is the start of the last record before, 0/0 if there is none.
    pub fn new(identity: LogIdentity, timeline: TimelineId, start: Lsn, prev: Lsn) -> Self {
        let next_page = PageFlags::default();
        Self { identity, timeline, position: start.align8(), prev, next_page, buffer: Vec::new() }
    }

    /// Where the next byte of the log goes.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// The start of the last record.
    pub fn prev(&self) -> Lsn {
        self.prev
    }

    /// The bytes written since they were last taken; they end at [`LogWriter::position`].
    pub fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Pages begun from now on are on `timeline`; the one under way stays on the old one.
    pub fn set_timeline(&mut self, timeline: TimelineId) {
        self.timeline = timeline;
    }

    /// Appends `record`. Its prev-link, length and checksum are written here.
    pub fn append(&mut self, record: &Record<'_>) -> Result<Placed, RecordError> {
        Ok(self.append_encoded(record.encode()?))
    }

    /// Appends an encoded record, linked and sealed anew. It must be at least a record's header long.
    fn append_encoded(&mut self, mut record: Vec<u8>) -> Placed {
        self.begin_page_if_due(0);
        if let Some(header) = RecordHeader::decode(&record) {
            seal(&mut record, RecordHeader { prev: self.prev, ..header });
        }
        let start = self.position;
        let mut rest = record.as_slice();
        while !rest.is_empty() {
            self.begin_page_if_due(rest.len() as u32);
            let (now, later) = rest.split_at(rest.len().min(self.room_on_page()));
            self.push(now);
            rest = later;
        }
        let padding = self.position.align8().bytes_since(self.position) as usize;
        self.push(&[0; 8][..padding.min(8)]);
        self.prev = start;
        Placed { start, end: self.position }
    }

    /// Ends the segment: a SWITCH record, then zeros. Nothing is written if a segment is just about to begin.
    pub fn switch_segment(&mut self) -> Option<Placed> {
        let size = self.identity.segment_size;
        if size.offset_of(self.position) == 0 {
            return None;
        }
        let switch = RecordHeader {
            total_length: RECORD_HEADER as u32,
            xid: Xid::INVALID,
            prev: Lsn::INVALID,
            info: XlogRecord::SWITCH,
            resource_manager: ResourceManager::XLOG,
            crc: 0,
        };
        let placed = self.append_encoded(switch.encode().to_vec());
        let end = size.end_of(size.segment_ending_at(self.position));
        let zeros = end.bytes_since(self.position) as usize;
        self.buffer.resize(self.buffer.len() + zeros, 0);
        self.position = end;
        Some(placed)
    }

    /// Goes on after a crash that left the record at `aborted` without its continuation, which should have begun at this
    /// writer's position, a page boundary: marks the page and names the record.
    pub fn overwrite_contrecord(&mut self, aborted: Lsn, time: RecordTime) -> Result<Placed, RecordError> {
        self.next_page = PageFlags::FIRST_IS_OVERWRITE_CONTRECORD;
        let (info, data) = XlogRecord::OverwriteContrecord { aborted, time }.encode(self.identity.version);
        self.append(&Record::new(ResourceManager::XLOG, info, Xid::INVALID, &data))
    }

    fn room_on_page(&self) -> usize {
        PAGE_SIZE - (self.position.as_u64() % PAGE_SIZE as u64) as usize
    }

    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.position = self.position.saturating_add(bytes.len() as u64);
    }

    /// Writes a page header if the position is at a page's start, where `rem_len` bytes of a record are to follow.
    fn begin_page_if_due(&mut self, rem_len: u32) {
        if self.room_on_page() != PAGE_SIZE {
            return;
        }
        let continued = if rem_len > 0 { PageFlags::FIRST_IS_CONTRECORD } else { PageFlags::default() };
        let long = LongHeader {
            system_id: self.identity.system_id,
            segment_size: self.identity.segment_size.bytes(),
            block_size: PAGE_SIZE as u32,
        };
        let begins_segment = self.identity.segment_size.offset_of(self.position) == 0;
        let header = PageHeader {
            version: self.identity.version,
            flags: std::mem::take(&mut self.next_page).with(PageFlags::BKP_REMOVABLE).with(continued),
            timeline: self.timeline,
            page_addr: self.position,
            rem_len,
            long: Some(long).filter(|_| begins_segment),
        };
        let mut bytes = Vec::with_capacity(header.size());
        header.encode_into(&mut bytes);
        self.push(&bytes);
    }
}
