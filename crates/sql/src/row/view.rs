//! Reading single columns of a row's bytes.

use std::borrow::Cow;

use super::layout::{HEADER, Kind, RowLayout, Slot, WIDE};
use crate::error::SqlError;
use crate::types::{Type, Value};

/// A row in its bytes. Columns are decoded when they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    layout: &'a RowLayout,
    bytes: &'a [u8],
    wide: bool,
}

impl<'a> RowView<'a> {
    /// Looks at the bytes of a row.
    ///
    /// # Errors
    /// XX001 when they are no row; single columns are checked when they are read.
    pub fn new(layout: &'a RowLayout, bytes: &'a [u8]) -> Result<Self, SqlError> {
        let Some((&[low, high], _)) = bytes.split_first_chunk::<2>() else {
            return Err(SqlError::corrupted("row"));
        };
        let head = u16::from_le_bytes([low, high]);
        let wide = head & WIDE != 0;
        if usize::from(head & !WIDE) != layout.columns()
            || bytes.len() < layout.data[usize::from(wide)] as usize
        {
            return Err(SqlError::corrupted("row"));
        }
        Ok(Self { layout, bytes, wide })
    }

    /// The bytes of the row.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The layout the row is read with.
    pub fn layout(&self) -> &'a RowLayout {
        self.layout
    }

    /// Whether a column is NULL.
    ///
    /// # Errors
    /// XX001.
    pub fn is_null(&self, column: usize) -> Result<bool, SqlError> {
        let byte = self.bytes.get(HEADER + column / 8).ok_or_else(|| SqlError::corrupted("row"))?;
        Ok(byte & (1 << (column % 8)) != 0)
    }

    /// The value of a column; text and bytes point into the row.
    ///
    /// # Errors
    /// XX001 when the bytes are no row of this table, XX000 for a column that the table has not.
    #[inline]
    pub fn get(&self, column: usize) -> Result<Value<'a>, SqlError> {
        let slot = self.slot(column)?;
        if self.is_null(column)? {
            return Ok(Value::Null);
        }
        self.decode(slot).ok_or_else(|| SqlError::corrupted("row"))
    }

    /// The stored bytes of a column that is not NULL: little endian numbers, text, bytes.
    pub(super) fn raw(&self, column: usize) -> Result<&'a [u8], SqlError> {
        let slot = self.slot(column)?;
        let range = match slot.kind {
            Kind::Fixed(size) => {
                let at = slot.at[usize::from(self.wide)] as usize;
                self.bytes.get(at..at + usize::from(size))
            }
            Kind::Variable => self.variable(slot),
        };
        range.ok_or_else(|| SqlError::corrupted("row"))
    }

    fn slot(&self, column: usize) -> Result<&'a Slot, SqlError> {
        self.layout.slots.get(column).ok_or_else(|| SqlError::internal(format!("row has no column {column}")))
    }

    fn offset(&self, at: u32) -> Option<usize> {
        let at = at as usize;
        if self.wide {
            let bytes = self.bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes) as usize)
        } else {
            let bytes = self.bytes.get(at..at + 2)?.try_into().ok()?;
            Some(usize::from(u16::from_le_bytes(bytes)))
        }
    }

    fn variable(&self, slot: &Slot) -> Option<&'a [u8]> {
        let wide = usize::from(self.wide);
        let data = self.layout.data[wide];
        let start = match slot.previous[wide] {
            Some(previous) => self.offset(previous)?,
            None => 0,
        };
        let end = self.offset(slot.at[wide])?;
        self.bytes.get(data as usize + start..data as usize + end)
    }

    fn fixed<const N: usize>(&self, slot: &Slot) -> Option<[u8; N]> {
        let at = slot.at[usize::from(self.wide)] as usize;
        self.bytes.get(at..at + N)?.try_into().ok()
    }

    fn decode(&self, slot: &Slot) -> Option<Value<'a>> {
        Some(match slot.ty {
            Type::Int4 => Value::Int4(i32::from_le_bytes(self.fixed(slot)?)),
            Type::Int8 => Value::Int8(i64::from_le_bytes(self.fixed(slot)?)),
            Type::Int2 => Value::Int2(i16::from_le_bytes(self.fixed(slot)?)),
            Type::Float8 => Value::Float8(f64::from_le_bytes(self.fixed(slot)?)),
            Type::Timestamp | Type::Timestamptz => Value::Timestamp(i64::from_le_bytes(self.fixed(slot)?)),
            Type::Bool => Value::Bool(self.fixed::<1>(slot)?[0] != 0),
            Type::Uuid => Value::Uuid(self.fixed(slot)?),
            Type::Bytea => Value::Bytes(Cow::Borrowed(self.variable(slot)?)),
            _ => Value::Text(Cow::Borrowed(std::str::from_utf8(self.variable(slot)?).ok()?)),
        })
    }
}
