//! COPY's binary format: a signature, rows as counts and lengths, and a trailer (`copyfromparse.c`, `copyto.c`).

use super::{CopyDecoder, CopyRecord};
use crate::error::{SqlError, sqlstate};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// In the header's flags: rows have OIDs, which no server since 12 writes.
const HAS_OIDS: u32 = 1 << 16;
/// Flags from here on are not to be passed over by who does not know them.
const CRITICAL: u32 = !0xffff;

/// Appends what comes before the first row.
pub(super) fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    // No flags, no extension.
    out.extend_from_slice(&[0; 8]);
}

/// Appends what comes behind the last row.
pub(super) fn write_trailer(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1i16).to_be_bytes());
}

/// What the front of the data is.
enum Read {
    /// More is needed.
    Incomplete,
    /// A row, or the header; so many bytes.
    Taken(usize),
    /// The trailer.
    End,
}

fn bad(message: &str) -> SqlError {
    SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message)
}

fn int4(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Reads the header.
///
/// # Errors
/// 22P04 for another signature, and for flags that are not understood.
fn read_header(data: &[u8]) -> Result<Read, SqlError> {
    let begin = data.get(..SIGNATURE.len().min(data.len())).unwrap_or_default();
    if !SIGNATURE.starts_with(begin) {
        return Err(bad("COPY file signature not recognized"));
    }
    let Some(flags) = int4(data, SIGNATURE.len()) else { return Ok(Read::Incomplete) };
    if flags & HAS_OIDS != 0 {
        return Err(bad("invalid COPY file header (WITH OIDS)"));
    }
    if flags & CRITICAL != 0 {
        return Err(bad("unrecognized critical flags in COPY file header"));
    }
    let Some(extension) = int4(data, SIGNATURE.len() + 4) else { return Ok(Read::Incomplete) };
    let size = SIGNATURE.len() + 8 + extension as usize;
    Ok(if data.len() < size { Read::Incomplete } else { Read::Taken(size) })
}

/// Reads the next row.
///
/// # Errors
/// 22P04 for a count or a length that cannot be.
fn read_row(data: &[u8], record: &mut CopyRecord) -> Result<Read, SqlError> {
    record.clear();
    let Some(count) = data.first_chunk().map(|bytes| i16::from_be_bytes(*bytes)) else {
        return Ok(Read::Incomplete);
    };
    if count == -1 {
        return Ok(Read::End);
    }
    let count = u16::try_from(count).map_err(|_| bad("row field count is negative"))?;
    // First to the row's end: a long row that comes in many pieces is copied once.
    let mut end = 2;
    for _ in 0..count {
        let Some(field) = field_at(data, end)? else { return Ok(Read::Incomplete) };
        end = field.1;
    }
    if data.len() < end {
        return Ok(Read::Incomplete);
    }
    let mut at = 2;
    for _ in 0..count {
        let Some((null, next)) = field_at(data, at)? else { return Ok(Read::Incomplete) };
        let start = record.data.len();
        record.data.extend_from_slice(data.get(at + 4..next).unwrap_or_default());
        record.push(start, null);
        at = next;
    }
    Ok(Read::Taken(end))
}

/// Whether the field at `at` is NULL, and where the next one begins, be that there or not.
fn field_at(data: &[u8], at: usize) -> Result<Option<(bool, usize)>, SqlError> {
    Ok(match int4(data, at) {
        None => None,
        Some(u32::MAX) => Some((true, at + 4)),
        Some(length) => {
            let length = i32::try_from(length).map_err(|_| bad("invalid field size"))?;
            Some((false, at + 4 + length.unsigned_abs() as usize))
        }
    })
}

impl CopyDecoder {
    /// The next row of the binary format; `None`: that was the header.
    pub(super) fn next_binary(&mut self, record: &mut CopyRecord) -> Result<Option<bool>, SqlError> {
        let data = self.pending.get(self.at..).unwrap_or_default();
        let header = self.header;
        match if header { read_header(data)? } else { read_row(data, record)? } {
            Read::Taken(size) => {
                self.at += size;
                self.header = false;
                self.line += u64::from(!header);
                Ok(if header { None } else { Some(true) })
            }
            Read::End => {
                self.finished = true;
                Ok(Some(false))
            }
            // PostgreSQL does without the trailer too.
            Read::Incomplete if self.ended && !header && data.is_empty() => Ok(Some(false)),
            Read::Incomplete if self.ended => {
                let message =
                    if header { "COPY file signature not recognized" } else { "unexpected EOF in COPY data" };
                Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message))
            }
            Read::Incomplete => Ok(Some(false)),
        }
    }
}
