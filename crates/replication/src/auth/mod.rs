//! Logging in, both sides of it, sans-IO: trust, password, md5, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.

mod client;
mod md5;
mod scram_server;
mod verifier;

pub use client::{AuthStep, ClientAuth};
pub use md5::{md5_response, verify_md5};
pub use scram_server::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError, ScramServer, ScramStep};
pub use verifier::{InvalidVerifier, MockSecret, ScramVerifier, StoredPassword};

/// Why a client does not go on logging in. The texts are libpq's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The server wants a password, and there is none.
    #[error("fe_sendauth: no password supplied")]
    NoPassword,
    /// The server wants a method that this client does not have.
    #[error("authentication method {0} not supported")]
    UnsupportedMethod(u32),
    /// The server offers SASL mechanisms, but none that this client has.
    #[error("none of the server's SASL authentication mechanisms are supported")]
    NoCommonMechanism,
    /// `channel_binding=require` cannot be had.
    #[error("{0}")]
    ChannelBinding(&'static str),
    /// `require_auth` forbids what the server does.
    #[error("authentication method requirement \"{required}\" failed: {problem}")]
    MethodNotAllowed {
        /// The setting.
        required: String,
        /// What the server did.
        problem: &'static str,
    },
    /// The server's SCRAM messages are wrong, or it does not know the password either.
    #[error("SCRAM exchange failed: {0}")]
    Scram(String),
    /// A request that has no place at this point.
    #[error("unexpected authentication request from server: {0}")]
    Unexpected(&'static str),
}
