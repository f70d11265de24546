//! Our client against rustls's server, in one process.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::conninfo::{RootCert, SslMode, SslNegotiation, TlsOptions, TlsVersion};

/// Files of a certificate authority and of servers it vouches for.
struct Files {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.path().join("root.crt"), authority.pem()).unwrap();
        Self { directory, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn store(&self, certificate: &str, key: &KeyPair) -> ServerTls {
        use std::os::unix::fs::PermissionsExt;
        let (certificate_file, key_file) = (self.path("server.crt"), self.path("server.key"));
        std::fs::write(&certificate_file, certificate).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key_file, PermissionsExt::from_mode(0o600)).unwrap();
        server_tls(&certificate_file, &key_file).unwrap()
    }

    /// A server for `names`, and with this CN.
    fn server(&self, names: &[&str], common_name: &str) -> ServerTls {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        self.store(&params.signed_by(&key, &self.authority).unwrap().pem(), &key)
    }

    /// A server whose certificate nobody else signed, as `openssl req -x509` makes them; it becomes the trusted root.
    fn self_signed(&self, years: (i32, i32)) -> ServerTls {
        let mut params = CertificateParams::new(vec!["db".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.path("root.crt"), certificate.pem()).unwrap();
        self.store(&certificate.pem(), &key)
    }

    fn options(&self, mode: SslMode) -> TlsOptions {
        TlsOptions {
            mode,
            negotiation: SslNegotiation::Postgres,
            root_cert: RootCert::File(self.path("root.crt")),
            cert: None,
            key: None,
            cert_is_explicit: false,
            sni: true,
            min_version: TlsVersion::V1_2,
            max_version: None,
        }
    }
}

/// Shakes hands and exchanges a byte; gives whether both sides know the same channel.
async fn handshake(server: &ServerTls, options: &TlsOptions, host: &str) -> Result<bool, TlsError> {
    let (ours, theirs) = tokio::io::duplex(4096);
    let acceptor = TlsAcceptor::from(server.now().config.clone());
    let echo = tokio::spawn(async move {
        let mut stream = acceptor.accept(theirs).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.flush().await
    });
    let (mut stream, end_point) = connect(ours, options, host).await?;
    stream.write_u8(7).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 7);
    echo.await.unwrap().unwrap();
    Ok(end_point.is_some() && end_point == server.now().end_point)
}

fn complaint(result: Result<bool, TlsError>) -> String {
    match result {
        Ok(_) => panic!("the server is trusted"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_server_that_the_authority_vouches_for_is_trusted() {
    let files = Files::new();
    let server = files.server(&["db", "127.0.0.1", "*.example.com"], "ignored");
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for (mode, host) in [
            (SslMode::VerifyFull, "db"),
            (SslMode::VerifyFull, "127.0.0.1"),
            (SslMode::VerifyFull, "a.example.com"),
            (SslMode::VerifyCa, "elsewhere"),
            (SslMode::VerifyCa, "not a name at all"),
            (SslMode::Require, ""),
        ] {
            let options =
                TlsOptions { min_version: version, max_version: Some(version), ..files.options(mode) };
            assert!(handshake(&server, &options, host).await.unwrap(), "{mode:?} {host}");
        }
    }
}

#[tokio::test]
async fn another_host_name_is_refused_and_both_are_named() {
    let files = Files::new();
    let server = files.server(&["db", "other"], "elsewhere");
    for host in ["elsewhere", "10.0.0.1"] {
        let error = complaint(handshake(&server, &files.options(SslMode::VerifyFull), host).await);
        let expected =
            format!("server certificate for \"db\", \"other\" does not match host name \"{host}\"");
        assert_eq!(error, expected);
    }
}

#[tokio::test]
async fn the_common_name_counts_where_there_is_no_other() {
    let files = Files::new();
    let server = files.server(&[], "db");
    assert!(handshake(&server, &files.options(SslMode::VerifyFull), "DB").await.unwrap());
    let error = complaint(handshake(&server, &files.options(SslMode::VerifyFull), "other").await);
    assert_eq!(error, "server certificate for \"db\" does not match host name \"other\"");
}

#[tokio::test]
async fn an_unknown_authority_is_refused_where_roots_are_at_hand() {
    let (files, others) = (Files::new(), Files::new());
    let server = others.server(&["db"], "db");
    for mode in [SslMode::VerifyFull, SslMode::VerifyCa, SslMode::Require, SslMode::Prefer] {
        let error = complaint(handshake(&server, &files.options(mode), "db").await);
        assert!(error.starts_with("SSL error: certificate verify failed"), "{error}");
    }
    let without =
        TlsOptions { root_cert: RootCert::File("/nowhere".into()), ..files.options(SslMode::Require) };
    assert!(handshake(&server, &without, "db").await.unwrap());
}

#[tokio::test]
async fn verification_without_roots_is_refused() {
    let files = Files::new();
    let server = files.server(&["db"], "db");
    let options =
        TlsOptions { root_cert: RootCert::File("/nowhere".into()), ..files.options(SslMode::VerifyCa) };
    let error = complaint(handshake(&server, &options, "db").await);
    assert!(error.starts_with("root certificate file \"/nowhere\" does not exist"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_is_itself_the_root_is_trusted_while_it_is_valid() {
    let files = Files::new();
    let server = files.self_signed((2020, 4000));
    assert!(handshake(&server, &files.options(SslMode::VerifyFull), "db").await.unwrap());
    assert!(handshake(&server, &files.options(SslMode::VerifyCa), "x").await.unwrap());
    let error = complaint(handshake(&server, &files.options(SslMode::VerifyFull), "x").await);
    assert_eq!(error, "server certificate for \"db\" does not match host name \"x\"");
    let expired = files.self_signed((2020, 2021));
    let error = complaint(handshake(&expired, &files.options(SslMode::VerifyCa), "db").await);
    assert!(error.contains("expired"), "{error}");
}

#[tokio::test]
async fn direct_tls_insists_on_the_protocols_name() {
    let files = Files::new();
    let server = files.server(&["db"], "db");
    let direct = TlsOptions { negotiation: SslNegotiation::Direct, ..files.options(SslMode::Require) };
    assert!(handshake(&server, &direct, "db").await.unwrap());
    let mut config = (*server.now().config).clone();
    config.alpn_protocols.clear();
    let server = server.with(config);
    let error = complaint(handshake(&server, &direct, "db").await);
    assert_eq!(error, "direct SSL connection was established without ALPN protocol negotiation extension");
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_is_one_clear_error() {
    let files = Files::new();
    let (ours, mut theirs) = tokio::io::duplex(4096);
    theirs.write_all(b"E\0\0\0\x10SFATAL\0\0 and whatever else").await.unwrap();
    let error = connect(ours, &files.options(SslMode::Require), "db").await.map(drop).unwrap_err();
    assert!(matches!(error, TlsError::Handshake(_)), "{error}");
}

#[test]
fn files_that_are_no_good_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new();
    files.server(&["db"], "db");
    let (certificate, key) = (files.path("server.crt"), files.path("server.key"));
    let complaint = |certificate: &Path, key: &Path| server_tls(certificate, key).unwrap_err().to_string();
    assert!(
        complaint(Path::new("/nowhere"), &key).starts_with("could not read certificate file \"/nowhere\"")
    );
    assert!(complaint(&key, &key).contains("it holds no certificate"));
    assert!(complaint(&certificate, &certificate).contains("private key"));
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(complaint(&certificate, &key).contains("has group or world access"));
}
