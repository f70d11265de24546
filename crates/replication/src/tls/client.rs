//! A client's handshake.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, Error as RustlsError, InconsistentKeys, RootCertStore,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::end_point_hash::end_point_hash;
use super::verify::{Roots, Trust, Verifier};
use super::{ALPN, TlsError, provider};
use crate::conninfo::{RootCert, SslMode, SslNegotiation, TlsOptions, TlsVersion};

/// Does the handshake on a stream whose server expects it. `host` is the name or address that the user gave. Gives
/// the tls-server-end-point hash too, if the server's certificate defines one.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    options: &TlsOptions,
    host: &str,
) -> Result<(TlsStream<S>, Option<Vec<u8>>), TlsError> {
    let config = config(options, host)?;
    // Without a usable name an address takes its place, which is not sent to anybody.
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = handshake.await.map_err(|error| handshake_error(&error, host))?;
    let connection = stream.get_ref().1;
    if options.negotiation == SslNegotiation::Direct && connection.alpn_protocol() != Some(ALPN) {
        let text = "direct SSL connection was established without ALPN protocol negotiation extension";
        return Err(TlsError::Settings(text.to_owned()));
    }
    let end_point = connection.peer_certificates().and_then(|chain| end_point_hash(chain.first()?));
    Ok((stream, end_point))
}

fn config(options: &TlsOptions, host: &str) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Verifier { trust: trust(options, host)?, provider: provider.clone() };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(options)?)
        .map_err(|error| TlsError::Settings(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client_certificate(options)? {
        Some((chain, key)) => builder
            .with_client_cert_resolver(Arc::new(certified(chain, key).map_err(|error| {
                TlsError::Settings(format!("cannot use the client certificate: {error}"))
            })?)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = options.sni;
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn versions(options: &TlsOptions) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let allowed = |version: TlsVersion| {
        version >= options.min_version && options.max_version.is_none_or(|newest| version <= newest)
    };
    let mut versions = Vec::new();
    if allowed(TlsVersion::V1_3) {
        versions.push(&rustls::version::TLS13);
    }
    if allowed(TlsVersion::V1_2) {
        versions.push(&rustls::version::TLS12);
    }
    if versions.is_empty() {
        Err(TlsError::Settings("invalid SSL protocol version range".to_owned()))
    } else {
        Ok(versions)
    }
}

/// `require` with a root certificate file at hand verifies as `verify-ca` does.
fn trust(options: &TlsOptions, host: &str) -> Result<Trust, TlsError> {
    let verifies = options.mode >= SslMode::VerifyCa;
    let roots = match &options.root_cert {
        RootCert::System => system_roots()?,
        RootCert::File(path) if path.exists() => file_roots(path)?,
        RootCert::File(path) if verifies => return Err(TlsError::NoRootFile(path.clone())),
        RootCert::None if verifies => return Err(TlsError::NoHome),
        RootCert::File(_) | RootCert::None => return Ok(Trust::Anyone),
    };
    match options.mode {
        SslMode::VerifyFull if host.is_empty() => Err(TlsError::NoHostName),
        SslMode::VerifyFull => Ok(Trust::Host(roots, host.to_owned())),
        SslMode::Require | SslMode::VerifyCa => Ok(Trust::Authority(roots)),
        // libpq verifies in these too if the file is there, and gives up TLS if that fails.
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => Ok(Trust::Authority(roots)),
    }
}

fn file_roots(path: &Path) -> Result<Roots, TlsError> {
    let certificates = read_certificates("root certificate", path)?;
    let mut anchors = RootCertStore::empty();
    anchors.add_parsable_certificates(certificates.iter().cloned());
    Ok(Roots { anchors, certificates })
}

fn system_roots() -> Result<Roots, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut anchors = RootCertStore::empty();
    anchors.add_parsable_certificates(found.certs.iter().cloned());
    if anchors.is_empty() {
        let problem = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(TlsError::NoSystemRoots(problem));
    }
    Ok(Roots { anchors, certificates: found.certs })
}

/// The client's certificate chain and key, if it has any.
fn client_certificate(
    options: &TlsOptions,
) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsError> {
    let Some(path) = &options.cert else { return Ok(None) };
    if !options.cert_is_explicit && !path.exists() {
        return Ok(None);
    }
    let chain = read_certificates("certificate", path)?;
    let key = options.key.clone().unwrap_or_else(|| PathBuf::from("postgresql.key"));
    if !key.exists() {
        let problem = format!("certificate present, but not private key file \"{}\"", key.display());
        return Err(TlsError::Settings(problem));
    }
    Ok(Some((chain, read_key(&key)?)))
}

pub(super) fn read_certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |problem: String| TlsError::File { what, path: path.to_owned(), problem };
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    match certificates {
        Ok(none) if none.is_empty() => Err(failed("it holds no certificate".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(failed(pem_problem(error))),
    }
}

/// Reads a private key, which others must not be able to read too.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let failed = |problem: String| TlsError::File { what: "private key", path: path.to_owned(), problem };
    let metadata = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.is_file() && metadata.mode() & forbidden != 0 {
        return Err(TlsError::KeyPermissions(path.to_owned()));
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            failed("it holds no unencrypted private key (encrypted keys are not supported)".to_owned())
        }
        other => failed(pem_problem(other)),
    })
}

/// Pairs a chain with its key. That they belong together is only checked where the chain's version allows it.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<SingleCertAndKey, RustlsError> {
    let certified = CertifiedKey::new(chain, provider().key_provider.load_private_key(key)?);
    match certified.keys_match() {
        Err(error @ RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(error),
        _ => Ok(SingleCertAndKey::from(certified)),
    }
}

fn pem_problem(error: rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// Says what failed in libpq's terms.
fn handshake_error(error: &io::Error, host: &str) -> TlsError {
    let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                TlsError::Closed
            }
            _ => TlsError::Handshake(error.to_string()),
        };
    };
    let host = host.to_owned();
    match cause {
        RustlsError::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => {
            let names: Vec<String> = presented.iter().map(|name| bare_name(name)).collect();
            let presented = if names.is_empty() { "no host name".to_owned() } else { names.join(", ") };
            TlsError::WrongHost { presented, host }
        }
        RustlsError::InvalidCertificate(CertificateError::NotValidForName) => {
            TlsError::WrongHost { presented: "another host".to_owned(), host }
        }
        RustlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            TlsError::NotTrusted("no trusted certificate authority vouches for the server".to_owned())
        }
        RustlsError::InvalidCertificate(reason) => TlsError::NotTrusted(match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not yet valid".to_owned()
            }
            other => other.to_string(),
        }),
        RustlsError::AlertReceived(alert) => TlsError::Handshake(format!("the server sent alert {alert:?}")),
        other => TlsError::Handshake(other.to_string()),
    }
}

/// `DnsName("db")` as `"db"`.
fn bare_name(name: &str) -> String {
    match (name.find('('), name.strip_suffix(')')) {
        (Some(open), Some(inner)) => inner.get(open + 1..).unwrap_or(name).to_owned(),
        _ => name.to_owned(),
    }
}
