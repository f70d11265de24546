//! The client's messages, decoded in place.

use super::bind::Bind;
use super::reader::Reader;

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
pub(super) fn count(count: i16) -> usize {
    usize::from(count as u16)
}
