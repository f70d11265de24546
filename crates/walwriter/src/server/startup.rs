//! A client's first packets, and the proof of who it is, as a machine without I/O.
//!
//! The pieces (packets, SCRAM, passwords) are the `replication` crate's; this drives them from a receive buffer.
//! Source: `postmaster.c` (`ProcessStartupPacket`), `libpq/auth.c`.
//!
//! Invariant: until a client is let in, it makes the server hold no more than one packet of bounded length.

use bytes::{Bytes, BytesMut};
use replication::auth::{ScramServer, ScramStep, StoredPassword, verify_md5};
use replication::error::{ServerError, SqlState};
use replication::frame::MAX_STARTUP_PACKET;
use replication::message::{
    AuthenticationRequest, BackendMessage, FirstPacket, MessageError, PROTOCOL_3_0, StartupMessage,
};
use replication::server::{PasswordFile, ReplicationMode, replication_mode};
use replication::tls::random;

use super::input::Input;
use crate::session::SessionError;

/// The longest message with a password or a proof (`PG_MAX_AUTH_TOKEN_LENGTH`).
const MAX_AUTH_MESSAGE: usize = 65_535;

/// Where a client that was not let in yet has got to.
pub(super) enum Startup {
    /// Its first packet, or another one after a request for encryption.
    Packet {
        /// It asked for TLS and was told that there is none.
        tls_declined: bool,
        /// It asked for Kerberos and was told that there is none.
        gss_declined: bool,
    },
    /// Its answer to an md5 challenge.
    Md5 { startup: Box<StartupMessage>, stored: String, salt: [u8; 4] },
    /// Its next SCRAM message.
    Scram { startup: Box<StartupMessage>, exchange: Box<ScramServer> },
}

/// What comes of the bytes so far.
pub(super) enum Outcome {
    /// More are needed.
    Pending(Startup),
    /// Nothing is answered, or what has been appended is the last answer.
    Close,
    /// What has been appended says why the client is not let in; then as [`Outcome::Close`].
    Refused(SessionError),
    /// Another connection's statement is to be cancelled; nothing is answered.
    Cancel { process_id: u32, secret: Bytes },
    /// The client asks for replication, and has not proved who it is: its whole startup packet.
    Replication { packet: Vec<u8> },
    /// The client is who it says it is. It has not been told yet.
    Proved(Box<StartupMessage>),
}

impl Startup {
    pub(super) const fn new() -> Self {
        Self::Packet { tls_declined: false, gss_declined: false }
    }

    /// Reads what there is, and appends what is to be answered.
    pub(super) fn advance(
        self,
        input: &mut Input,
        out: &mut Vec<u8>,
        passwords: Option<&PasswordFile>,
    ) -> Outcome {
        let mut state = self;
        loop {
            let before = input.pending().len();
            let outcome = match state {
                Self::Packet { .. } => state.first_packet(input, out, passwords),
                Self::Md5 { .. } | Self::Scram { .. } => state.proof(input, out),
            };
            match outcome {
                Ok(Outcome::Pending(next)) if input.pending().len() < before => state = next,
                Ok(outcome) => return outcome,
                Err(error) => {
                    crate::protocol::backend::error(out, &error);
                    return Outcome::Refused(error);
                }
            }
        }
    }

    fn first_packet(
        self,
        input: &mut Input,
        out: &mut Vec<u8>,
        passwords: Option<&PasswordFile>,
    ) -> Result<Outcome, SessionError> {
        let Self::Packet { mut tls_declined, mut gss_declined } = self else { return Ok(Outcome::Close) };
        let Some(length) = input.pending().first_chunk::<4>() else { return Ok(Outcome::Pending(self)) };
        let length = u32::from_be_bytes(*length);
        if !(8..=MAX_STARTUP_PACKET).contains(&length) {
            // No PostgreSQL client sends this, so none would understand an answer.
            return Ok(Outcome::Close);
        }
        let Some(body) = input.pending().get(4..length as usize) else { return Ok(Outcome::Pending(self)) };
        let decoded = FirstPacket::decode(Bytes::copy_from_slice(body)).map_err(unreadable)?;
        let packet = input.pending().get(..length as usize).unwrap_or_default().to_vec();
        input.consume(length as usize);
        match decoded {
            FirstPacket::SslRequest if !tls_declined => tls_declined = true,
            FirstPacket::GssEncRequest if !gss_declined => gss_declined = true,
            FirstPacket::SslRequest | FirstPacket::GssEncRequest => return Ok(Outcome::Close),
            FirstPacket::Cancel { process_id, secret_key } => {
                return Ok(Outcome::Cancel { process_id, secret: secret_key });
            }
            FirstPacket::Startup(startup) => {
                if replication_mode(startup.get("replication"))? != ReplicationMode::Off {
                    return Ok(Outcome::Replication { packet });
                }
                negotiate(&startup, out);
                return challenge(Box::new(startup), out, passwords);
            }
        }
        out.push(b'N');
        Ok(Outcome::Pending(Self::Packet { tls_declined, gss_declined }))
    }

