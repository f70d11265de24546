//! WAL for tests: real records on real pages.

use wal::record::{Record, ResourceManager, Xid};
use wal::writer::{LogIdentity, LogWriter};
use wal::{Lsn, SegmentSize, SystemId, TimelineId, WalVersion};

pub(crate) const SYSTEM: SystemId = SystemId::new(77);

/// The smallest segments there are.
pub(crate) fn size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

/// Where the WAL starts: the start of a segment.
pub(crate) fn start() -> Lsn {
    Lsn::new(u64::from(size().bytes()) * 3)
}

/// A log on timeline 1 from [`start`] on.
pub(crate) fn log() -> LogWriter {
    let identity = LogIdentity { system_id: SYSTEM, segment_size: size(), version: WalVersion::V15 };
    LogWriter::new(identity, TimelineId::FIRST, start(), Lsn::new(0x28))
}

/// Appends records until the log has grown by `len` bytes or a bit more; the bytes.
pub(crate) fn grow(log: &mut LogWriter, len: usize, message: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let data = message(bytes.len());
        log.append(&Record::new(ResourceManager::XLOG, 0x20, Xid::INVALID, &data)).unwrap();
        bytes.extend(log.drain());
    }
    bytes
}

/// A bit more than `len` bytes from [`start`] on, as records of about 3 kB that differ from one another.
pub(crate) fn wal(len: usize) -> Vec<u8> {
    grow(&mut log(), len, |at| vec![at as u8; 3000])
}

/// Puts a log on timeline 1 whose last record goes over pages and was given up after the first of them, in the third segment.
/// Gives where that page ends: there the next timeline begins.
pub(crate) fn given_up(put: &mut dyn FnMut(u32, &[u8])) -> Lsn {
    let mut log = log();
    let mut stream = grow(&mut log, 2_300_000, |at| vec![at as u8; 3000]);
    let long = log.append(&Record::new(ResourceManager::XLOG, 0x20, Xid::INVALID, &[7; 30_000])).unwrap();
    stream.extend(log.drain());
    let page = Lsn::new((long.start.as_u64() / 8192 + 1) * 8192);
    stream.truncate(page.bytes_since(start()) as usize);
    put(1, &stream);
    page
}

/// Ends recovery on timeline `to`, and goes on there; the bytes of the record that says so.
pub(crate) fn promote(log: &mut LogWriter, from: u32, to: u32) -> Vec<u8> {
    log.set_timeline(TimelineId::new(to));
    let mut end_of_recovery = vec![0; 16];
    end_of_recovery[8..12].copy_from_slice(&to.to_le_bytes());
    end_of_recovery[12..].copy_from_slice(&from.to_le_bytes());
    log.append(&Record::new(ResourceManager::XLOG, 0x90, Xid::INVALID, &end_of_recovery)).unwrap();
    log.drain()
}
