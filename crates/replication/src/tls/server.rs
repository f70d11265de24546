//! What a server shows its clients.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;

use super::client::{certified, read_certificates, read_key};
use super::end_point_hash::end_point_hash;
use super::{ALPN, TlsError, provider};

/// A server's TLS configuration, ready for use.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// For `tokio_rustls::TlsAcceptor`. Clients that name protocols by ALPN must name [`ALPN`].
    pub config: Arc<ServerConfig>,
    /// The tls-server-end-point hash of the certificate; `None` if its signature defines none, and then
    /// SCRAM-SHA-256-PLUS cannot be offered.
    pub end_point: Option<Vec<u8>>,
}

/// Reads a certificate chain and its key, both PEM. The key must not be readable by others.
pub fn server_tls(certificate: &Path, key: &Path) -> Result<ServerTls, TlsError> {
    let chain = read_certificates("certificate", certificate)?;
    let private_key = read_key(key)?;
    let end_point = chain.first().and_then(|certificate| end_point_hash(certificate));
    let pair = certified(chain, private_key).map_err(|error| {
        let (certificate, key) = (certificate.display(), key.display());
        TlsError::Settings(format!("cannot use certificate \"{certificate}\" with key \"{key}\": {error}"))
    })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| TlsError::Settings(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(pair));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(ServerTls { config: Arc::new(config), end_point })
}
