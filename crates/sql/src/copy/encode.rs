//! COPY data out: one record per row.

use super::{CopyOptions, binary};
use crate::types::{Type, Value, text};

/// Writes rows as COPY data.
#[derive(Debug)]
pub struct CopyEncoder {
    options: CopyOptions,
    scratch: Vec<u8>,
    /// The binary format's header comes first. In front of the first row rather than by itself: clients take the first
    /// piece of data for both, because PostgreSQL sends them so.
    header_due: bool,
}

impl CopyEncoder {
    /// An encoder.
    pub fn new(options: CopyOptions) -> Self {
        Self { header_due: options.binary, options, scratch: Vec::new() }
    }

    /// One that goes on behind rows that another has written.
    #[must_use]
    pub fn behind_rows(self) -> Self {
        Self { header_due: false, ..self }
    }

    /// Appends the line that names the columns, if the options ask for one.
    pub fn header<'n>(&mut self, names: impl Iterator<Item = &'n str>, out: &mut Vec<u8>) {
        if !self.options.header {
            return;
        }
        for (i, name) in names.enumerate() {
            if i > 0 {
                out.push(self.options.delimiter);
            }
            self.field(name.as_bytes(), false, out);
        }
        out.push(b'\n');
    }

    /// Appends what comes behind the last row.
    pub fn trailer(&mut self, out: &mut Vec<u8>) {
        if self.options.binary {
            self.binary_header(out);
            binary::write_trailer(out);
        }
    }

    fn binary_header(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.header_due) {
            binary::write_header(out);
        }
    }

    /// Appends one row.
    pub fn row<'v>(
        &mut self,
        values: impl ExactSizeIterator<Item = (&'v Value<'v>, Type)>,
        out: &mut Vec<u8>,
    ) {
        if self.options.binary {
            self.binary_header(out);
            return binary_row(values, out);
        }
        let single = values.len() == 1;
        for (i, (value, ty)) in values.enumerate() {
            if i > 0 {
                out.push(self.options.delimiter);
            }
            if value.is_null() {
                out.extend_from_slice(&self.options.null);
                continue;
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            text::write(value, ty, &mut scratch);
            self.field(&scratch, single, out);
            self.scratch = scratch;
        }
        out.push(b'\n');
    }

    fn field(&self, field: &[u8], single: bool, out: &mut Vec<u8>) {
        let options = &self.options;
        if options.csv {
            // `\.` alone on a line would end the data; what looks like NULL is told from it by quotes.
            let special =
                |b: &u8| *b == options.delimiter || *b == options.quote || matches!(b, b'\n' | b'\r');
            let quote = field == options.null || field.iter().any(special) || (single && field == b"\\.");
            if !quote {
                return out.extend_from_slice(field);
            }
            out.push(options.quote);
            for byte in field {
                if *byte == options.quote || *byte == options.escape {
                    out.push(options.escape);
                }
                out.push(*byte);
            }
            out.push(options.quote);
            return;
        }
        for byte in field {
            match byte {
                8 => out.extend_from_slice(b"\\b"),
                9 => out.extend_from_slice(b"\\t"),
                10 => out.extend_from_slice(b"\\n"),
                11 => out.extend_from_slice(b"\\v"),
                12 => out.extend_from_slice(b"\\f"),
                13 => out.extend_from_slice(b"\\r"),
                b'\\' => out.extend_from_slice(b"\\\\"),
                byte => {
                    if *byte == options.delimiter {
                        out.push(b'\\');
                    }
                    out.push(*byte);
                }
            }
        }
    }
}

fn binary_row<'v>(values: impl ExactSizeIterator<Item = (&'v Value<'v>, Type)>, out: &mut Vec<u8>) {
    out.extend_from_slice(&(values.len() as i16).to_be_bytes());
    for (value, ty) in values {
        if value.is_null() {
            out.extend_from_slice(&(-1i32).to_be_bytes());
            continue;
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        crate::types::binary::write(value, ty, out);
        let length = (out.len() - start - 4) as u32;
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}
