//! Which proof a client must give, and the exchange of it.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, HandshakeError, PasswordFile, ReceiveError, ServerConfig, Transport};
use crate::auth::{ScramServer, ScramStep, StoredPassword, verify_md5};
use crate::error::SqlState;
use crate::message::{AuthenticationRequest, BackendMessage, StartupMessage};
use crate::tls::random;

/// Has the client prove that it is who it says it is, by whatever the server is configured for.
pub(super) async fn prove_identity<S>(
    connection: &mut Connection<S>,
    startup: &StartupMessage,
    config: &ServerConfig,
) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(user) = startup.get("user").filter(|user| !user.is_empty()) else {
        return Err(HandshakeError::refused(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "no PostgreSQL user name specified in startup packet",
        ));
    };
    if config.require_tls && !connection.transport().is_encrypted() {
        return Err(HandshakeError::refused(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            format!("connections of user \"{user}\" from other hosts must be encrypted with TLS"),
        ));
    }
    let Some(passwords) = &config.passwords else { return Ok(()) };
    match passwords.password_of(user) {
        Some(StoredPassword::Md5(stored)) => md5(connection, user, &stored).await,
        stored => scram(connection, config, user, stored.as_ref(), passwords).await,
    }
}

async fn md5<S>(connection: &mut Connection<S>, user: &str, stored: &str) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut salt = [0; 4];
    random(&mut salt)?;
    let answer = ask(connection, AuthenticationRequest::Md5Password(salt)).await?;
    let response = answer.strip_suffix(b"\0").and_then(|text| std::str::from_utf8(text).ok());
    if response.is_some_and(|response| verify_md5(stored, response, salt)) {
        Ok(())
    } else {
        let message = format!("password authentication failed for user \"{user}\"");
        Err(HandshakeError::refused(SqlState::INVALID_PASSWORD, message))
    }
}

async fn scram<S>(
    connection: &mut Connection<S>,
    config: &ServerConfig,
    user: &str,
    stored: Option<&StoredPassword>,
    passwords: &PasswordFile,
) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end_point = match (connection.transport(), &config.tls) {
        (Transport::Tls(_), Some(tls)) => tls.now().end_point.clone(),
        _ => None,
    };
    let mut nonce = [0; 18];
    random(&mut nonce)?;
    let mut exchange = ScramServer::new(user, stored, passwords.mock_secret(), end_point, nonce);
    let mut request = AuthenticationRequest::Sasl(exchange.mechanisms());
    loop {
        let answer = ask(connection, request).await?;
        match exchange.step(&answer) {
            Ok(ScramStep::Continue(challenge)) => {
                request = AuthenticationRequest::SaslContinue(challenge.into());
            }
            Ok(ScramStep::Finished(server_final)) => {
                let done = AuthenticationRequest::SaslFinal(server_final.into());
                connection.queue(&BackendMessage::Authentication(done));
                return Ok(());
            }
            Err(error) => return Err(HandshakeError::Refused(Box::new(error.to_server_error(user)))),
        }
    }
}

/// Sends a request, and waits for the client's answer.
async fn ask<S>(
    connection: &mut Connection<S>,
    request: AuthenticationRequest,
) -> Result<Bytes, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connection.send(&BackendMessage::Authentication(request)).await?;
    match connection.receive().await {
        Ok(Some(frame)) => Ok(frame.body),
        Ok(None) => Err(HandshakeError::Closed),
        Err(ReceiveError::Io(error)) => Err(error.into()),
        Err(ReceiveError::Frame(error)) => Err(HandshakeError::refused(
            SqlState::PROTOCOL_VIOLATION,
            format!("expected password response: {error}"),
        )),
    }
}
