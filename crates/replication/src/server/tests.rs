//! Drives the handshake over an in-memory stream with a client written out byte by byte.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::auth::md5_response;
use crate::frame::{FrameDecoder, Phase};
use crate::message::{AuthenticationRequest, FirstPacket, FrontendMessage, PROTOCOL_3_0};

fn trust() -> ServerConfig {
    ServerConfig {
        tls: None,
        require_tls: false,
        passwords: None,
        authentication_timeout: Duration::from_secs(5),
    }
}

fn with_passwords(lines: &str) -> ServerConfig {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    fs::write(&path, lines).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    ServerConfig { passwords: Some(PasswordFile::load(&path).unwrap()), ..trust() }
}

fn startup(parameters: &[(&str, &str)]) -> FirstPacket {
    let parameters = parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    FirstPacket::Startup(StartupMessage { protocol: PROTOCOL_3_0, parameters })
}

fn replication_startup() -> FirstPacket {
    startup(&[("user", "alice"), ("replication", "true"), ("application_name", "test")])
}

struct Client {
    stream: DuplexStream,
    input: BytesMut,
}

impl Client {
    async fn first(&mut self, packet: &FirstPacket) {
        let mut bytes = BytesMut::new();
        packet.encode(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn say(&mut self, message: &FrontendMessage) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn hear(&mut self) -> Option<BackendMessage> {
        let decoder = FrameDecoder::new(Phase::Server);
        loop {
            if let Some(frame) = decoder.decode(&mut self.input).unwrap() {
                return Some(BackendMessage::decode(frame).unwrap());
            }
            if self.stream.read_buf(&mut self.input).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn hear_error(&mut self) -> ServerError {
        match self.hear().await {
            Some(BackendMessage::ErrorResponse(error)) => *error,
            other => panic!("expected an error, got {other:?}"),
        }
    }

    async fn byte(&mut self) -> u8 {
        self.stream.read_u8().await.unwrap()
    }
}

fn pair() -> (Client, DuplexStream) {
    let (client, server) = duplex(64 * 1024);
    (Client { stream: client, input: BytesMut::new() }, server)
}

async fn refused(config: ServerConfig, packet: FirstPacket) -> (ServerError, HandshakeError) {
    let (mut client, server) = pair();
    client.first(&packet).await;
    let error = authenticate(server, &config).await.unwrap_err();
    (client.hear_error().await, error)
}

#[tokio::test]
async fn a_trusted_client_is_welcomed_into_command_mode() {
    let (mut client, server) = pair();
    client.first(&replication_startup()).await;
    let authenticated = authenticate(server, &trust()).await.unwrap();
    assert_eq!((authenticated.user(), authenticated.application_name()), ("alice", "test"));
    assert_eq!(authenticated.replication_mode().unwrap(), ReplicationMode::Physical);
    let welcome = Welcome {
        parameters: vec![("server_version".to_owned(), "15.0".to_owned())],
        process_id: 7,
        secret_key: [1, 2, 3, 4],
    };
    let mut connection = authenticated.welcome(&welcome).await.unwrap();
    assert_eq!(client.hear().await, Some(BackendMessage::Authentication(AuthenticationRequest::Ok)));
    assert!(
        matches!(client.hear().await, Some(BackendMessage::ParameterStatus { value, .. }) if value == "15.0")
    );
    assert!(matches!(client.hear().await, Some(BackendMessage::BackendKeyData { process_id: 7, .. })));
    assert_eq!(client.hear().await, Some(BackendMessage::ReadyForQuery(TransactionStatus::Idle)));
    client.say(&FrontendMessage::Query("SHOW x".to_owned())).await;
    let frame = connection.receive().await.unwrap().unwrap();
    assert_eq!(FrontendMessage::decode(frame), Ok(FrontendMessage::Query("SHOW x".to_owned())));
    drop(client);
    assert!(connection.receive().await.unwrap().is_none());
}

#[tokio::test]
async fn requests_for_encryption_that_is_not_offered_are_declined() {
    let (mut client, server) = pair();
    let server = tokio::spawn(async move { authenticate(server, &trust()).await.map(|_| ()) });
    client.first(&FirstPacket::GssEncRequest).await;
    assert_eq!(client.byte().await, b'N');
    client.first(&FirstPacket::SslRequest).await;
    assert_eq!(client.byte().await, b'N');
    client.first(&replication_startup()).await;
    assert!(server.await.unwrap().is_ok());
}

#[tokio::test]
async fn encryption_is_asked_for_once() {
    let (mut client, server) = pair();
    let server = tokio::spawn(async move { authenticate(server, &trust()).await.map(|_| ()) });
    client.first(&FirstPacket::SslRequest).await;
    assert_eq!(client.byte().await, b'N');
    client.first(&FirstPacket::SslRequest).await;
    assert!(matches!(server.await.unwrap(), Err(HandshakeError::Garbage)));
}

#[tokio::test]
async fn cancel_requests_are_not_answered() {
    let (mut client, server) = pair();
    client.first(&FirstPacket::Cancel { process_id: 1, secret_key: Bytes::from_static(&[0; 4]) }).await;
    let error = authenticate(server, &trust()).await.unwrap_err();
    assert!(matches!(error, HandshakeError::CancelRequest));
    assert_eq!(client.hear().await, None);
}

#[tokio::test]
async fn a_newer_protocol_and_unknown_options_are_negotiated_down() {
    let (mut client, server) = pair();
    let parameters =
        vec![("user".to_owned(), "alice".to_owned()), ("_pq_.fancy".to_owned(), "on".to_owned())];
    client.first(&FirstPacket::Startup(StartupMessage { protocol: PROTOCOL_3_0 + 2, parameters })).await;
    let authenticated = authenticate(server, &trust()).await.unwrap();
    let welcome = Welcome { parameters: Vec::new(), process_id: 1, secret_key: [0; 4] };
    authenticated.welcome(&welcome).await.unwrap();
    let negotiated = BackendMessage::NegotiateProtocolVersion {
        newest: PROTOCOL_3_0,
        unknown_options: vec!["_pq_.fancy".to_owned()],
    };
    assert_eq!(client.hear().await, Some(negotiated));
}

#[tokio::test]
async fn another_major_protocol_is_refused_with_an_error() {
    let (mut client, server) = pair();
    client.stream.write_all(&[0, 0, 0, 8, 0, 2, 0, 0]).await.unwrap();
    assert!(matches!(authenticate(server, &trust()).await, Err(HandshakeError::Refused(_))));
    let error = client.hear_error().await;
    assert_eq!(error.code, SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(error.message, "unsupported frontend protocol 2.0: server supports 3.0 to 3.0");
}

#[tokio::test]
async fn whoever_does_not_say_who_it_is_is_refused() {
    let (error, _) = refused(trust(), startup(&[("replication", "true")])).await;
    assert_eq!(error.code, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert_eq!(error.message, "no PostgreSQL user name specified in startup packet");
}

#[tokio::test]
async fn strangers_must_use_tls_where_it_is_required() {
    let (error, _) = refused(ServerConfig { require_tls: true, ..trust() }, replication_startup()).await;
    assert_eq!(error.code, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert!(error.message.contains("must be encrypted"), "{error}");
}

#[tokio::test]
async fn what_is_not_postgresql_ends_without_an_answer() {
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 0, 0], &[0x16, 3, 1, 0, 5], &[0x7f; 64]] {
        let (mut client, server) = pair();
        client.stream.write_all(garbage).await.unwrap();
        let error = authenticate(server, &trust()).await.unwrap_err();
        assert!(matches!(error, HandshakeError::Garbage), "{garbage:?}: {error}");
        assert_eq!(client.hear().await, None);
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_not_an_answerable_one() {
    for sent in [&b""[..], &[0, 0], &[0, 0, 0, 50, 0, 3]] {
        let (mut client, server) = pair();
        client.stream.write_all(sent).await.unwrap();
        drop(client);
        assert!(matches!(authenticate(server, &trust()).await, Err(HandshakeError::Closed)), "{sent:?}");
    }
}

#[tokio::test]
async fn a_client_that_dawdles_is_dropped() {
    let (mut client, server) = pair();
    client.stream.write_all(&[0, 0, 0]).await.unwrap();
    let config = ServerConfig { authentication_timeout: Duration::from_millis(20), ..trust() };
    assert!(matches!(authenticate(server, &config).await, Err(HandshakeError::Timeout)));
}

#[tokio::test]
async fn md5_passwords_are_checked() {
    let stored = postgres_protocol::password::md5(b"secret", "alice");
    for (password, accepted) in [("secret", true), ("Secret", false)] {
        let (mut client, server) = pair();
        let config = with_passwords(&format!("alice:{stored}\n"));
        let server = tokio::spawn(async move { authenticate(server, &config).await.map(|_| ()) });
        client.first(&replication_startup()).await;
        let Some(BackendMessage::Authentication(AuthenticationRequest::Md5Password(salt))) =
            client.hear().await
        else {
            panic!("expected a request for md5")
        };
        let answer = format!("{}\0", md5_response("alice", password, salt));
        client.say(&FrontendMessage::Authentication(answer.into())).await;
        assert_eq!(server.await.unwrap().is_ok(), accepted, "{password}");
        if !accepted {
            let error = client.hear_error().await;
            assert_eq!(error.code, SqlState::INVALID_PASSWORD);
            assert_eq!(error.message, "password authentication failed for user \"alice\"");
        }
    }
}

/// Logs in by SCRAM-SHA-256 as `user`; whether that worked for both sides.
async fn scram_login(config: ServerConfig, user: &str, password: &str) -> Result<(), ServerError> {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
    let (mut client, server) = pair();
    let server = tokio::spawn(async move { authenticate(server, &config).await.map(|_| ()) });
    client.first(&startup(&[("user", user), ("replication", "1")])).await;
    let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
    loop {
        match client.hear().await {
            Some(BackendMessage::Authentication(AuthenticationRequest::Sasl(mechanisms))) => {
                assert_eq!(mechanisms, ["SCRAM-SHA-256"]);
                let mut answer = BytesMut::from(&b"SCRAM-SHA-256\0"[..]);
                answer.extend_from_slice(&(scram.message().len() as u32).to_be_bytes());
                answer.extend_from_slice(scram.message());
                client.say(&FrontendMessage::Authentication(answer.freeze())).await;
            }
            Some(BackendMessage::Authentication(AuthenticationRequest::SaslContinue(data))) => {
                scram.update(&data).unwrap();
                client.say(&FrontendMessage::Authentication(scram.message().to_vec().into())).await;
                if server.await.unwrap().is_ok() {
                    return Ok(());
                }
                return Err(client.hear_error().await);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn scram_lets_in_who_knows_the_password_and_nobody_else() {
    let config = || with_passwords("alice:secret\nbob:other\n");
    assert_eq!(scram_login(config(), "alice", "secret").await, Ok(()));
    for (user, password) in [("alice", "other"), ("bob", "secret"), ("mallory", "secret"), ("mallory", "")] {
        let error = scram_login(config(), user, password).await.unwrap_err();
        assert_eq!(error.code, SqlState::INVALID_PASSWORD, "{user}: {error}");
        assert_eq!(error.message, format!("password authentication failed for user \"{user}\""));
    }
}

#[tokio::test]
async fn a_message_that_is_no_password_is_refused_before_it_is_read() {
    // A query, and a password longer than any: neither is waited for.
    for bytes in [&b"Q\0\0\0\x10"[..], &[b'p', 0x3f, 0, 0, 0]] {
        let (mut client, server) = pair();
        let config = with_passwords("alice:secret\n");
        let server = tokio::spawn(async move { authenticate(server, &config).await.map(|_| ()) });
        client.first(&replication_startup()).await;
        assert!(matches!(client.hear().await, Some(BackendMessage::Authentication(_))));
        client.stream.write_all(bytes).await.unwrap();
        assert!(matches!(server.await.unwrap(), Err(HandshakeError::Refused(_))));
        assert_eq!(client.hear_error().await.code, SqlState::PROTOCOL_VIOLATION);
    }
}

#[tokio::test]
async fn an_oversized_command_is_refused_before_it_is_read() {
    let (mut client, server) = pair();
    client.first(&replication_startup()).await;
    let authenticated = authenticate(server, &trust()).await.unwrap();
    let welcome = Welcome { parameters: Vec::new(), process_id: 1, secret_key: [0; 4] };
    let mut connection = authenticated.welcome(&welcome).await.unwrap();
    client.stream.write_all(b"Q\x3f\0\0\0SHOW").await.unwrap();
    let error = connection.receive().await.unwrap_err();
    assert!(matches!(error, ReceiveError::Frame(_)), "{error}");
}

#[test]
fn the_replication_parameter_is_read_as_postgresql_reads_booleans() {
    for (value, mode) in [
        (None, ReplicationMode::Off),
        (Some("database"), ReplicationMode::Logical),
        (Some("TRUE"), ReplicationMode::Physical),
        (Some("t"), ReplicationMode::Physical),
        (Some("y"), ReplicationMode::Physical),
        (Some("on"), ReplicationMode::Physical),
        (Some("1"), ReplicationMode::Physical),
        (Some("off"), ReplicationMode::Off),
        (Some("no"), ReplicationMode::Off),
        (Some("0"), ReplicationMode::Off),
    ] {
        assert_eq!(startup::replication_mode(value), Ok(mode), "{value:?}");
    }
    for value in ["", "o", "2", "databases", "truth"] {
        let error = startup::replication_mode(Some(value)).unwrap_err();
        assert_eq!(error.code, SqlState::INVALID_PARAMETER_VALUE, "{value:?}");
    }
}

mod encrypted {
    //! With a certificate, and rustls as the client.

    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;
    use crate::tls::server_tls;

    fn certificate() -> (ServerConfig, RootCertStore) {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (dir.path().join("server.crt"), dir.path().join("server.key"));
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        (ServerConfig { tls: Some(server_tls(&cert, &key).unwrap()), ..trust() }, roots)
    }

    async fn connect(
        stream: DuplexStream,
        roots: RootCertStore,
        alpn: &[&[u8]],
    ) -> io::Result<TlsStream<DuplexStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn log_in(stream: &mut TlsStream<DuplexStream>) {
        let mut bytes = BytesMut::new();
        replication_startup().encode(&mut bytes);
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_asks_for_tls_gets_it() {
        for alpn in [&[][..], &[&b"postgresql"[..]]] {
            let (config, roots) = certificate();
            let (mut client, server) = pair();
            let server = tokio::spawn(async move {
                authenticate(server, &ServerConfig { require_tls: true, ..config }).await
            });
            client.first(&FirstPacket::SslRequest).await;
            assert_eq!(client.byte().await, b'S');
            let mut stream = connect(client.stream, roots, alpn).await.unwrap();
            log_in(&mut stream).await;
            assert!(server.await.unwrap().unwrap().is_encrypted());
        }
    }

    #[tokio::test]
    async fn direct_tls_must_say_that_it_means_postgresql() {
        for (alpn, accepted) in [(&[&b"postgresql"[..]][..], true), (&[], false), (&[&b"h2"[..]], false)] {
            let (config, roots) = certificate();
            let (client, server) = pair();
            let server = tokio::spawn(async move { authenticate(server, &config).await.map(|_| ()) });
            let mut stream = connect(client.stream, roots, alpn).await;
            if let (Ok(stream), true) = (&mut stream, accepted) {
                log_in(stream).await;
            }
            assert_eq!(server.await.unwrap().is_ok(), accepted, "{alpn:?}");
        }
    }

    #[tokio::test]
    async fn plain_text_after_a_request_for_tls_does_not_get_in() {
        let (config, _) = certificate();
        let (mut client, server) = pair();
        let server = tokio::spawn(async move { authenticate(server, &config).await.map(|_| ()) });
        client.first(&FirstPacket::SslRequest).await;
        client.first(&replication_startup()).await;
        assert_eq!(client.byte().await, b'S');
        assert!(matches!(server.await.unwrap(), Err(HandshakeError::Tls(_))));
    }
}
