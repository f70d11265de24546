//! The client's half: answers each authentication request with a message, or refuses to.

use bytes::{BufMut, Bytes, BytesMut};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::{AuthError, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, md5_response};
use crate::conninfo::{AuthMethod, ChannelBindingMode, Password, RequireAuth};
use crate::message::AuthenticationRequest;

/// What to do after an authentication request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthStep {
    /// Send this as the body of a `p` message.
    Send(Bytes),
    /// Nothing to send: the next request comes.
    Wait,
    /// Logged in.
    Done,
}

/// A log-in under way.
pub struct ClientAuth {
    user: String,
    password: Option<Password>,
    binding: ChannelBindingMode,
    require: RequireAuth,
    tls: Option<Option<Vec<u8>>>,
    scram: Scram,
    answered: bool,
}

/// How far a SCRAM exchange is.
enum Scram {
    NotAsked,
    Running { exchange: Box<ScramSha256>, bound: bool },
    Finished { bound: bool },
}

impl ClientAuth {
    /// A log-in as `user`. `tls` is `None` without TLS; else the tls-server-end-point hash of the server's
    /// certificate, if its signature algorithm defines one.
    pub fn new(
        user: &str,
        password: Option<Password>,
        binding: ChannelBindingMode,
        require: RequireAuth,
        tls: Option<Option<Vec<u8>>>,
    ) -> Self {
        let (user, scram) = (user.to_owned(), Scram::NotAsked);
        Self { user, password, binding, require, tls, scram, answered: false }
    }

    /// Takes the server's request.
    pub fn step(&mut self, request: AuthenticationRequest) -> Result<AuthStep, AuthError> {
        use AuthenticationRequest as Request;
        match request {
            Request::Ok => self.accepted(),
            Request::CleartextPassword => {
                self.allow(AuthMethod::Password, "server requested a cleartext password")?;
                let password = self.password()?.clone();
                Ok(self.send_text(password.reveal()))
            }
            Request::Md5Password(salt) => {
                self.allow(AuthMethod::Md5, "server requested a hashed password")?;
                let response = md5_response(&self.user, self.password()?.reveal(), salt);
                Ok(self.send_text(&response))
            }
            Request::Sasl(mechanisms) => self.begin_scram(&mechanisms),
            Request::SaslContinue(data) => {
                let Scram::Running { exchange, .. } = &mut self.scram else {
                    return Err(AuthError::Unexpected("SASLContinue"));
                };
                exchange.update(&data).map_err(|error| AuthError::Scram(error.to_string()))?;
                Ok(AuthStep::Send(Bytes::copy_from_slice(exchange.message())))
            }
            Request::SaslFinal(data) => {
                let Scram::Running { exchange, bound } = &mut self.scram else {
                    return Err(AuthError::Unexpected("SASLFinal"));
                };
                exchange.finish(&data).map_err(|error| AuthError::Scram(error.to_string()))?;
                self.scram = Scram::Finished { bound: *bound };
                Ok(AuthStep::Wait)
            }
            Request::Unsupported(code) => Err(AuthError::UnsupportedMethod(code)),
        }
    }

    fn password(&self) -> Result<&Password, AuthError> {
        self.password.as_ref().filter(|password| !password.reveal().is_empty()).ok_or(AuthError::NoPassword)
    }

    fn send_text(&mut self, text: &str) -> AuthStep {
        self.answered = true;
        let mut body = BytesMut::with_capacity(text.len() + 1);
        body.put_slice(text.as_bytes());
        body.put_u8(0);
        AuthStep::Send(body.freeze())
    }

    fn allow(&self, method: AuthMethod, problem: &'static str) -> Result<(), AuthError> {
        if !matches!(method, AuthMethod::ScramSha256 | AuthMethod::None)
            && self.binding == ChannelBindingMode::Require
        {
            return Err(AuthError::ChannelBinding(
                "channel binding required but not supported by server's authentication request",
            ));
        }
        if self.require.allows(method) {
            return Ok(());
        }
        Err(AuthError::MethodNotAllowed { required: self.require.to_string(), problem })
    }

    fn begin_scram(&mut self, mechanisms: &[String]) -> Result<AuthStep, AuthError> {
        if !matches!(self.scram, Scram::NotAsked) {
            return Err(AuthError::Unexpected("duplicate SASL authentication request"));
        }
        self.allow(AuthMethod::ScramSha256, "server requested SASL authentication")?;
        let offers = |name| mechanisms.iter().any(|mechanism| mechanism == name);
        let required = self.binding == ChannelBindingMode::Require;
        if self.tls.is_none() && required {
            return Err(AuthError::ChannelBinding("channel binding required, but SSL not in use"));
        }
        if self.tls.is_none() && offers(SCRAM_SHA_256_PLUS) {
            return Err(AuthError::ChannelBinding(
                "server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection",
            ));
        }
        let end_point = match self.binding {
            ChannelBindingMode::Disable => None,
            ChannelBindingMode::Prefer | ChannelBindingMode::Require => self.tls.clone().flatten(),
        };
        let (mechanism, binding, bound) = match end_point {
            Some(hash) if offers(SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash), true)
            }
            _ if required => {
                return Err(AuthError::ChannelBinding(
                    "channel binding is required, but server did not offer an authentication method that \
                     supports channel binding",
                ));
            }
            _ if !offers(SCRAM_SHA_256) => return Err(AuthError::NoCommonMechanism),
            // "y": this side could, and saw no offer. A server that did offer must then smell a downgrade.
            Some(_) => (SCRAM_SHA_256, ChannelBinding::unrequested(), false),
            None => (SCRAM_SHA_256, ChannelBinding::unsupported(), false),
        };
        let exchange = Box::new(ScramSha256::new(self.password()?.reveal().as_bytes(), binding));
        let mut body = BytesMut::new();
        body.put_slice(mechanism.as_bytes());
        body.put_u8(0);
        body.put_i32(exchange.message().len() as i32);
        body.put_slice(exchange.message());
        self.scram = Scram::Running { exchange, bound };
        self.answered = true;
        Ok(AuthStep::Send(body.freeze()))
    }

    /// AuthenticationOk. A server that never proved to know the password is not let off if it began to.
    fn accepted(&self) -> Result<AuthStep, AuthError> {
        let bound = match self.scram {
            Scram::Running { .. } => {
                return Err(AuthError::Unexpected("the server did not finish the SCRAM exchange"));
            }
            Scram::Finished { bound } => bound,
            Scram::NotAsked => false,
        };
        if self.binding == ChannelBindingMode::Require && !bound {
            return Err(AuthError::ChannelBinding(
                "channel binding required, but server authenticated client without channel binding",
            ));
        }
        if !self.answered {
            self.allow(AuthMethod::None, "server did not complete authentication")?;
        }
        Ok(AuthStep::Done)
    }
}
