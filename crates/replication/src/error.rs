//! What a PostgreSQL server says when something is wrong: the fields of ErrorResponse and NoticeResponse.

use std::fmt;

use bytes::{BufMut, BytesMut};

/// A five-character SQLSTATE, such as `28P01`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// `00000`: not an error.
    pub const SUCCESSFUL_COMPLETION: Self = Self(*b"00000");
    /// `08P01`: a message that the protocol does not allow here.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// `0A000`: understood, but not offered.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// `22023`: a parameter's value makes no sense.
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    /// `28000`: no way to log in from there, or as that role.
    pub const INVALID_AUTHORIZATION_SPECIFICATION: Self = Self(*b"28000");
    /// `28P01`: wrong password.
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// `42501`: the role lacks a privilege, such as REPLICATION.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// `42601`: syntax error.
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    /// `42602`: a name with characters that names cannot have.
    pub const INVALID_NAME: Self = Self(*b"42602");
    /// `42622`: a name that is too long.
    pub const NAME_TOO_LONG: Self = Self(*b"42622");
    /// `42704`: no such object, for example a replication slot.
    pub const UNDEFINED_OBJECT: Self = Self(*b"42704");
    /// `42710`: such an object exists already, for example a replication slot.
    pub const DUPLICATE_OBJECT: Self = Self(*b"42710");
    /// `53300`: too many connections.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// `53400`: a configured limit (for example of slots) is reached.
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self(*b"53400");
    /// `55000`: the object is not in the state that this needs.
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: Self = Self(*b"55000");
    /// `55006`: the object, for example a slot, is in use.
    pub const OBJECT_IN_USE: Self = Self(*b"55006");
    /// `57P01`: an administrator ended the session.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// `57P03`: the server is starting up or shutting down.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// `58P01`: a file is missing, for example a WAL segment that was removed.
    pub const UNDEFINED_FILE: Self = Self(*b"58P01");
    /// `XX000`: something that should not happen.
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");
    /// `XX001`: bytes on disk are not what was written.
    pub const DATA_CORRUPTED: Self = Self(*b"XX001");

    /// The code `text`, or `None` if it is not five upper-case letters and digits.
    pub fn new(text: &str) -> Option<Self> {
        let code: [u8; 5] = text.as_bytes().try_into().ok()?;
        code.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()).then_some(Self(code))
    }

    /// The five characters.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so this cannot fail.
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An ErrorResponse or NoticeResponse, complete. Source: the protocol's "Error and Notice Message Fields".
///
/// Displayed on one line: `FATAL:  password authentication failed for user "x"`, followed by detail and hint if any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ServerError {
    /// The severity as to be shown, in the server's language (`S`): `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`...
    pub severity: String,
    /// The severity untranslated (`V`, since 9.6); equals `severity` if the server sent none.
    pub severity_raw: String,
    /// `C`; [`SqlState::INTERNAL_ERROR`] if the server sent none or nonsense.
    pub code: SqlState,
    /// `M`: what happened, usually one line.
    pub message: String,
    /// `D`: more about it.
    pub detail: Option<String>,
    /// `H`: what to do about it.
    pub hint: Option<String>,
    /// `P`: 1-based character position in the query.
    pub position: Option<u32>,
    /// `W`: the call stack of the server's function.
    pub context: Option<String>,
    /// Every other field by its letter, in the order sent: schema `s`, file `F`, line `L`, routine `R`, ...
    pub other: Vec<(u8, String)>,
}

impl ServerError {
    /// An `ERROR`.
    pub fn error(code: SqlState, message: impl Into<String>) -> Self {
        Self::with_severity("ERROR", code, message)
    }

    /// A `FATAL` error: the connection ends with it.
    pub fn fatal(code: SqlState, message: impl Into<String>) -> Self {
        Self::with_severity("FATAL", code, message)
    }

    /// A message of any severity.
    pub fn with_severity(severity: &str, code: SqlState, message: impl Into<String>) -> Self {
        Self {
            severity: severity.to_owned(),
            severity_raw: severity.to_owned(),
            code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            other: Vec::new(),
        }
    }

    /// The same with a DETAIL.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a HINT.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the server ends the connection after it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity_raw.as_str(), "FATAL" | "PANIC")
    }

    /// Appends the fields as the body of an ErrorResponse or NoticeResponse, terminator included.
    pub(crate) fn encode_fields(&self, out: &mut BytesMut) {
        let mut field = |letter: u8, text: &str| {
            out.put_u8(letter);
            out.extend(text.bytes().filter(|&byte| byte != 0));
            out.put_u8(0);
        };
        field(b'S', &self.severity);
        field(b'V', &self.severity_raw);
        field(b'C', self.code.as_str());
        field(b'M', &self.message);
        for (letter, text) in [(b'D', &self.detail), (b'H', &self.hint), (b'W', &self.context)] {
            if let Some(text) = text {
                field(letter, text);
            }
        }
        if let Some(position) = self.position {
            field(b'P', &position.to_string());
        }
        for (letter, text) in &self.other {
            if *letter != 0 {
                field(*letter, text);
            }
        }
        out.put_u8(0);
    }

    /// Reads the fields of an ErrorResponse or NoticeResponse. Unknown fields are kept, missing ones made up.
    pub(crate) fn decode_fields(body: &[u8]) -> Option<Self> {
        let mut error = Self::with_severity("ERROR", SqlState::INTERNAL_ERROR, "");
        let mut raw = None;
        let mut rest = body;
        loop {
            let (&letter, tail) = rest.split_first()?;
            if letter == 0 {
                break;
            }
            let end = tail.iter().position(|&byte| byte == 0)?;
            let (text, tail) = tail.split_at(end);
            rest = tail.get(1..)?;
            let text = String::from_utf8_lossy(text).into_owned();
            match letter {
                b'S' => error.severity = text,
                b'V' => raw = Some(text),
                b'C' => error.code = SqlState::new(&text).unwrap_or(SqlState::INTERNAL_ERROR),
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'P' => error.position = text.parse().ok(),
                b'W' => error.context = Some(text),
                other => error.other.push((other, text)),
            }
        }
        error.severity_raw = raw.unwrap_or_else(|| error.severity.clone());
        Some(error)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:  {}", self.severity, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, "; DETAIL:  {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; HINT:  {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_survives() {
        let mut error = ServerError::fatal(SqlState::INVALID_PASSWORD, "no").detail("why").hint("what to do");
        error.position = Some(7);
        error.context = Some("while asking".to_owned());
        error.other.push((b'R', "auth_failed".to_owned()));
        let mut bytes = BytesMut::new();
        error.encode_fields(&mut bytes);
        assert_eq!(ServerError::decode_fields(&bytes), Some(error));
    }

    #[test]
    fn reads_as_libpq_prints() {
        let error =
            ServerError::fatal(SqlState::INVALID_PASSWORD, "password authentication failed for user \"x\"");
        assert_eq!(error.to_string(), "FATAL:  password authentication failed for user \"x\"");
    }

    #[test]
    fn cut_short_is_refused() {
        for body in [&b""[..], b"S", b"SERROR", b"SERROR\0"] {
            assert_eq!(ServerError::decode_fields(body), None, "{body:?}");
        }
        assert!(ServerError::decode_fields(b"\0").is_some());
    }
}
