//! Logs to validate, put together record by record.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot build its log has failed")]

use wal::payload::RecordTime;
use wal::record::{BlockImage, BlockNumber, BlockRef, Fork, Record, RelFileLocator, ResourceManager, Xid};
use wal::writer::{LogIdentity, LogWriter, Placed};
use wal::{
    Expectations, Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId, Validator, WalError, WalVersion,
};

pub(crate) const PAGE: usize = 8192;
pub(crate) const SEGMENT: usize = 1 << 20;
/// Where every log here begins: segment 1, as after initdb.
pub(crate) const START: Lsn = Lsn::new(SEGMENT as u64);
pub(crate) const TLI: TimelineId = TimelineId::FIRST;

pub(crate) fn identity() -> LogIdentity {
    LogIdentity {
        system_id: SystemId::new(0x6b02_1cdb_98ac_d7ee),
        segment_size: SegmentSize::new(SEGMENT as u64).unwrap(),
        version: WalVersion::V15,
    }
}

pub(crate) fn expectations() -> Expectations {
    let identity = identity();
    Expectations {
        segment_size: identity.segment_size,
        system_id: Some(identity.system_id),
        version: Some(identity.version),
        timelines: TimelineHistory::root(),
    }
}

pub(crate) fn validator() -> Validator {
    Validator::new(START, expectations())
}

pub(crate) fn validate(log: &[u8]) -> (Validator, Result<(), WalError>) {
    let mut validator = validator();
    let outcome = validator.feed(log);
    (validator, outcome)
}

/// The error that `log` fails with, once the validator is known to have kept its promises about it.
pub(crate) fn refusal(log: &[u8]) -> WalError {
    let (mut validator, outcome) = validate(log);
    let error = outcome.expect_err("the log is damaged");
    assert!(validator.record_end() <= error.lsn, "{error}: valid up to {}", validator.record_end());
    assert_eq!(validator.feed(&[]), Err(error.clone()), "a validator that failed stays so");
    error
}

/// A log under construction, with where its records lie.
pub(crate) struct Forge {
    pub(crate) writer: LogWriter,
    pub(crate) log: Vec<u8>,
    pub(crate) placed: Vec<Placed>,
}

impl Forge {
    pub(crate) fn new() -> Self {
        Self::at(START)
    }

    pub(crate) fn at(start: Lsn) -> Self {
        let writer = LogWriter::new(identity(), TLI, start, Lsn::INVALID);
        Self { writer, log: Vec::new(), placed: Vec::new() }
    }

    /// Takes over what the writer wrote.
    pub(crate) fn flush(&mut self) -> &mut Self {
        self.log.extend(self.writer.drain());
        self
    }

    pub(crate) fn add(&mut self, record: &Record<'_>) -> Placed {
        let placed = self.writer.append(record).unwrap();
        self.placed.push(placed);
        self.flush();
        placed
    }

    /// Adds a record of `total` bytes, at least 27.
    pub(crate) fn message(&mut self, total: usize) -> Placed {
        let data = message_data(total);
        self.add(&message(&data))
    }

    /// Adds records until the next one starts `before_end` bytes before its page's end.
    pub(crate) fn fill_page_to(&mut self, before_end: usize) {
        let offset = |lsn: Lsn| (lsn.as_u64() % PAGE as u64) as usize;
        if offset(self.writer.position()) == 0 {
            self.message(64);
        }
        let room = PAGE - before_end - offset(self.writer.position());
        if room > 0 {
            self.message(room);
        }
        assert_eq!((PAGE - offset(self.writer.position())) % PAGE, before_end);
    }

    /// Adds a SWITCH record and the zeros after it.
    pub(crate) fn switch(&mut self) -> Placed {
        let placed = self.writer.switch_segment().expect("in the middle of a segment");
        self.placed.push(placed);
        self.flush();
        placed
    }

    /// Where `lsn` lies in the log.
    pub(crate) fn index(&self, lsn: Lsn) -> usize {
        lsn.bytes_since(START) as usize
    }

    pub(crate) fn end(&self) -> Lsn {
        self.placed.last().unwrap().end
    }
}

/// The main data that makes a record without blocks `total` bytes long.
pub(crate) fn message_data(total: usize) -> Vec<u8> {
    let sub_header = if total <= 24 + 2 + 255 { 2 } else { 5 };
    (0..total - 24 - sub_header).map(|n| (n * 31 + total) as u8).collect()
}

pub(crate) fn message(data: &[u8]) -> Record<'_> {
    Record::new(ResourceManager::LOGICAL_MESSAGE, 0, Xid::new(7), data)
}

pub(crate) fn relation() -> RelFileLocator {
    RelFileLocator { tablespace: 1663, database: 5, relation: 16405 }
}

pub(crate) fn block<'a>(id: u8, image: Option<BlockImage<'a>>, data: &'a [u8]) -> BlockRef<'a> {
    let block = BlockNumber::new(u32::from(id) + 1);
    BlockRef { id, relation: relation(), fork: Fork::MAIN, block, will_init: false, image, data }
}

/// A log of a bit more than two pages with every common shape in it: records with and without blocks, of lengths that do
/// and do not need padding, one split in its header, one that spans a page boundary.
pub(crate) fn small_log() -> Forge {
    let mut forge = Forge::new();
    forge.message(27);
    forge.message(64);
    let page = [7; PAGE];
    let mut record = message(b"main");
    record.blocks.push(block(0, None, b"block data"));
    let image = BlockImage::of_page(&page, 100..8000).unwrap();
    record.blocks.push(block(1, Some(image), &[]));
    record.origin = Some(3);
    record.top_xid = Some(Xid::new(9));
    forge.add(&record);
    forge.fill_page_to(16);
    forge.message(47);
    forge.fill_page_to(800);
    forge.message(1500);
    forge.message(33);
    forge.add(&Record::new(ResourceManager::XLOG, 0x20, Xid::INVALID, &[]));
    forge
}

pub(crate) fn time() -> RecordTime {
    RecordTime::new(822_000_000_000_000)
}
