//! COPY TO: rows as lines, or as the binary format has them, each in a CopyData message.

use sql::copy::{CopyEncoder, CopyOptions};
use sql::plan::OutputColumn;
use sql::{EvalContext, Expr, SqlError};

use crate::protocol::backend;
use crate::session::{CopyFormat, Format};

/// What the client is told of the data.
pub(super) fn format(options: &CopyOptions, columns: usize) -> CopyFormat {
    let format = if options.binary { Format::Binary } else { Format::Text };
    CopyFormat { format, columns: columns as u16 }
}

/// Appends the end of the binary format.
pub(super) fn append_trailer(encoder: &mut CopyEncoder, options: &CopyOptions, out: &mut Vec<u8>) {
    if options.binary {
        backend::copy_data(out, |out| encoder.trailer(out));
    }
}

/// Appends the line with the columns' names, if one is asked for.
pub(super) fn append_header(columns: &[OutputColumn], options: &CopyOptions, out: &mut Vec<u8>) {
    if options.header {
        let names = columns.iter().map(|column| column.name.as_str());
        backend::copy_data(out, |out| CopyEncoder::new(options.clone()).header(names, out));
    }
}

/// Appends a row.
pub(super) fn append_line(
    columns: &[OutputColumn],
    encoder: &mut CopyEncoder,
    projection: &[Expr],
    context: &EvalContext<'_>,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let values = super::output::evaluate(projection, context)?;
    encoder.row(values.iter().zip(columns).map(|(value, column)| (value, column.ty)), out);
    Ok(())
}
