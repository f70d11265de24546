//! Lays records out on pages and segments, as PostgreSQL's `CopyXLogRecordToWAL` does.
//!
//! [`LogLayout`] decides where bytes go and appends them to a buffer of the caller's; [`LogWriter`] brings a buffer of
//! its own, which the caller drains. A record is linked to the one before it and sealed with its checksum on the way.
//! Positions: `prev < position`; `position` is where the next byte of the log goes, a multiple of 8 between records.

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

/// Where records go, one after the other.
#[derive(Clone, Debug)]
pub struct LogLayout {
    identity: LogIdentity,
    /// Stamped on pages begun from now on.
    timeline: TimelineId,
    /// Where the next byte goes. Moved by every record placed.
    position: Lsn,
    /// The start of the last record; 0/0 before the first ever. Behind `position`.
    prev: Lsn,
    /// Flags for the next page that is begun, and for no other.
    next_page: PageFlags,
}

impl LogLayout {
    /// Goes on at `start`: a page boundary, or where a record may start on a page whose beginning is already written.
    /// `prev` is the start of the last record before, 0/0 if there is none.
    pub fn new(identity: LogIdentity, timeline: TimelineId, start: Lsn, prev: Lsn) -> Self {
        let position = start.align8();
        Self { identity, timeline, position, prev, next_page: PageFlags::default() }
    }

    /// What the pages say about where they come from.
    pub fn identity(&self) -> LogIdentity {
        self.identity
    }

    /// The timeline of pages begun from now on.
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Where the next byte of the log goes.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// The start of the last record.
    pub fn prev(&self) -> Lsn {
        self.prev
    }

    /// Pages begun from now on are on `timeline`; the one under way stays on the old one.
    pub fn set_timeline(&mut self, timeline: TimelineId) {
        self.timeline = timeline;
    }

    /// The next page, which begins right here, takes the place of the continuation of a record that was never
    /// completed. An OVERWRITE_CONTRECORD record must be the first on it.
    pub fn overwrite_continuation(&mut self) {
        assert_eq!(self.room_on_page(), PAGE_SIZE, "the next page begins at {}", self.position);
        self.next_page = PageFlags::FIRST_IS_OVERWRITE_CONTRECORD;
    }

    /// Appends an encoded record to `out`, whose end is this layout's position. The record's length, prev-link and
    /// checksum are written here. It must be at least a record's header long.
    pub fn place(&mut self, record: &mut [u8], out: &mut Vec<u8>) -> Placed {
        assert!(record.len() >= RECORD_HEADER, "a record has a header, and this one {} bytes", record.len());
        let (began, length) = (self.position, out.len());
        assert_eq!(began.align8(), began, "between records the position is a multiple of 8");
        let total_length = record.len() as u32;
        if let Some(header) = RecordHeader::decode(record) {
            seal(record, RecordHeader { total_length, prev: self.prev, ..header });
        }
        self.begin_page_if_due(0, out);
        let start = self.position;
        let mut rest: &[u8] = record;
        while !rest.is_empty() {
            self.begin_page_if_due(rest.len() as u32, out);
            let (now, later) = rest.split_at(rest.len().min(self.room_on_page()));
            self.push(now, out);
            rest = later;
        }
        let padding = self.position.align8().bytes_since(self.position) as usize;
        self.push(&[0; 8][..padding.min(8)], out);
        assert_eq!(self.position.align8(), self.position, "a record's end is a multiple of 8");
        assert!(
            self.position.bytes_since(start) >= u64::from(total_length),
            "{total_length} bytes lie between {start} and {}",
            self.position
        );
        assert_eq!(
            self.position.bytes_since(began),
            (out.len() - length) as u64,
            "what was appended ends at the position"
        );
        self.prev = start;
        Placed { start, end: self.position }
    }

    /// Ends the segment: a SWITCH record, then zeros. Nothing is written if a segment is just about to begin.
    pub fn switch_segment(&mut self, out: &mut Vec<u8>) -> Option<Placed> {
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
        let placed = self.place(&mut switch.encode(), out);
        let end = size.end_of(size.segment_ending_at(self.position));
        assert!(placed.end <= end, "a SWITCH record, which ends at {}, lies in its segment", placed.end);
        assert!(end.bytes_since(self.position) < size.bytes().into(), "zeros fill no more than one segment");
        let zeros = end.bytes_since(self.position) as usize;
        out.resize(out.len() + zeros, 0);
        self.position = end;
        assert_eq!(size.offset_of(self.position), 0, "what follows a SWITCH begins a segment");
        Some(placed)
    }

    fn room_on_page(&self) -> usize {
        PAGE_SIZE - (self.position.as_u64() % PAGE_SIZE as u64) as usize
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        assert!(
            bytes.len() <= self.room_on_page(),
            "{} bytes fit the page at {}",
            bytes.len(),
            self.position
        );
        out.extend_from_slice(bytes);
        self.position = self.position.saturating_add(bytes.len() as u64);
    }

    /// Writes a page header if the position is at a page's start, where `rem_len` bytes of a record are to follow.
    fn begin_page_if_due(&mut self, rem_len: u32, out: &mut Vec<u8>) {
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
        let length = out.len();
        header.encode_into(out);
        assert_eq!(out.len() - length, header.size(), "a page header is as long as it says");
        self.position = self.position.saturating_add(header.size() as u64);
        assert!(self.room_on_page() < PAGE_SIZE, "a page's header is on the page");
    }
}

/// Writes records one after the other into a buffer of its own.
#[derive(Clone, Debug)]
pub struct LogWriter {
    layout: LogLayout,
    /// What was written and not yet drained; ends at the layout's position.
    buffer: Vec<u8>,
}

impl LogWriter {
    /// Writes from `start` on: a page boundary, or where a record may start on a page whose beginning is already
    /// written. `prev` is the start of the last record before, 0/0 if there is none.
    pub fn new(identity: LogIdentity, timeline: TimelineId, start: Lsn, prev: Lsn) -> Self {
        Self { layout: LogLayout::new(identity, timeline, start, prev), buffer: Vec::new() }
    }

    /// Where the next byte of the log goes.
    pub fn position(&self) -> Lsn {
        self.layout.position()
    }

    /// The start of the last record.
    pub fn prev(&self) -> Lsn {
        self.layout.prev()
    }

    /// The bytes written since they were last taken; they end at [`LogWriter::position`].
    pub fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Pages begun from now on are on `timeline`; the one under way stays on the old one.
    pub fn set_timeline(&mut self, timeline: TimelineId) {
        self.layout.set_timeline(timeline);
    }

    /// Appends `record`. Its prev-link, length and checksum are written here.
    pub fn append(&mut self, record: &Record<'_>) -> Result<Placed, RecordError> {
        Ok(self.layout.place(&mut record.encode()?, &mut self.buffer))
    }

    /// Ends the segment: a SWITCH record, then zeros. Nothing is written if a segment is just about to begin.
    pub fn switch_segment(&mut self) -> Option<Placed> {
        self.layout.switch_segment(&mut self.buffer)
    }

    /// Goes on after a crash that left the record at `aborted` without its continuation, which should have begun at this
    /// writer's position, a page boundary: marks the page and names the record.
    pub fn overwrite_contrecord(&mut self, aborted: Lsn, time: RecordTime) -> Result<Placed, RecordError> {
        self.layout.overwrite_continuation();
        let version = self.layout.identity().version;
        let (info, data) = XlogRecord::OverwriteContrecord { aborted, time }.encode(version);
        self.append(&Record::new(ResourceManager::XLOG, info, Xid::INVALID, &data))
    }
}
