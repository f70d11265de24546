//! How connecting, and talking once connected, can fail.

use std::io;

use crate::auth::AuthError;
use crate::error::{ServerError, SqlState};
use crate::frame::FrameError;
use crate::message::MessageError;
use crate::stream::PayloadError;
use crate::tls::TlsError;

/// A connection that was established, and what went wrong on it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused; after a `FATAL` the connection is gone, else it remains usable.
    #[error(transparent)]
    Server(#[from] Box<ServerError>),
    /// The server, or something between, closed the connection without a word.
    #[error("server closed the connection unexpectedly")]
    Closed,
    /// The socket failed.
    #[error("could not communicate with server: {0}")]
    Io(#[from] io::Error),
    /// The bytes received are not the protocol's.
    #[error("invalid message from server: {0}")]
    Frame(#[from] FrameError),
    /// The bytes received are not the protocol's.
    #[error("invalid message from server: {0}")]
    Message(#[from] MessageError),
    /// The bytes received are not the streaming protocol's.
    #[error("invalid message from server: {0}")]
    Payload(#[from] PayloadError),
    /// A message that has no place here.
    #[error("unexpected message from server: {0}")]
    Unexpected(String),
    /// The answer to a command has not the rows, columns or values that it should have.
    #[error("could not {what}: {problem}")]
    BadAnswer {
        /// The command, such as "identify system".
        what: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The server's version has no such command.
    #[error("{what} requires server version {required} or later, but the server is version {actual}")]
    TooOld {
        /// What was asked for.
        what: &'static str,
        /// The first major version that has it.
        required: u32,
        /// The server's version.
        actual: String,
    },
}

impl ClientError {
    /// The server's error, if that is what this is.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            _ => None,
        }
    }

    /// The SQLSTATE, if the server refused.
    pub fn code(&self) -> Option<SqlState> {
        self.server().map(|error| error.code)
    }
}

/// A connection that could not be established: every attempt, with the address it went to.
#[derive(Debug, thiserror::Error)]
#[error("{}", distinct(.attempts))]
pub struct ConnectError {
    /// What was tried, in order. Not empty.
    pub attempts: Vec<FailedAttempt>,
}

impl ConnectError {
    /// Whether the server asked for a password and there was none: time to ask the user (`PQconnectionNeedsPassword`).
    pub fn needs_password(&self) -> bool {
        self.attempts
            .last()
            .is_some_and(|attempt| matches!(attempt.cause, AttemptError::Auth(AuthError::NoPassword)))
    }

    /// The last server error met, if any.
    pub fn server(&self) -> Option<&ServerError> {
        self.attempts.iter().rev().find_map(|attempt| match &attempt.cause {
            AttemptError::Client(error) => error.server(),
            _ => None,
        })
    }
}

/// The attempts on one line. The same refusal with and without TLS is one refusal to a reader.
fn distinct(attempts: &[FailedAttempt]) -> String {
    let mut texts: Vec<String> = attempts.iter().map(ToString::to_string).collect();
    texts.dedup();
    texts.join("; ")
}

/// One try at one address.
#[derive(Debug, thiserror::Error)]
#[error("connection to {target} failed: {cause}")]
pub struct FailedAttempt {
    /// As libpq names it: `server at "db" (10.0.0.1), port 5432` or `server on socket "/tmp/.s.PGSQL.5432"`.
    pub target: String,
    /// What went wrong.
    #[source]
    pub cause: AttemptError,
}

/// Why one try failed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// The host name has no address.
    #[error("could not translate host name \"{host}\" to address: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// The socket could not be connected.
    #[error("{}", with_listening_hint(.0))]
    Connect(io::Error),
    /// `connect_timeout` passed.
    #[error("timeout expired")]
    Timeout,
    /// TLS was not to be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Logging in failed on our side.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The server said no, or the connection broke.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server is not of the kind that `target_session_attrs` asks for.
    #[error("{0}")]
    WrongServer(&'static str),
}

fn with_listening_hint(error: &io::Error) -> String {
    // "Connection refused (os error 111)" is for programmers; users know the first half.
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("{text} (is the server running on that host and accepting TCP/IP connections?)")
        }
        io::ErrorKind::NotFound => {
            format!("{text} (is the server running locally and accepting connections on that socket?)")
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_twice_is_told_once() {
        let attempt =
            |target: &str| FailedAttempt { target: target.to_owned(), cause: AttemptError::Timeout };
        let error = ConnectError { attempts: vec![attempt("a"), attempt("a"), attempt("b")] };
        assert_eq!(
            error.to_string(),
            "connection to a failed: timeout expired; connection to b failed: timeout expired"
        );
    }
}
