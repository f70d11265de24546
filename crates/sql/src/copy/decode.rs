//! COPY data in: bytes in pieces of any size become records of fields.
//!
//! The decoder keeps at most one unfinished record. A record's fields are unescaped into one buffer that is reused; NULL is
//! told from the empty text as the format has it. Where records end is in `lines`, what is in them in `fields`. Source: `copyfromparse.c`.

use std::ops::Range;

use super::lines::{Found, Lines};
use super::{CopyOptions, fields};
use crate::error::{SqlError, sqlstate};

/// The longest record: a client that never sends a line's end is refused instead of filling the memory.
const MAX_RECORD: usize = 256 << 20;

/// The most fields that are told apart: one more than a table can have columns.
const MAX_FIELDS: usize = 1601;

/// One field's place in the record's buffer.
#[derive(Clone, Copy, Debug)]
struct Field {
    start: usize,
    end: usize,
    null: bool,
}

/// The fields of one record.
#[derive(Debug, Default)]
pub struct CopyRecord {
    pub(super) data: Vec<u8>,
    fields: Vec<Field>,
}

impl CopyRecord {
    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// A field's bytes; inner `None` is NULL, outer `None` a field that is not there.
    pub fn get(&self, index: usize) -> Option<Option<&[u8]>> {
        let field = self.fields.get(index)?;
        Some(if field.null { None } else { self.data.get(field.start..field.end) })
    }

    pub(super) fn clear(&mut self) {
        self.data.clear();
        self.fields.clear();
    }

    /// Takes in a field; false when it is the last that is looked at.
    pub(super) fn push(&mut self, start: usize, null: bool) -> bool {
        self.fields.push(Field { start, end: self.data.len(), null });
        self.fields.len() < MAX_FIELDS
    }
}

/// Takes COPY data apart.
#[derive(Debug)]
pub struct CopyDecoder {
    options: CopyOptions,
    pub(super) pending: Vec<u8>,
    /// Where the next record begins in `pending`
    pub(super) at: usize,
    lines: Lines,
    pub(super) header: bool,
    /// `\.` was read or the data has ended
    pub(super) finished: bool,
    pub(super) ended: bool,
    pub(super) line: u64,
}

impl CopyDecoder {
    /// A decoder without data.
    pub fn new(options: CopyOptions) -> Self {
        let header = options.header || options.binary;
        Self {
            options,
            pending: Vec::new(),
            at: 0,
            lines: Lines::default(),
            header,
            finished: false,
            ended: false,
            line: 0,
        }
    }

    /// The number of the record that was read last, from 1, for the context of errors.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Takes data of one CopyData message. What comes behind `\.` is ignored.
    ///
    /// # Errors
    /// 54000 for a record that is too long.
    pub fn feed(&mut self, data: &[u8]) -> Result<(), SqlError> {
        if self.finished {
            return Ok(());
        }
        if self.at > 0 {
            self.pending.drain(..self.at);
            self.at = 0;
        }
        if self.pending.len() + data.len() > MAX_RECORD {
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "COPY record is too long"));
        }
        self.pending.extend_from_slice(data);
        Ok(())
    }

    /// The data has ended: a last record may lack its line's end.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Reads the next record; false when more data is needed (or, after [`CopyDecoder::end`], when there is none left).
    ///
    /// # Errors
    /// 22P04 for wrong escapes, quotes and ends of lines.
    pub fn next(&mut self, record: &mut CopyRecord) -> Result<bool, SqlError> {
        loop {
            if self.finished {
                return Ok(false);
            }
            if self.options.binary {
                match self.next_binary(record)? {
                    None => continue,
                    Some(found) => return Ok(found),
                }
            }
            let Some(line) = self.next_line()? else { return Ok(false) };
            if std::mem::take(&mut self.header) {
                continue;
            }
            record.clear();
            let line = &self.pending[line];
            if self.options.csv {
                fields::csv(line, &self.options, record)?
            } else {
                fields::text(line, &self.options, record)?
            }
            return Ok(true);
        }
    }

    /// Where in `pending` the next record is, which is then behind us.
    fn next_line(&mut self) -> Result<Option<Range<usize>>, SqlError> {
        let start = self.at;
        let rest = &self.pending[start..];
        let found = self.lines.find(rest, self.ended, &self.options).inspect_err(|_| self.line += 1)?;
        let (length, next) = match found {
            Found::Record { end, next } => (end, next),
            Found::Marker { end } => {
                self.finished = true;
                (end, rest.len())
            }
            Found::Nothing if self.ended => (rest.len(), rest.len()),
            Found::Nothing => return Ok(None),
        };
        self.at = start + next;
        if length == 0 && !matches!(found, Found::Record { .. }) {
            return Ok(None);
        }
        self.line += 1;
        Ok(Some(start..start + length))
    }
}
