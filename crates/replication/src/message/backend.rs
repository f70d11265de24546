//! What a server sends.

use bytes::{BufMut, Bytes, BytesMut};

use super::MessageError;
use super::body::{Body, put_frame, put_text};
use crate::error::ServerError;
use crate::frame::Frame;

/// A server's message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackendMessage {
    /// `R`: a step of logging in.
    Authentication(AuthenticationRequest),
    /// `K`: what a cancel request needs.
    BackendKeyData {
        /// The server process.
        process_id: u32,
        /// Four bytes, or up to 256 in protocol 3.2.
        secret_key: Bytes,
    },
    /// `S`: a setting that clients may rely on, now or changed.
    ParameterStatus {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
    },
    /// `v`: the server speaks less than the client asked for.
    NegotiateProtocolVersion {
        /// The newest protocol it speaks, as a full code.
        newest: u32,
        /// `_pq_.` options that it does not know.
        unknown_options: Vec<String>,
    },
    /// `Z`: ready for the next command.
    ReadyForQuery(TransactionStatus),
    /// `T`: the columns of the rows to come.
    RowDescription(Vec<Column>),
    /// `D`: a row; `None` is NULL.
    DataRow(Vec<Option<Bytes>>),
    /// `C`: a command is complete; its tag.
    CommandComplete(String),
    /// `I`: the command was empty.
    EmptyQueryResponse,
    /// `E`.
    ErrorResponse(Box<ServerError>),
    /// `N`.
    NoticeResponse(Box<ServerError>),
    /// `G`: send CopyData now.
    CopyInResponse(CopyFormat),
    /// `H`: CopyData follows.
    CopyOutResponse(CopyFormat),
    /// `W`: CopyData both ways from now on.
    CopyBothResponse(CopyFormat),
    /// `d`.
    CopyData(Bytes),
    /// `c`.
    CopyDone,
    /// `A`: somebody's NOTIFY; nothing here asks for it.
    NotificationResponse,
}

/// A step of logging in, as the server asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthenticationRequest {
    /// 0: done.
    Ok,
    /// 3: the password as it is.
    CleartextPassword,
    /// 5: the password hashed with this salt.
    Md5Password([u8; 4]),
    /// 10: one of these SASL mechanisms.
    Sasl(Vec<String>),
    /// 11: the mechanism's next challenge.
    SaslContinue(Bytes),
    /// 12: the mechanism's last word.
    SaslFinal(Bytes),
    /// A method that is not offered here: Kerberos 2, crypt 4, SCM 6, GSSAPI 7 and 8, SSPI 9, ...
    Unsupported(u32),
}

/// Whether a transaction is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionStatus {
    /// `I`: none.
    Idle,
    /// `T`: one.
    InTransaction,
    /// `E`: one, and it failed.
    Failed,
}

/// A column of a result set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type's object id: 25 text, 23 int4, 20 int8, 26 oid, 17 bytea, ...
    pub type_oid: u32,
    /// Its type's size in bytes; negative: variable.
    pub type_size: i16,
}

impl Column {
    /// A column of a result in text format.
    pub fn new(name: &str, type_oid: u32, type_size: i16) -> Self {
        Self { name: name.to_owned(), type_oid, type_size }
    }
}

/// How a copy is formatted: replication always says binary-less 0 and no columns.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CopyFormat {
    /// 0 text, 1 binary.
    pub overall: u8,
    /// The same for each column.
    pub columns: Vec<i16>,
}

