//! Whether an unfinished segment simply ends where it stops being valid.
//!
//! PostgreSQL itself cannot tell the end of a log from damage. An unfinished segment of an archive can be told more of:
//! its file is made of zeros and filled from the front. So its WAL ends where it stops being valid if nothing follows,
//! or nothing but the beginning of one record.

use replication::waldir::{SegmentFile, SegmentReader};
use wal::page::end_of_record;
use wal::{Lsn, WalError};

const CHUNK: usize = 256 << 10;

/// Whether `error`, met in this file, is the end of an unfinished segment and not damage. If the file cannot be read, it
/// is not.
pub(super) fn is_clean_end(reader: &mut SegmentReader, file: &SegmentFile, error: &WalError) -> bool {
    if !file.partial {
        return false;
    }
    let Some(written) = end_of_written(reader, file) else { return false };
    if written <= error.lsn {
        return true;
    }
    // A record's length comes first; with that many bytes there it was complete, and should have been valid. It may have
    // begun in the segment before, which may be an ancestor's.
    let timeline = reader.history().timeline_at(error.lsn);
    let mut length = [0; 4];
    match reader.read_exact_at(timeline, error.lsn, &mut length) {
        Ok(()) => {
            let length = u32::from_le_bytes(length);
            length >= 24 && end_of_record(error.lsn, length, reader.segment_size()) > written
        }
        Err(_) => false,
    }
}

/// After the last byte of the segment that is not zero.
fn end_of_written(reader: &mut SegmentReader, file: &SegmentFile) -> Option<Lsn> {
    let size = reader.segment_size();
    let (start, end) = (size.start_of(file.segment), size.end_of(file.segment));
    let mut written = start;
    let mut at = start;
    let mut buffer = vec![0; CHUNK];
    while at < end {
        let count = reader.read_at(file.timeline, at, &mut buffer).ok()?;
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
