//! Writing a row's bytes in one pass.

use super::layout::{HEADER, Kind, RowLayout, WIDE};
use super::view::RowView;
use crate::error::{SqlError, sqlstate};
use crate::types::Value;

/// The longest row: more than the engine stores, and far from where offsets would overflow.
const MAX_ROW: usize = 1 << 30;

/// Appends one row to a buffer that the caller owns and reuses. Columns come in order; the row is whole when
/// [`RowWriter::finish`] was called.
#[derive(Debug)]
pub struct RowWriter<'a> {
    layout: &'a RowLayout,
    out: &'a mut Vec<u8>,
    /// Where the row begins in `out`
    start: usize,
    next: usize,
    /// Ends of data that narrow slots cannot hold, with their columns; empty for all but long rows
    long_ends: Vec<(usize, u32)>,
}

impl<'a> RowWriter<'a> {
    /// Begins a row at the end of `out`.
    pub fn new(layout: &'a RowLayout, out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.resize(start + layout.data[0] as usize, 0);
        let count = layout.columns() as u16;
        out[start..start + HEADER].copy_from_slice(&count.to_le_bytes());
        Self { layout, out, start, next: 0, long_ends: Vec::new() }
    }

    /// Writes the next column.
    ///
    /// # Errors
    /// XX000 when the value is not of the column's type, which the planner has made sure of.
    #[inline]
    pub fn push(&mut self, value: &Value<'_>) -> Result<(), SqlError> {
        match value {
            Value::Null => self.null(),
            Value::Int4(v) => self.fixed(&v.to_le_bytes()),
            Value::Int8(v) | Value::Timestamp(v) => self.fixed(&v.to_le_bytes()),
            Value::Int2(v) => self.fixed(&v.to_le_bytes()),
            Value::Float8(v) => self.fixed(&v.to_le_bytes()),
            Value::Bool(v) => self.fixed(&[u8::from(*v)]),
            Value::Uuid(v) => self.fixed(v),
            Value::Text(v) => self.variable(v.as_bytes()),
            Value::Bytes(v) => self.variable(v),
            _ => Err(self.mismatch()),
        }
    }

    /// Copies the next column from another row of the table.
    ///
    /// # Errors
    /// XX001 when that row cannot be read.
    pub fn copy(&mut self, from: &RowView<'_>) -> Result<(), SqlError> {
        if from.is_null(self.next)? {
            return self.null();
        }
        let raw = from.raw(self.next)?;
        match self.kind()? {
            Kind::Fixed(_) => self.fixed(raw),
            Kind::Variable => self.variable(raw),
        }
    }

    /// Ends the row; columns that were not written are NULL.
    ///
    /// # Errors
    /// 54000 when the row is too long.
    pub fn finish(mut self) -> Result<(), SqlError> {
        while self.next < self.layout.columns() {
            self.null()?;
        }
        let length = self.out.len() - self.start;
        if length > MAX_ROW {
            return Err(SqlError::new(
                sqlstate::PROGRAM_LIMIT_EXCEEDED,
                format!("row is too big: size {length}"),
            ));
        }
        if self.data_len() > usize::from(u16::MAX) {
            self.widen();
        }
        Ok(())
    }

    fn kind(&self) -> Result<Kind, SqlError> {
        self.layout.slots.get(self.next).map(|s| s.kind).ok_or_else(|| self.mismatch())
    }

    #[cold]
    fn mismatch(&self) -> SqlError {
        SqlError::internal(format!("value for column {} does not fit the table", self.next))
    }

    fn data_len(&self) -> usize {
        self.out.len() - self.start - self.layout.data[0] as usize
    }

    fn null(&mut self) -> Result<(), SqlError> {
        if self.kind()? == Kind::Variable {
            self.variable(&[])?;
            self.next -= 1;
        }
        self.out[self.start + HEADER + self.next / 8] |= 1 << (self.next % 8);
        self.next += 1;
        Ok(())
    }

    #[inline]
    fn fixed(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        match self.layout.slots.get(self.next) {
            Some(slot) if slot.kind == Kind::Fixed(bytes.len() as u8) => {
                let at = self.start + slot.at[0] as usize;
                self.out[at..at + bytes.len()].copy_from_slice(bytes);
                self.next += 1;
                Ok(())
            }
            _ => Err(self.mismatch()),
        }
    }

    /// Ends beyond 64 KiB are kept aside for [`RowWriter::widen`].
    #[inline]
    fn variable(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        match self.layout.slots.get(self.next) {
            Some(slot) if slot.kind == Kind::Variable => {
                self.out.extend_from_slice(bytes);
                let end = self.data_len();
                if end > MAX_ROW {
                    return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "row is too big"));
                }
                let at = self.start + slot.at[0] as usize;
                self.out[at..at + 2].copy_from_slice(&(end as u16).to_le_bytes());
                if end > usize::from(u16::MAX) {
                    self.long_ends.push((self.next, end as u32));
                }
                self.next += 1;
                Ok(())
            }
            _ => Err(self.mismatch()),
        }
    }

    /// Rewrites the slots of a row whose data turned out longer than narrow offsets reach.
    #[cold]
    fn widen(&mut self) {
        assert_eq!(self.next, self.layout.columns(), "a row that is whole has all its columns");
        assert!(!self.long_ends.is_empty(), "the ends that narrow slots cannot hold are kept aside");
        let narrow_data = self.start + self.layout.data[0] as usize;
        let mut head = self.out[self.start..narrow_data].to_vec();
        let bitmap_end = HEADER + self.layout.columns().div_ceil(8);
        let mut wide = Vec::with_capacity(self.layout.data[1] as usize);
        head[1] |= (WIDE >> 8) as u8;
        wide.extend_from_slice(&head[..bitmap_end]);
        for (column, slot) in self.layout.slots.iter().enumerate() {
            let at = slot.at[0] as usize;
            match slot.kind {
                Kind::Fixed(size) => wide.extend_from_slice(&head[at..at + usize::from(size)]),
                Kind::Variable => {
                    let long = self.long_ends.iter().find(|(c, _)| *c == column).map(|(_, end)| *end);
                    let end = long.unwrap_or_else(|| u32::from(u16::from_le_bytes([head[at], head[at + 1]])));
                    wide.extend_from_slice(&end.to_le_bytes());
                }
            }
        }
        assert_eq!(wide.len(), self.layout.data[1] as usize, "the data begins where wide slots end");
        self.out.splice(self.start..narrow_data, wide);
    }
}
