//! The client's messages, decoded in place.

use super::reader::{Reader, SHORT};
use super::{Format, ResultFormats};

/// Bytes of a message before its body: tag and length.
const HEADER: usize = 5;
/// The longest body of messages that carry data (`PQ_LARGE_MESSAGE_LIMIT`, `MaxAllocSize - 1`).
const LARGE: u32 = 0x3fff_fffe;
/// The longest body of all others (`PQ_SMALL_MESSAGE_LIMIT`).
const SMALL: u32 = 10_000;

/// The header of the message at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The message's type.
    pub tag: u8,
    /// The length of all of it, header included.
    pub size: usize,
}

impl Frame {
    /// The body, once all of it is in `buffer`.
    pub fn body(self, buffer: &[u8]) -> Option<&[u8]> {
        buffer.get(HEADER..self.size)
    }

    /// As much of the body as is in `buffer`.
    pub fn partial_body(self, buffer: &[u8]) -> &[u8] {
        buffer.get(HEADER..self.size.min(buffer.len())).unwrap_or_default()
    }

    /// The length of the body.
    pub const fn body_size(self) -> usize {
        self.size - HEADER
    }
}

/// A stream that has lost its frames: the connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No message has this type.
    #[error("invalid frontend message type {0}")]
    Type(u8),
    /// A length that does not include itself, or is longer than this type of message may be.
    #[error("invalid message length {length} of message type \"{}\"", tag.escape_ascii())]
    Length {
        /// The type.
        tag: u8,
        /// What the length word says.
        length: u32,
    },
}

/// The header of the message that `buffer` begins with, as soon as it is there. Only header bytes are looked at.
///
/// # Errors
/// Types that there are not, and lengths that they cannot have.
pub fn peek(buffer: &[u8]) -> Result<Option<Frame>, FrameError> {
    let Some((&tag, rest)) = buffer.split_first() else { return Ok(None) };
    let limit = match tag {
        b'Q' | b'P' | b'B' | b'd' | b'F' => LARGE,
        b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => SMALL,
        other => return Err(FrameError::Type(other)),
    };
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if !(4..=limit).contains(&length) {
        return Err(FrameError::Length { tag, length });
    }
    Ok(Some(Frame { tag, size: length as usize + 1 }))
}

/// A complete message whose body is not what its type requires. The stream goes on behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// What PostgreSQL says of it.
    #[error("{0}")]
    Malformed(&'static str),
    /// A text that is not UTF-8.
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    Encoding,
    /// A format code that is neither 0 nor 1.
    #[error("unsupported format code: {0}")]
    Format(i16),
    /// Something that is not offered.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// What Describe and Close are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement, by its name.
    Statement(&'a str),
    /// A portal, by its name.
    Portal(&'a str),
}

/// A message, borrowed from the receive buffer.
#[derive(Debug, Clone, Copy)]
pub enum FrontendMessage<'a> {
    /// `Q`: a text of statements.
    Query(&'a str),
    /// `P`.
    Parse {
        /// The statement's name; empty for the unnamed one.
        name: &'a str,
        /// Its text.
        text: &'a str,
        /// The types of its parameters as big-endian OIDs, four bytes each.
        types: &'a [u8],
    },
    /// `B`.
    Bind(Bind<'a>),
    /// `D`.
    Describe(Target<'a>),
    /// `E`.
    Execute {
        /// The portal's name.
        portal: &'a str,
        /// How many rows to return; 0 for all.
        max_rows: u32,
    },
    /// `C`.
    Close(Target<'a>),
    /// `H`.
    Flush,
    /// `S`.
    Sync,
    /// `d`: a piece of a COPY.
    CopyData(&'a [u8]),
    /// `c`.
    CopyDone,
    /// `f`: the client gives a COPY up, and says why.
    CopyFail(&'a str),
    /// `X`.
    Terminate,
    /// `F`: not offered.
    FunctionCall,
}

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

impl<'a> FrontendMessage<'a> {
    /// Takes apart the body of a message of type `tag`.
    ///
    /// # Errors
    /// Bodies that are too short, too long or inconsistent in themselves.
    pub fn decode(tag: u8, body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut body = Reader(body);
        match tag {
            b'Q' => {
                let text = body.text()?;
                body.end(Self::Query(text))
            }
            b'P' => {
                let (name, text) = (body.text()?, body.text()?);
                let count = count(body.i16()?);
                let types = body.bytes(count * 4)?;
                body.end(Self::Parse { name, text, types })
            }
            b'B' => Bind::decode(body).map(Self::Bind),
            b'E' => {
                let (portal, max_rows) = (body.text()?, body.i32()?);
                // Negative is the same as none, as in PostgreSQL.
                body.end(Self::Execute { portal, max_rows: max_rows.max(0).unsigned_abs() })
            }
            b'D' => target(body).map(Self::Describe),
            b'C' => target(body).map(Self::Close),
            b'H' => body.end(Self::Flush),
            b'S' => body.end(Self::Sync),
            b'd' => Ok(Self::CopyData(body.0)),
            b'c' => body.end(Self::CopyDone),
            b'f' => {
                let reason = body.text()?;
                body.end(Self::CopyFail(reason))
            }
            b'X' => Ok(Self::Terminate),
            b'F' => Ok(Self::FunctionCall),
            _ => Err(ProtocolError::Malformed("invalid frontend message type")),
        }
    }
}

impl<'a> Bind<'a> {
    fn decode(mut body: Reader<'a>) -> Result<Self, ProtocolError> {
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

fn target(mut body: Reader<'_>) -> Result<Target<'_>, ProtocolError> {
    let kind = body.u8()?;
    let name = body.text()?;
    match kind {
        b'S' => body.end(Target::Statement(name)),
        b'P' => body.end(Target::Portal(name)),
        _ => Err(ProtocolError::Malformed("invalid DESCRIBE or CLOSE message subtype")),
    }
}

/// A count on the wire: an i16 of which PostgreSQL lets clients use all 16 bits.
fn count(count: i16) -> usize {
    usize::from(count as u16)
}

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
