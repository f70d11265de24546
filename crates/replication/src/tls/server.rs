//! What a server shows its clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::sync::Mutex;
use rustls::ServerConfig;

use super::client::{certified, read_certificates, read_key};
use super::end_point_hash::end_point_hash;
use super::{ALPN, TlsError, provider};

/// A server's TLS configuration, ready for use. Cheap to clone; all clones are read again together.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<Files>);

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// Replaced as a whole.
    now: Mutex<Arc<Certified>>,
}

/// What clients are shown at the moment.
#[derive(Debug)]
pub struct Certified {
    /// For `tokio_rustls::TlsAcceptor`. Clients that name protocols by ALPN must name [`ALPN`].
    pub config: Arc<ServerConfig>,
    /// The tls-server-end-point hash of the certificate; `None` if its signature defines none, and then
    /// SCRAM-SHA-256-PLUS cannot be offered.
    pub end_point: Option<Vec<u8>>,
}

impl ServerTls {
    /// What clients are shown from now on, as long as one is served.
    pub fn now(&self) -> Arc<Certified> {
        Arc::clone(&self.0.now.lock())
    }

    /// The same, and not read again any more: for a connection, which goes on with what it was shown at first.
    pub(crate) fn frozen(&self) -> Self {
        let Files { certificate, key, .. } = &*self.0;
        let now = Mutex::new(self.now());
        Self(Arc::new(Files { certificate: certificate.clone(), key: key.clone(), now }))
    }

    #[cfg(test)]
    pub(crate) fn with(&self, config: ServerConfig) -> Self {
        let other = self.frozen();
        let end_point = self.now().end_point.clone();
        *other.0.now.lock() = Arc::new(Certified { config: Arc::new(config), end_point });
        other
    }

    /// Reads the certificate and the key again, for this and all its clones.
    ///
    /// # Errors
    /// As [`server_tls`]; then everything stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read(&self.0.certificate, &self.0.key)?);
        *self.0.now.lock() = new;
        Ok(())
    }
}

/// Reads a certificate chain and its key, both PEM. The key must not be readable by others.
pub fn server_tls(certificate: &Path, key: &Path) -> Result<ServerTls, TlsError> {
    let now = Mutex::new(Arc::new(read(certificate, key)?));
    Ok(ServerTls(Arc::new(Files { certificate: certificate.to_owned(), key: key.to_owned(), now })))
}

fn read(certificate: &Path, key: &Path) -> Result<Certified, TlsError> {
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
    Ok(Certified { config: Arc::new(config), end_point })
}
