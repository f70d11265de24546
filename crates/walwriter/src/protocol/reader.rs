//! Reading a message's body from front to back.

use super::ProtocolError;

/// What is left of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// "The body ends too early": what PostgreSQL says in `pq_copymsgbytes`.
pub(super) const SHORT: ProtocolError = ProtocolError::Malformed("insufficient data left in message");

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ProtocolError> {
        let (&byte, rest) = self.0.split_first().ok_or(SHORT)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(super) fn i16(&mut self) -> Result<i16, ProtocolError> {
        let (word, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(i16::from_be_bytes(*word))
    }

    pub(super) fn i32(&mut self) -> Result<i32, ProtocolError> {
        let (word, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*word))
    }

    /// A text that ends with a zero.
    pub(super) fn text(&mut self) -> Result<&'a str, ProtocolError> {
        let end = self.0.iter().position(|&byte| byte == 0);
        let end = end.ok_or(ProtocolError::Malformed("invalid string in message"))?;
        let text = std::str::from_utf8(self.bytes(end)?).map_err(|_| ProtocolError::Encoding)?;
        self.bytes(1)?;
        Ok(text)
    }

    /// Nothing may be left.
    pub(super) fn end<T>(self, value: T) -> Result<T, ProtocolError> {
        if self.0.is_empty() { Ok(value) } else { Err(ProtocolError::Malformed("invalid message format")) }
    }
}
