//! SSLRequest and its one-byte answer.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::TlsError;
use crate::client::{AttemptError, ClientError};
use crate::message::FirstPacket;

/// Asks for TLS; whether the server agrees. Exactly one byte is read, so that whatever an attacker put after it goes to
/// the handshake, which it breaks.
pub(crate) async fn request(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<bool, AttemptError> {
    let mut packet = BytesMut::new();
    FirstPacket::SslRequest.encode(&mut packet);
    stream.write_all(&packet).await?;
    stream.flush().await?;
    let mut answer = [0];
    if stream.read(&mut answer).await? == 0 {
        return Err(ClientError::Closed.into());
    }
    match answer {
        [b'S'] => Ok(true),
        [b'N'] => Ok(false),
        [b'E'] => Err(TlsError::ErrorResponse.into()),
        [other] => Err(TlsError::InvalidResponse(other).into()),
    }
}
