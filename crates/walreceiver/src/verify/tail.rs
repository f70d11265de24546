//! Whether an unfinished segment simply ends where it stops being valid.
//!
//! PostgreSQL itself cannot tell the end of a log from damage. An unfinished segment of an archive can be told more of:
//! its file is made of zeros and filled from the front. So its WAL ends where it stops being valid if nothing follows,
//! or nothing but the beginning of one record.

use replication::waldir::SegmentReader;
use wal::{Lsn, SegmentNo, SegmentSize, TimelineId, WalError};

const CHUNK: usize = 256 << 10;

/// Whether `error`, met in this unfinished segment, is the end and not damage. If the file cannot be read, it is not.
pub(super) fn is_clean_end(
    reader: &mut SegmentReader,
    timeline: TimelineId,
    size: SegmentSize,
    segment: SegmentNo,
    error: &WalError,
) -> bool {
    let Some(written) = end_of_written(reader, timeline, size, segment) else { return false };
    if written <= error.lsn {
        return true;
    }
    // A record's length comes first; with that many bytes there it was complete, and should have been valid. One that
    // began in the segment before cannot be judged by its length: it goes on to the end of what is written.
    if error.lsn < size.start_of(segment) {
        return false;
    }
    let mut length = [0; 4];
    match reader.read_exact_at(timeline, error.lsn, &mut length) {
        Ok(()) => {
            let length = u32::from_le_bytes(length);
            length >= 24 && error.lsn.saturating_add(u64::from(length)) > written
        }
        Err(_) => false,
    }
}

/// After the last byte of the segment that is not zero.
fn end_of_written(
    reader: &mut SegmentReader,
    timeline: TimelineId,
    size: SegmentSize,
    segment: SegmentNo,
) -> Option<Lsn> {
    let (start, end) = (size.start_of(segment), size.end_of(segment));
    let mut written = start;
    let mut at = start;
    let mut buffer = vec![0; CHUNK];
    while at < end {
        let count = reader.read_at(timeline, at, &mut buffer).ok()?;
        if count == 0 {
            break;
        }
        if let Some(last) = buffer.split_at(count).0.iter().rposition(|&byte| byte != 0) {
            written = at.saturating_add(last as u64 + 1);
        }
        at = at.saturating_add(count as u64);
    }
    Some(written)
}
