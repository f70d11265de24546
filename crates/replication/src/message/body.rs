//! Reading the pieces of a message body, and writing whole frames.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::MessageError;

/// The rest of a body of a named message type.
pub(super) struct Body {
    pub(super) name: &'static str,
    pub(super) bytes: Bytes,
}

impl Body {
    pub(super) fn malformed(&self) -> MessageError {
        MessageError::Malformed(self.name)
    }

    pub(super) fn u8(&mut self) -> Result<u8, MessageError> {
        self.bytes.try_get_u8().map_err(|_| self.malformed())
    }

    pub(super) fn i16(&mut self) -> Result<i16, MessageError> {
        self.bytes.try_get_i16().map_err(|_| self.malformed())
    }

    pub(super) fn i32(&mut self) -> Result<i32, MessageError> {
        self.bytes.try_get_i32().map_err(|_| self.malformed())
    }

    pub(super) fn u32(&mut self) -> Result<u32, MessageError> {
        self.bytes.try_get_u32().map_err(|_| self.malformed())
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, MessageError> {
        if length > self.bytes.len() { Err(self.malformed()) } else { Ok(self.bytes.split_to(length)) }
    }

    /// A text up to its terminating zero, which is taken too. Wrong UTF-8 is replaced.
    pub(super) fn text(&mut self) -> Result<String, MessageError> {
        let end = self.bytes.iter().position(|&byte| byte == 0).ok_or_else(|| self.malformed())?;
        let text = self.bytes.split_to(end);
        self.bytes.advance(1);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Texts up to an empty one, which is taken too.
    pub(super) fn texts(&mut self) -> Result<Vec<String>, MessageError> {
        let mut texts = Vec::new();
        loop {
            let text = self.text()?;
            if text.is_empty() {
                return Ok(texts);
            }
            texts.push(text);
        }
    }

    /// A count of things of which each takes at least `least` bytes of this body.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, MessageError> {
        let count = usize::try_from(self.i16()?).map_err(|_| self.malformed())?;
        if count.saturating_mul(least) > self.bytes.len() { Err(self.malformed()) } else { Ok(count) }
    }

    /// `value`, provided that the body is used up.
    pub(super) fn end<T>(self, value: T) -> Result<T, MessageError> {
        if self.bytes.is_empty() { Ok(value) } else { Err(self.malformed()) }
    }
}

/// Appends one frame whose body `write` appends.
pub(super) fn put_frame(out: &mut BytesMut, tag: u8, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    put_length_prefixed(out, write);
}

/// Appends a length word, which counts itself, and what `write` appends.
pub(super) fn put_length_prefixed(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    write(out);
    // Bodies beyond 2 GiB cannot be said in this protocol and are not built by this crate.
    let length = i32::try_from(out.len() - start).unwrap_or(i32::MAX);
    if let Some(word) = out.get_mut(start..start + 4) {
        word.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a text and its terminating zero; zeros inside, which the protocol cannot carry, are left out.
pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    if text.contains('\0') {
        out.extend(text.bytes().filter(|&byte| byte != 0));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.put_u8(0);
}
