//! The server's half of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, RFC 5929). Source: auth-scram.c.
//!
//! A user who is unknown, or has no usable password, goes through the same exchange with a made-up salt and fails at
//! its end, so that nobody learns which users exist.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::verifier::{MockSecret, ScramVerifier, StoredPassword, same_bytes};
use crate::error::{ServerError, SqlState};

/// The mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// What to send after a client's message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScramStep {
    /// As AuthenticationSASLContinue.
    Continue(Vec<u8>),
    /// As AuthenticationSASLFinal, then AuthenticationOk: the client knows the password.
    Finished(Vec<u8>),
}

/// Why the exchange ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The client does not know the password, or the user has none, or does not exist: not to be told apart.
    #[error("wrong password")]
    WrongPassword,
    /// The client does not speak the mechanism.
    #[error("{message}: {detail}")]
    Protocol {
        /// PostgreSQL's message.
        message: &'static str,
        /// And its detail.
        detail: &'static str,
    },
}

impl ScramError {
    /// The error to send, for a log-in as `user`.
    pub fn to_server_error(&self, user: &str) -> ServerError {
        match self {
            Self::WrongPassword => ServerError::fatal(
                SqlState::INVALID_PASSWORD,
                format!("password authentication failed for user \"{user}\""),
            ),
            Self::Protocol { message, detail } => {
                ServerError::fatal(SqlState::PROTOCOL_VIOLATION, *message).detail(*detail)
            }
        }
    }
}

const fn malformed(detail: &'static str) -> ScramError {
    ScramError::Protocol { message: "malformed SCRAM message", detail }
}

/// One exchange.
pub struct ScramServer {
    verifier: ScramVerifier,
    /// Fails whatever the client proves: there is no such password.
    doomed: bool,
    /// The hash of this server's certificate, if TLS is on and the certificate defines one.
    end_point: Option<Vec<u8>>,
    server_nonce: String,
    state: State,
}

enum State {
    Begin,
    Challenged { gs2_header: String, bound: bool, nonce: String, auth_message: String },
    Over,
}

impl ScramServer {
    /// An exchange with `user`, whose password is `stored`. `end_point` is the tls-server-end-point hash of this
    /// server's certificate on a TLS connection; with it, PLUS is offered. `nonce` is 18 fresh random bytes.
    pub fn new(
        user: &str,
        stored: Option<&StoredPassword>,
        mock: &MockSecret,
        end_point: Option<Vec<u8>>,
        nonce: [u8; 18],
    ) -> Self {
        let real = stored.and_then(StoredPassword::scram);
        Self {
            doomed: real.is_none(),
            verifier: real.unwrap_or_else(|| ScramVerifier::mock(user, mock)),
            end_point,
            server_nonce: BASE64.encode(nonce),
            state: State::Begin,
        }
    }

    /// What to list in AuthenticationSASL.
    pub fn mechanisms(&self) -> Vec<String> {
        let plus = self.end_point.as_ref().map(|_| SCRAM_SHA_256_PLUS.to_owned());
        plus.into_iter().chain([SCRAM_SHA_256.to_owned()]).collect()
    }

