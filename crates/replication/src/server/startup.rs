//! The packets before authentication.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Connection, HandshakeError, Prefixed, ReplicationMode, ServerConfig, Transport};
use crate::error::{ServerError, SqlState};
use crate::frame::MAX_STARTUP_PACKET;
use crate::message::{BackendMessage, FirstPacket, PROTOCOL_3_0, StartupMessage};
use crate::tls::{ALPN, ServerTls};

/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Reads up to and including the startup packet, and answers all that comes before it.
pub(super) async fn begin<S>(
    mut stream: S,
    config: &ServerConfig,
) -> Result<(Connection<S>, StartupMessage), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut first = read_byte(&mut stream).await?;
    if first == TLS_HANDSHAKE {
        let tls = config.tls.as_ref().ok_or(HandshakeError::Garbage)?;
        let transport = direct_tls(tls, Prefixed::new(Some(first), stream)).await?;
        return plain_startup(transport).await;
    }
    let (mut tls_declined, mut gss_declined) = (false, false);
    let mut stream = Transport::Plain(stream);
    loop {
        let packet = read_packet(&mut stream, first).await;
        match or_tell(&mut stream, packet).await? {
            FirstPacket::SslRequest if !tls_declined => {
                if let (Some(tls), Transport::Plain(_)) = (&config.tls, &stream) {
                    let transport = requested_tls(tls, stream).await?;
                    return plain_startup(transport).await;
                }
                tls_declined = true;
                write_byte(&mut stream, b'N').await?;
            }
            FirstPacket::GssEncRequest if !gss_declined => {
                gss_declined = true;
                write_byte(&mut stream, b'N').await?;
            }
            FirstPacket::Startup(startup) => return started(stream, startup).await,
            FirstPacket::Cancel { .. } => return Err(HandshakeError::CancelRequest),
            FirstPacket::SslRequest | FirstPacket::GssEncRequest => return Err(HandshakeError::Garbage),
        }
        first = read_byte(&mut stream).await?;
    }
}

/// The startup packet of a client that has TLS already: nothing but that, or a CancelRequest, may come.
async fn plain_startup<S>(
    mut transport: Transport<S>,
) -> Result<(Connection<S>, StartupMessage), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let first = read_byte(&mut transport).await?;
    let packet = read_packet(&mut transport, first).await;
    match or_tell(&mut transport, packet).await? {
        FirstPacket::Startup(startup) => started(transport, startup).await,
        FirstPacket::Cancel { .. } => Err(HandshakeError::CancelRequest),
        FirstPacket::SslRequest | FirstPacket::GssEncRequest => Err(HandshakeError::Garbage),
    }
}

/// Negotiates the protocol's minor version and unknown protocol options.
async fn started<S>(
    transport: Transport<S>,
    startup: StartupMessage,
) -> Result<(Connection<S>, StartupMessage), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = Connection::new(transport);
    let unknown_options: Vec<String> = startup
        .parameters
        .iter()
        .map(|(name, _)| name.clone())
        .filter(|name| name.starts_with("_pq_."))
        .collect();
    if startup.protocol > PROTOCOL_3_0 || !unknown_options.is_empty() {
        connection.queue(&BackendMessage::NegotiateProtocolVersion { newest: PROTOCOL_3_0, unknown_options });
    }
    Ok((connection, startup))
}

async fn requested_tls<S>(tls: &ServerTls, stream: Transport<S>) -> Result<Transport<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Transport::Plain(mut stream) = stream else { return Err(HandshakeError::Garbage) };
    write_byte(&mut stream, b'S').await?;
    // Exactly the request was read, so whatever the client sent after it in plain text goes into the handshake and
    // fails there.
    let stream = accept_tls(tls, Prefixed::new(None, stream)).await?;
    Ok(Transport::Tls(Box::new(stream)))
}

async fn direct_tls<S>(tls: &ServerTls, stream: Prefixed<S>) -> Result<Transport<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = accept_tls(tls, stream).await?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(HandshakeError::MissingAlpn);
    }
    Ok(Transport::Tls(Box::new(stream)))
}

async fn accept_tls<S>(tls: &ServerTls, stream: S) -> Result<TlsStream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    TlsAcceptor::from(tls.now().config.clone()).accept(stream).await.map_err(HandshakeError::Tls)
}

async fn read_byte<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u8, HandshakeError> {
    let mut byte = [0];
    match stream.read(&mut byte).await? {
        0 => Err(HandshakeError::Closed),
        _ => Ok(byte[0]),
    }
}

async fn write_byte<S: AsyncWrite + Unpin>(stream: &mut S, byte: u8) -> Result<(), HandshakeError> {
    stream.write_all(&[byte]).await?;
    Ok(stream.flush().await?)
}

/// Reads exactly one packet, of which the first byte is there already.
async fn read_packet<S: AsyncRead + Unpin>(stream: &mut S, first: u8) -> Result<FirstPacket, HandshakeError> {
    let mut length = [first, 0, 0, 0];
    read_exact(stream, &mut length[1..]).await?;
    let length = u32::from_be_bytes(length);
    if !(8..=MAX_STARTUP_PACKET).contains(&length) {
        return Err(HandshakeError::Garbage);
    }
    let mut body = vec![0; length as usize - 4];
    read_exact(stream, &mut body).await?;
    Ok(FirstPacket::decode(Bytes::from(body))?)
}

async fn read_exact<S: AsyncRead + Unpin>(stream: &mut S, bytes: &mut [u8]) -> Result<(), HandshakeError> {
    match stream.read_exact(bytes).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(HandshakeError::Closed),
        Err(error) => Err(error.into()),
    }
}

/// Passes a refusal on to the client, which understands one from the first packet on.
async fn or_tell<S: AsyncWrite + Unpin, T>(
    stream: &mut S,
    result: Result<T, HandshakeError>,
) -> Result<T, HandshakeError> {
    if let Err(HandshakeError::Refused(error)) = &result {
        let mut answer = bytes::BytesMut::new();
        BackendMessage::ErrorResponse(error.clone()).encode(&mut answer);
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
    }
    result
}

/// What the startup parameter `replication` means (`ProcessStartupPacket`).
///
/// # Errors
/// A value that is neither a boolean nor `database`, with PostgreSQL's error.
pub fn replication_mode(value: Option<&str>) -> Result<ReplicationMode, Box<ServerError>> {
    match value {
        None => Ok(ReplicationMode::Off),
        Some("database") => Ok(ReplicationMode::Logical),
        Some(value) => match parse_bool(value) {
            Some(true) => Ok(ReplicationMode::Physical),
            Some(false) => Ok(ReplicationMode::Off),
            None => Err(Box::new(
                ServerError::fatal(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("invalid value for parameter \"replication\": \"{value}\""),
                )
                .hint("Valid values are: \"false\", 0, \"true\", 1, \"database\"."),
            )),
        },
    }
}

/// A boolean as PostgreSQL reads it: 1, 0, or any beginning of a word that is not the beginning of two of them
/// (`parse_bool_with_len`).
fn parse_bool(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str, least: usize| value.len() >= least && word.starts_with(value.as_str());
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || value == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || value == "0" {
        Some(false)
    } else {
        None
    }
}