impl BackendMessage {
    /// Takes a frame apart.
    pub fn decode(frame: Frame) -> Result<Self, MessageError> {
        let Frame { tag, body: bytes } = frame;
        let body = |name| Body { name, bytes: bytes.clone() };
        match tag {
            b'd' => Ok(Self::CopyData(bytes)),
            b'c' => body("CopyDone").end(Self::CopyDone),
            b'D' => data_row(body("DataRow")),
            b'T' => row_description(body("RowDescription")),
            b'C' => {
                let mut body = body("CommandComplete");
                let tag = body.text()?;
                body.end(Self::CommandComplete(tag))
            }
            b'E' | b'N' => {
                let error = ServerError::decode_fields(&bytes).map(Box::new);
                let error = error.ok_or(MessageError::Malformed("ErrorResponse"))?;
                Ok(if tag == b'E' { Self::ErrorResponse(error) } else { Self::NoticeResponse(error) })
            }
            b'R' => authentication(body("Authentication")),
            b'S' => {
                let mut body = body("ParameterStatus");
                let (name, value) = (body.text()?, body.text()?);
                body.end(Self::ParameterStatus { name, value })
            }
            b'K' => {
                let mut body = body("BackendKeyData");
                let process_id = body.u32()?;
                if !(4..=256).contains(&body.bytes.len()) {
                    return Err(body.malformed());
                }
                Ok(Self::BackendKeyData { process_id, secret_key: body.bytes })
            }
            b'Z' => {
                let mut body = body("ReadyForQuery");
                let status = match body.u8()? {
                    b'I' => TransactionStatus::Idle,
                    b'T' => TransactionStatus::InTransaction,
                    b'E' => TransactionStatus::Failed,
                    _ => return Err(body.malformed()),
                };
                body.end(Self::ReadyForQuery(status))
            }
            b'I' => body("EmptyQueryResponse").end(Self::EmptyQueryResponse),
            b'G' => Ok(Self::CopyInResponse(copy_format(body("CopyInResponse"))?)),
            b'H' => Ok(Self::CopyOutResponse(copy_format(body("CopyOutResponse"))?)),
            b'W' => Ok(Self::CopyBothResponse(copy_format(body("CopyBothResponse"))?)),
            b'v' => negotiate(body("NegotiateProtocolVersion")),
            b'A' => Ok(Self::NotificationResponse),
            other => Err(MessageError::UnknownType(other)),
        }
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Authentication(request) => put_frame(out, b'R', |out| request.encode(out)),
            Self::BackendKeyData { process_id, secret_key } => put_frame(out, b'K', |out| {
                out.put_u32(*process_id);
                out.put_slice(secret_key);
            }),
            Self::ParameterStatus { name, value } => put_frame(out, b'S', |out| {
                put_text(out, name);
                put_text(out, value);
            }),
            Self::NegotiateProtocolVersion { newest, unknown_options } => put_frame(out, b'v', |out| {
                out.put_u32(*newest);
                out.put_i32(unknown_options.len() as i32);
                unknown_options.iter().for_each(|option| put_text(out, option));
            }),
            Self::ReadyForQuery(status) => put_frame(out, b'Z', |out| {
                out.put_u8(match status {
                    TransactionStatus::Idle => b'I',
                    TransactionStatus::InTransaction => b'T',
                    TransactionStatus::Failed => b'E',
                });
            }),
            Self::RowDescription(columns) => put_frame(out, b'T', |out| {
                out.put_i16(columns.len() as i16);
                columns.iter().for_each(|column| column.encode(out));
            }),
            Self::DataRow(values) => put_frame(out, b'D', |out| {
                out.put_i16(values.len() as i16);
                for value in values {
                    match value {
                        Some(value) => {
                            out.put_i32(value.len() as i32);
                            out.put_slice(value);
                        }
                        None => out.put_i32(-1),
                    }
                }
            }),
            Self::CommandComplete(tag) => put_frame(out, b'C', |out| put_text(out, tag)),
            Self::EmptyQueryResponse => put_frame(out, b'I', |_| ()),
            Self::ErrorResponse(error) => put_frame(out, b'E', |out| error.encode_fields(out)),
            Self::NoticeResponse(error) => put_frame(out, b'N', |out| error.encode_fields(out)),
            Self::CopyInResponse(format) => put_frame(out, b'G', |out| format.encode(out)),
            Self::CopyOutResponse(format) => put_frame(out, b'H', |out| format.encode(out)),
            Self::CopyBothResponse(format) => put_frame(out, b'W', |out| format.encode(out)),
            Self::CopyData(data) => put_frame(out, b'd', |out| out.put_slice(data)),
            Self::CopyDone => put_frame(out, b'c', |_| ()),
            Self::NotificationResponse => put_frame(out, b'A', |out| {
                out.put_i32(0);
                out.put_slice(&[0, 0]);
            }),
        }
    }
}

