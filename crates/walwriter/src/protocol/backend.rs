//! The server's messages, appended to a send buffer.

use replication::error::ServerError;

use super::ResultFormats;
use crate::session::{Column, CommandTag, CopyFormat, TransactionStatus};

/// Appends a message whose body `put` appends; the length is filled in afterwards.
pub fn message(out: &mut Vec<u8>, tag: u8, put: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out, tag);
    put(out);
    end(out, start);
}

/// Begins a message; [`end`] takes what this returns.
#[inline]
pub fn begin(out: &mut Vec<u8>, tag: u8) -> usize {
    out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    out.len() - 4
}

/// Fills in the length of the message that [`begin`] began.
#[inline]
pub fn end(out: &mut [u8], start: usize) {
    // A message's parts are limited to a gibibyte before they are appended.
    let length = (out.len() - start) as u32;
    if let Some(word) = out.get_mut(start..start + 4) {
        word.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a text and the zero that ends it. A zero inside would make another message of it, so it ends there.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().take_while(|&byte| byte != 0));
    out.push(0);
}

/// A DataRow under construction: values in the order of the columns, then [`DataRow::finish`].
#[derive(Debug)]
pub struct DataRow<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> DataRow<'a> {
    /// Begins a row of `columns` values.
    #[inline]
    pub fn begin(out: &'a mut Vec<u8>, columns: u16) -> Self {
        let start = begin(out, b'D');
        out.extend_from_slice(&columns.to_be_bytes());
        Self { out, start }
    }

    /// The next value is NULL.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(&(-1i32).to_be_bytes());
    }

    /// The next value is what `put` appends.
    #[inline]
    pub fn value(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        put(self.out);
        let length = (self.out.len() - start - 4) as u32;
        if let Some(word) = self.out.get_mut(start..start + 4) {
            word.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// The length so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.out.len() - self.start
    }

    /// Whether it has no length; it always has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Completes the row.
    #[inline]
    pub fn finish(self) {
        end(self.out, self.start);
    }
}

/// RowDescription.
pub fn row_description(out: &mut Vec<u8>, columns: &[Column], formats: &ResultFormats) {
    message(out, b'T', |out| {
        out.extend_from_slice(&(columns.len() as u16).to_be_bytes());
        for (number, column) in columns.iter().enumerate() {
            put_text(out, &column.name);
            out.extend_from_slice(&column.table.to_be_bytes());
            out.extend_from_slice(&column.attribute.to_be_bytes());
            out.extend_from_slice(&column.type_oid.to_be_bytes());
            out.extend_from_slice(&column.type_size.to_be_bytes());
            out.extend_from_slice(&column.type_modifier.to_be_bytes());
            out.extend_from_slice(&(formats.of(number) as i16).to_be_bytes());
        }
    });
}

/// ParameterDescription.
pub fn parameter_description(out: &mut Vec<u8>, types: &[u32]) {
    message(out, b't', |out| {
        out.extend_from_slice(&(types.len() as u16).to_be_bytes());
        types.iter().for_each(|oid| out.extend_from_slice(&oid.to_be_bytes()));
    });
}

/// NoData: a statement that returns no rows was described.
pub fn no_data(out: &mut Vec<u8>) {
    out.extend_from_slice(b"n\0\0\0\x04");
}

/// ParseComplete.
pub fn parse_complete(out: &mut Vec<u8>) {
    out.extend_from_slice(b"1\0\0\0\x04");
}

/// BindComplete.
pub fn bind_complete(out: &mut Vec<u8>) {
    out.extend_from_slice(b"2\0\0\0\x04");
}

/// CloseComplete.
pub fn close_complete(out: &mut Vec<u8>) {
    out.extend_from_slice(b"3\0\0\0\x04");
}

/// PortalSuspended.
pub fn portal_suspended(out: &mut Vec<u8>) {
    out.extend_from_slice(b"s\0\0\0\x04");
}

/// EmptyQueryResponse.
pub fn empty_query(out: &mut Vec<u8>) {
    out.extend_from_slice(b"I\0\0\0\x04");
}

/// CommandComplete, or EmptyQueryResponse for a tag that is empty.
pub fn command_complete(out: &mut Vec<u8>, tag: CommandTag) {
    if tag == CommandTag::Empty {
        return empty_query(out);
    }
    message(out, b'C', |out| {
        tag.put(out);
        out.push(0);
    });
}

/// ReadyForQuery.
pub fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    out.extend_from_slice(&[b'Z', 0, 0, 0, 5, status.code()]);
}

/// ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    message(out, b'S', |out| {
        put_text(out, name);
        put_text(out, value);
    });
}

/// BackendKeyData.
pub fn backend_key_data(out: &mut Vec<u8>, process_id: u32, secret_key: &[u8]) {
    message(out, b'K', |out| {
        out.extend_from_slice(&process_id.to_be_bytes());
        out.extend_from_slice(secret_key);
    });
}

/// CopyInResponse.
pub fn copy_in_response(out: &mut Vec<u8>, format: CopyFormat) {
    copy_response(out, b'G', format);
}

/// CopyOutResponse.
pub fn copy_out_response(out: &mut Vec<u8>, format: CopyFormat) {
    copy_response(out, b'H', format);
}

fn copy_response(out: &mut Vec<u8>, tag: u8, CopyFormat { format, columns }: CopyFormat) {
    message(out, tag, |out| {
        out.push(format as u8);
        out.extend_from_slice(&columns.to_be_bytes());
        (0..columns).for_each(|_| out.extend_from_slice(&(format as i16).to_be_bytes()));
    });
}

/// CopyData whose content `put` appends.
pub fn copy_data(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    message(out, b'd', put);
}

/// CopyDone.
pub fn copy_done(out: &mut Vec<u8>) {
    out.extend_from_slice(b"c\0\0\0\x04");
}

/// ErrorResponse.
pub fn error(out: &mut Vec<u8>, error: &ServerError) {
    fields(out, b'E', error);
}

/// NoticeResponse.
pub fn notice(out: &mut Vec<u8>, notice: &ServerError) {
    fields(out, b'N', notice);
}

fn fields(out: &mut Vec<u8>, tag: u8, error: &ServerError) {
    message(out, tag, |out| {
        let mut field = |letter: u8, text: &str| {
            out.push(letter);
            put_text(out, text);
        };
        field(b'S', &error.severity);
        field(b'V', &error.severity_raw);
        field(b'C', error.code.as_str());
        field(b'M', &error.message);
        let optional = [(b'D', &error.detail), (b'H', &error.hint), (b'W', &error.context)];
        for (letter, text) in optional {
            if let Some(text) = text {
                field(letter, text);
            }
        }
        if let Some(position) = error.position {
            field(b'P', &position.to_string());
        }
        for (letter, text) in error.other.iter().filter(|(letter, _)| *letter != 0) {
            field(*letter, text);
        }
        out.push(0);
    });
}