    /// Takes the body of a client's `p` message: first the SASLInitialResponse, then the SASLResponse.
    pub fn step(&mut self, body: &[u8]) -> Result<ScramStep, ScramError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Begin => {
                let (plus, client_first) = initial_response(body)?;
                if plus && self.end_point.is_none() {
                    return Err(malformed("Client selected an invalid SASL authentication mechanism."));
                }
                self.challenge(plus, client_first).map(ScramStep::Continue)
            }
            State::Challenged { gs2_header, bound, nonce, auth_message } => {
                self.verify(text(body)?, &gs2_header, bound, &nonce, auth_message).map(ScramStep::Finished)
            }
            State::Over => Err(malformed("The exchange is over.")),
        }
    }

    /// Answers client-first.
    fn challenge(&mut self, plus: bool, client_first: &str) -> Result<Vec<u8>, ScramError> {
        let (flag, rest) = client_first.split_once(',').ok_or(malformed("Comma expected."))?;
        let bound = match flag {
            "n" if !plus => false,
            "y" if !plus => {
                if self.end_point.is_some() {
                    return Err(ScramError::Protocol {
                        message: "SCRAM channel binding negotiation error",
                        detail: "The client supports SCRAM channel binding but thinks the server does not. \
                                 However, this server does support channel binding.",
                    });
                }
                false
            }
            "p=tls-server-end-point" if plus => true,
            "n" | "y" => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel \
                     binding data.",
                ));
            }
            "p=tls-server-end-point" => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes \
                     channel binding data.",
                ));
            }
            _ => return Err(malformed("Unexpected channel-binding flag or type.")),
        };
        let (authzid, bare) = rest.split_once(',').ok_or(malformed("Comma expected."))?;
        if !authzid.is_empty() {
            return Err(malformed("The client uses an authorization identity, but it is not supported."));
        }
        if bare.starts_with("m=") {
            return Err(malformed("The client requires an unsupported SCRAM extension."));
        }
        let mut attributes = bare.split(',');
        let (Some(_user), Some(client_nonce)) = (
            attributes.next().and_then(|attribute| attribute.strip_prefix("n=")),
            attributes.next().and_then(|attribute| attribute.strip_prefix("r=")),
        ) else {
            return Err(malformed("Attributes \"n\" and \"r\" expected."));
        };
        if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed("Non-printable characters in SCRAM nonce."));
        }
        let nonce = format!("{client_nonce}{}", self.server_nonce);
        let (salt, iterations) = (BASE64.encode(&self.verifier.salt), self.verifier.iterations);
        let server_first = format!("r={nonce},s={salt},i={iterations}");
        let auth_message = format!("{bare},{server_first}");
        self.state = State::Challenged { gs2_header: format!("{flag},,"), bound, nonce, auth_message };
        Ok(server_first.into_bytes())
    }

    /// Checks client-final, and gives server-final.
    fn verify(
        &self,
        client_final: &str,
        gs2_header: &str,
        bound: bool,
        nonce: &str,
        auth_message: String,
    ) -> Result<Vec<u8>, ScramError> {
        let (without_proof, proof) = client_final.rsplit_once(",p=").ok_or(malformed("No proof."))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|attribute| attribute.strip_prefix("c="));
        let their_nonce = attributes.next().and_then(|attribute| attribute.strip_prefix("r="));
        let (Some(binding), Some(their_nonce)) = (binding, their_nonce) else {
            return Err(malformed("Attributes \"c\" and \"r\" expected."));
        };
        let mut expected = gs2_header.as_bytes().to_vec();
        if bound {
            expected.extend_from_slice(self.end_point.as_deref().unwrap_or_default());
        }
        if BASE64.decode(binding).ok().is_none_or(|binding| !same_bytes(&binding, &expected)) {
            return Err(ScramError::Protocol {
                message: "SCRAM channel binding check failed",
                detail: "The client is bound to another TLS channel.",
            });
        }
        if their_nonce != nonce {
            return Err(ScramError::Protocol {
                message: "invalid SCRAM response",
                detail: "Nonce does not match.",
            });
        }
        let proof = BASE64.decode(proof).ok().and_then(|proof| <[u8; 32]>::try_from(proof).ok());
        let proof = proof.ok_or(malformed("Malformed proof in client-final-message."))?;
        let auth_message = format!("{auth_message},{without_proof}");
        let signature = hmac_sha256(&self.verifier.stored_key, auth_message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(proof, sign)| proof ^ sign).collect();
        let knows = same_bytes(&Sha256::digest(&client_key), &self.verifier.stored_key);
        if !knows || self.doomed {
            return Err(ScramError::WrongPassword);
        }
        let signature = hmac_sha256(&self.verifier.server_key, auth_message.as_bytes());
        Ok(format!("v={}", BASE64.encode(signature)).into_bytes())
    }
}

/// Whether a SASLInitialResponse names PLUS, and its client-first text.
fn initial_response(body: &[u8]) -> Result<(bool, &str), ScramError> {
    let invalid = malformed("Client selected an invalid SASL authentication mechanism.");
    let end = body.iter().position(|&byte| byte == 0).ok_or(invalid.clone())?;
    let (mechanism, rest) = body.split_at(end);
    let plus = match std::str::from_utf8(mechanism) {
        Ok(SCRAM_SHA_256) => false,
        Ok(SCRAM_SHA_256_PLUS) => true,
        _ => return Err(invalid),
    };
    let (length, data) = rest
        .get(1..)
        .and_then(|rest| rest.split_first_chunk::<4>())
        .ok_or(malformed("No initial response."))?;
    if usize::try_from(i32::from_be_bytes(*length)) != Ok(data.len()) {
        return Err(malformed("The message's length does not match the input length."));
    }
    Ok((plus, text(data)?))
}

fn text(bytes: &[u8]) -> Result<&str, ScramError> {
    std::str::from_utf8(bytes).map_err(|_| malformed("The message is not UTF-8."))
}

fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
#[path = "scram_tests.rs"]
mod tests;
