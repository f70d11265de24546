//! Bind: the arguments of a statement.

use super::frontend::count;
use super::reader::{Reader, SHORT};
use super::{Format, ProtocolError, ResultFormats};

/// A Bind message: arguments for a statement.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// The portal to make.
    pub portal: &'a str,
    /// The statement.
    pub statement: &'a str,
    /// The arguments.
    pub arguments: Arguments<'a>,
    result_formats: &'a [u8],
}

/// The values of a Bind. Iterates over `(format, value)`; `None` is NULL.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    formats: &'a [u8],
    /// Lengths and values; checked when the message was decoded.
    values: &'a [u8],
    count: u16,
    next: u16,
}

impl<'a> Bind<'a> {
    /// Takes apart a message's body.
    pub(super) fn decode(mut body: Reader<'a>) -> Result<Self, ProtocolError> {
        let (portal, statement) = (body.text()?, body.text()?);
        let format_count = count(body.i16()?);
        let formats = body.bytes(format_count * 2)?;
        let count_of_values = body.i16()? as u16;
        if format_count > 1 && format_count != usize::from(count_of_values) {
            return Err(ProtocolError::Malformed(
                "bind message has a number of parameter formats that is not its number of parameters",
            ));
        }
        check_formats(formats)?;
        let values = body.0;
        for _ in 0..count_of_values {
            match body.i32()? {
                -1 => {}
                length => {
                    body.bytes(usize::try_from(length).map_err(|_| SHORT)?)?;
                }
            }
        }
        let arguments = Arguments { formats, values, count: count_of_values, next: 0 };
        let result_count = count(body.i16()?);
        let result_formats = body.bytes(result_count * 2)?;
        check_formats(result_formats)?;
        body.end(Self { portal, statement, arguments, result_formats })
    }

    /// The result's formats for a statement that returns `columns` columns.
    ///
    /// # Errors
    /// Neither none, nor one, nor one for each.
    pub fn result_formats(&self, columns: usize) -> Result<ResultFormats, ProtocolError> {
        let mut codes = format_codes(self.result_formats);
        match self.result_formats.len() / 2 {
            0 => Ok(ResultFormats::TEXT),
            1 => Ok(ResultFormats::All(codes.next().unwrap_or_default())),
            count if count == columns => {
                let first = codes.next().unwrap_or_default();
                if codes.clone().all(|format| format == first) {
                    return Ok(ResultFormats::All(first));
                }
                Ok(ResultFormats::Each(format_codes(self.result_formats).collect()))
            }
            _ => Err(ProtocolError::Malformed(
                "bind message has a number of result formats that is not the query's number of columns",
            )),
        }
    }
}

impl Arguments<'_> {
    /// No arguments at all.
    pub const NONE: Arguments<'static> = Arguments { formats: &[], values: &[], count: 0, next: 0 };
}

impl<'a> Iterator for Arguments<'a> {
    type Item = (Format, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.count {
            return None;
        }
        let format = match self.formats.len() / 2 {
            0 => Format::Text,
            1 => format_codes(self.formats).next().unwrap_or_default(),
            _ => format_codes(self.formats).nth(usize::from(self.next)).unwrap_or_default(),
        };
        self.next += 1;
        let mut values = Reader(self.values);
        let value = match usize::try_from(values.i32().ok()?) {
            Ok(length) => Some(values.bytes(length).ok()?),
            Err(_) => None,
        };
        self.values = values.0;
        Some((format, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.count - self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Arguments<'_> {}

fn format_codes(codes: &[u8]) -> impl Iterator<Item = Format> + Clone {
    codes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|code| Format::from_code(i16::from_be_bytes(*code)).unwrap_or_default())
}

fn check_formats(codes: &[u8]) -> Result<(), ProtocolError> {
    for code in codes.as_chunks::<2>().0 {
        let code = i16::from_be_bytes(*code);
        Format::from_code(code).ok_or(ProtocolError::Format(code))?;
    }
    Ok(())
}
