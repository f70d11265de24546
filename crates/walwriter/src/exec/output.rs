//! Rows on their way out: as DataRow messages, as lines of a COPY, or as rows of another table.

use std::cell::RefCell;

use sql::copy::CopyEncoder;
use sql::plan::{InsertPlan, OutputColumn};
use sql::types::{binary, text};
use sql::{EvalContext, Expr, SqlError, Value};

use crate::protocol::backend::DataRow;
use crate::session::{Format, ResultFormats};

/// The longest row that clients are sent, in bytes as they are sent.
const MAX_ROW: usize = 256 << 20;

/// What a row becomes.
#[derive(Clone, Copy)]
pub(super) enum RowFormat<'p> {
    /// A DataRow message.
    Wire { columns: &'p [OutputColumn], formats: &'p ResultFormats },
    /// A CopyData message with a line of text or CSV.
    Copy { columns: &'p [OutputColumn], encoder: &'p RefCell<CopyEncoder> },
    /// A row to insert: key and row, each behind its length (u32, little endian).
    Insert { plan: &'p InsertPlan, columns: &'p [Expr] },
}

impl RowFormat<'_> {
    /// Appends a row of these expressions over a context; nothing if that fails.
    pub(super) fn append(
        self,
        projection: &[Expr],
        context: &EvalContext<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), SqlError> {
        let start = out.len();
        let appended = match self {
            Self::Wire { columns, formats } => append_wire(columns, formats, projection, context, out),
            Self::Copy { columns, encoder } => append_copy(columns, encoder, projection, context, out),
            Self::Insert { plan, columns } => append_insert(plan, columns, projection, context, out),
        };
        if appended.is_err() {
            out.truncate(start);
        }
        appended
    }
}

#[inline]
fn append_wire(
    columns: &[OutputColumn],
    formats: &ResultFormats,
    projection: &[Expr],
    context: &EvalContext<'_>,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let mut row = DataRow::begin(out, projection.len() as u16);
    for (number, (expr, column)) in projection.iter().zip(columns).enumerate() {
        let value = expr.eval(context)?;
        append_value(&mut row, &value, column, formats.of(number));
        check_length(row.len())?;
    }
    row.finish();
    Ok(())
}

/// An error if a row is longer than any may be.
#[inline]
pub(super) fn check_length(length: usize) -> Result<(), SqlError> {
    if length <= MAX_ROW {
        return Ok(());
    }
    let message = format!("row is too big: more than {MAX_ROW} bytes");
    Err(SqlError::new(sql::error::sqlstate::PROGRAM_LIMIT_EXCEEDED, message))
}

/// The values of a row.
pub(super) fn evaluate<'a>(
    projection: &'a [Expr],
    context: &EvalContext<'a>,
) -> Result<Vec<Value<'a>>, SqlError> {
    let mut length = 0;
    let mut values = Vec::with_capacity(projection.len());
    for expr in projection {
        let value = expr.eval(context)?;
        length += value.payload_len();
        check_length(length)?;
        values.push(value);
    }
    Ok(values)
}

#[inline]
pub(super) fn append_value(row: &mut DataRow<'_>, value: &Value<'_>, column: &OutputColumn, format: Format) {
    match (value, format) {
        (Value::Null, _) => row.null(),
        (value, Format::Text) => row.value(|out| text::write(value, column.ty, out)),
        (value, Format::Binary) => row.value(|out| binary::write(value, column.ty, out)),
    }
}

fn append_copy(
    columns: &[OutputColumn],
    encoder: &RefCell<CopyEncoder>,
    projection: &[Expr],
    context: &EvalContext<'_>,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let start = crate::protocol::backend::begin(out, b'd');
    super::copy_to::append_line(columns, &mut encoder.borrow_mut(), projection, context, out)?;
    crate::protocol::backend::end(out, start);
    Ok(())
}

fn append_insert(
    plan: &InsertPlan,
    columns: &[Expr],
    projection: &[Expr],
    context: &EvalContext<'_>,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let values = evaluate(projection, context)?;
    let (mut key, mut row) = (Vec::new(), Vec::new());
    plan.encode(columns, &context.with_values(&values), &mut key, &mut row)?;
    for part in [&key, &row] {
        let length = u32::try_from(part.len()).map_err(|_| SqlError::internal("row is too long"))?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(part);
    }
    Ok(())
}

/// Takes the first key and row from what [`RowFormat::Insert`] has appended.
pub(super) fn split_insert<'b>(bytes: &mut &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
    let mut part = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        *bytes = rest;
        Some(part)
    };
    Some((part()?, part()?))
}