/// Appends the header of a CopyData frame whose body, of `length` bytes, the caller appends.
pub fn put_copy_data_header(out: &mut BytesMut, length: usize) {
    out.put_u8(b'd');
    out.put_i32(i32::try_from(length.saturating_add(4)).unwrap_or(i32::MAX));
}

impl AuthenticationRequest {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Ok => out.put_u32(0),
            Self::CleartextPassword => out.put_u32(3),
            Self::Md5Password(salt) => {
                out.put_u32(5);
                out.put_slice(salt);
            }
            Self::Sasl(mechanisms) => {
                out.put_u32(10);
                mechanisms.iter().for_each(|mechanism| put_text(out, mechanism));
                out.put_u8(0);
            }
            Self::SaslContinue(data) => {
                out.put_u32(11);
                out.put_slice(data);
            }
            Self::SaslFinal(data) => {
                out.put_u32(12);
                out.put_slice(data);
            }
            Self::Unsupported(code) => out.put_u32(*code),
        }
    }
}

impl Column {
    /// The shortest a column can be: an empty name's zero, and six numbers.
    const LEAST: usize = 1 + 4 + 2 + 4 + 2 + 4 + 2;

    fn encode(&self, out: &mut BytesMut) {
        put_text(out, &self.name);
        out.put_u32(0);
        out.put_i16(0);
        out.put_u32(self.type_oid);
        out.put_i16(self.type_size);
        out.put_i32(-1);
        out.put_i16(0);
    }
}

impl CopyFormat {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(self.overall);
        out.put_i16(self.columns.len() as i16);
        self.columns.iter().for_each(|&format| out.put_i16(format));
    }
}

fn authentication(mut body: Body) -> Result<BackendMessage, MessageError> {
    let request = match body.u32()? {
        0 => body.end(AuthenticationRequest::Ok)?,
        3 => body.end(AuthenticationRequest::CleartextPassword)?,
        5 => {
            let salt = body.take(4)?;
            let salt = salt.first_chunk::<4>().copied().ok_or_else(|| body.malformed())?;
            body.end(AuthenticationRequest::Md5Password(salt))?
        }
        10 => {
            let mechanisms = body.texts()?;
            body.end(AuthenticationRequest::Sasl(mechanisms))?
        }
        11 => AuthenticationRequest::SaslContinue(body.bytes),
        12 => AuthenticationRequest::SaslFinal(body.bytes),
        other => AuthenticationRequest::Unsupported(other),
    };
    Ok(BackendMessage::Authentication(request))
}

fn row_description(mut body: Body) -> Result<BackendMessage, MessageError> {
    let count = body.count(Column::LEAST)?;
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let name = body.text()?;
        let (_table, _attribute) = (body.u32()?, body.i16()?);
        let (type_oid, type_size) = (body.u32()?, body.i16()?);
        let (_modifier, _format) = (body.i32()?, body.i16()?);
        columns.push(Column { name, type_oid, type_size });
    }
    body.end(BackendMessage::RowDescription(columns))
}

fn data_row(mut body: Body) -> Result<BackendMessage, MessageError> {
    let count = body.count(4)?;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        values.push(match body.i32()? {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| body.malformed())?;
                Some(body.take(length)?)
            }
        });
    }
    body.end(BackendMessage::DataRow(values))
}

fn copy_format(mut body: Body) -> Result<CopyFormat, MessageError> {
    let overall = body.u8()?;
    let count = body.count(2)?;
    let columns = (0..count).map(|_| body.i16()).collect::<Result<_, _>>()?;
    body.end(CopyFormat { overall, columns })
}

fn negotiate(mut body: Body) -> Result<BackendMessage, MessageError> {
    let newest = body.u32()?;
    let count = usize::try_from(body.i32()?).map_err(|_| body.malformed())?;
    if count > body.bytes.len() {
        return Err(body.malformed());
    }
    let unknown_options = (0..count).map(|_| body.text()).collect::<Result<_, _>>()?;
    body.end(BackendMessage::NegotiateProtocolVersion { newest, unknown_options })
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