    fn proof(self, input: &mut Input, out: &mut Vec<u8>) -> Result<Outcome, SessionError> {
        let pending = input.pending();
        let Some(header) = pending.first_chunk::<5>() else { return Ok(Outcome::Pending(self)) };
        let [tag, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        if tag != b'p' || !(4..=MAX_AUTH_MESSAGE).contains(&length) {
            return Err(refusal(SqlState::PROTOCOL_VIOLATION, "expected password response"));
        }
        let Some(body) = pending.get(5..=length) else { return Ok(Outcome::Pending(self)) };
        let outcome = match self {
            Self::Packet { .. } => Outcome::Close,
            Self::Md5 { startup, stored, salt } => {
                let response = body.strip_suffix(b"\0").and_then(|text| std::str::from_utf8(text).ok());
                if !response.is_some_and(|response| verify_md5(&stored, response, salt)) {
                    let user = startup.get("user").unwrap_or_default();
                    let message = format!("password authentication failed for user \"{user}\"");
                    return Err(refusal(SqlState::INVALID_PASSWORD, message));
                }
                Outcome::Proved(startup)
            }
            Self::Scram { startup, mut exchange } => {
                let user = startup.get("user").unwrap_or_default();
                match exchange.step(body).map_err(|error| Box::new(error.to_server_error(user)))? {
                    ScramStep::Continue(challenge) => {
                        put(out, AuthenticationRequest::SaslContinue(challenge.into()));
                        Outcome::Pending(Self::Scram { startup, exchange })
                    }
                    ScramStep::Finished(last) => {
                        put(out, AuthenticationRequest::SaslFinal(last.into()));
                        Outcome::Proved(startup)
                    }
                }
            }
        };
        input.consume(length + 1);
        Ok(outcome)
    }
}

/// Tells a client that asks for more than protocol 3.0 what it gets.
fn negotiate(startup: &StartupMessage, out: &mut Vec<u8>) {
    let names = startup.parameters.iter().map(|(name, _)| name);
    let unknown_options: Vec<String> = names.filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if startup.protocol > PROTOCOL_3_0 || !unknown_options.is_empty() {
        append(out, &BackendMessage::NegotiateProtocolVersion { newest: PROTOCOL_3_0, unknown_options });
    }
}

/// Asks for the proof that the user's password needs.
fn challenge(
    startup: Box<StartupMessage>,
    out: &mut Vec<u8>,
    passwords: Option<&PasswordFile>,
) -> Result<Outcome, SessionError> {
    let Some(user) = startup.get("user").filter(|user| !user.is_empty()) else {
        return Err(refusal(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "no PostgreSQL user name specified in startup packet",
        ));
    };
    let Some(passwords) = passwords else { return Ok(Outcome::Proved(startup)) };
    let no_random =
        |error: replication::tls::RandomError| refusal(SqlState::INTERNAL_ERROR, error.to_string());
    match passwords.password_of(user) {
        Some(StoredPassword::Md5(stored)) => {
            let mut salt = [0; 4];
            random(&mut salt).map_err(no_random)?;
            put(out, AuthenticationRequest::Md5Password(salt));
            Ok(Outcome::Pending(Startup::Md5 { startup, stored, salt }))
        }
        stored => {
            let mut nonce = [0; 18];
            random(&mut nonce).map_err(no_random)?;
            let exchange = ScramServer::new(user, stored.as_ref(), passwords.mock_secret(), None, nonce);
            put(out, AuthenticationRequest::Sasl(exchange.mechanisms()));
            Ok(Outcome::Pending(Startup::Scram { startup, exchange: Box::new(exchange) }))
        }
    }
}

fn refusal(code: SqlState, message: impl Into<String>) -> SessionError {
    Box::new(ServerError::fatal(code, message))
}

fn unreadable(error: MessageError) -> SessionError {
    match error {
        MessageError::UnsupportedProtocol(_) => {
            refusal(SqlState::FEATURE_NOT_SUPPORTED, format!("{error}: server supports 3.0 to 3.0"))
        }
        MessageError::Malformed(_) | MessageError::UnknownType(_) => {
            refusal(SqlState::PROTOCOL_VIOLATION, "invalid startup packet layout")
        }
    }
}

fn put(out: &mut Vec<u8>, request: AuthenticationRequest) {
    append(out, &BackendMessage::Authentication(request));
}

/// Appends a message of the `replication` crate's.
pub(super) fn append(out: &mut Vec<u8>, message: &BackendMessage) {
    let mut encoded = BytesMut::new();
    message.encode(&mut encoded);
    out.extend_from_slice(&encoded);
}

/// The settings in a startup packet: what is no setting left out, `options` taken apart (`pg_split_opts`,
/// `process_postgres_switches`).
pub(super) fn settings(startup: &StartupMessage) -> Result<Vec<(String, String)>, SessionError> {
    let mut settings = Vec::new();
    for (name, value) in &startup.parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => options(value, &mut settings)?,
            name if name.starts_with("_pq_.") => {}
            _ => settings.push((name.clone(), value.clone())),
        }
    }
    Ok(settings)
}

fn options(text: &str, settings: &mut Vec<(String, String)>) -> Result<(), SessionError> {
    let mut words = split_options(text).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            Some("") => words.next(),
            Some(assignment) => Some(assignment.to_owned()),
            None => None,
        };
        let assignment = assignment.as_deref().and_then(|text| text.split_once('='));
        let Some((name, value)) = assignment else {
            let message = format!("invalid command-line argument for server process: {word}");
            return Err(refusal(SqlState::SYNTAX_ERROR, message));
        };
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(())
}

/// Words between blanks; a backslash takes the next character as it is.
fn split_options(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            blank if blank.is_ascii_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_apart_as_postgresql_does() {
        let mut settings = Vec::new();
        options(r"-c a=1 -cb=x\ y  --c-d=2", &mut settings).unwrap();
        let expected = [("a", "1"), ("b", "x y"), ("c_d", "2")];
        assert_eq!(settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(options("-x", &mut settings).is_err());
        assert!(options("-c", &mut settings).is_err());
    }
}
