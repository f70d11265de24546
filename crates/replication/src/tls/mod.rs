//! TLS: libpq's rules for a client, a certificate and key for a server, and channel binding for both.
//!
//! rustls does the protocol. What is own here is what PostgreSQL does differently from a browser: verify-ca without a
//! host name, a certificate that is its own authority, host names in the subject's CN, and tls-server-end-point.

mod certificate;
mod client;
mod end_point_hash;
mod negotiate;
mod server;
mod verify;
mod version_one;

use std::path::PathBuf;

pub use client::connect;
pub use end_point_hash::end_point_hash;
pub(crate) use negotiate::request;
pub use server::{Certified, ServerTls, server_tls};

/// The protocol's name in ALPN, required for direct TLS.
pub const ALPN: &[u8] = b"postgresql";

/// Why TLS is not to be had. The texts follow libpq's.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server answered `N`.
    #[error("server does not support SSL, but SSL was required")]
    NotSupported,
    /// The server answered neither `S` nor `N`.
    #[error("received invalid response to SSL negotiation: {}", .0.escape_ascii())]
    InvalidResponse(u8),
    /// The server answered with an error, which nobody vouches for.
    #[error("server sent an error response during SSL exchange")]
    ErrorResponse,
    /// The mode verifies, and there is nothing to verify by.
    #[error(
        "root certificate file \"{}\" does not exist; either provide the file, use the system's trusted roots with \
         sslrootcert=system, or change sslmode to disable server certificate verification", .0.display()
    )]
    NoRootFile(PathBuf),
    /// The mode verifies, and there is no home directory to look for a root certificate in.
    #[error(
        "could not get home directory to locate root certificate file; either provide the file, use the system's \
         trusted roots with sslrootcert=system, or change sslmode to disable server certificate verification"
    )]
    NoHome,
    /// A file cannot be read, or holds no certificate or key.
    #[error("could not read {what} file \"{}\": {problem}", path.display())]
    File {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The private key can be read by others.
    #[error(
        "private key file \"{}\" has group or world access; file must have permissions u=rw (0600) or less if owned \
         by the current user, or permissions u=rw,g=r (0640) or less if owned by root", .0.display()
    )]
    KeyPermissions(PathBuf),
    /// The operating system has no trusted roots.
    #[error("could not load system root certificate paths: {0}")]
    NoSystemRoots(String),
    /// Settings that contradict each other, or that rustls cannot do.
    #[error("{0}")]
    Settings(String),
    /// The host name is not a name that a certificate could be for.
    #[error("host name must be specified for a verified SSL connection")]
    NoHostName,
    /// The server's certificate is for other hosts.
    #[error("server certificate for {presented} does not match host name \"{host}\"")]
    WrongHost {
        /// The names in the certificate.
        presented: String,
        /// The name wanted.
        host: String,
    },
    /// Nobody who is trusted vouches for the server.
    #[error("SSL error: certificate verify failed: {0}")]
    NotTrusted(String),
    /// The handshake failed otherwise.
    #[error("SSL error: {0}")]
    Handshake(String),
    /// The server closed the connection during the handshake.
    #[error("SSL connection has been closed unexpectedly")]
    Closed,
}

/// Fills `bytes` from the system's random numbers.
pub fn random(bytes: &mut [u8]) -> Result<(), RandomError> {
    provider().secure_random.fill(bytes).map_err(|_| RandomError)
}

/// The system has no random numbers.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("could not generate random numbers")]
pub struct RandomError;

/// The cryptography used throughout.
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<std::sync::Arc<rustls::crypto::CryptoProvider>> =
        std::sync::OnceLock::new();
    PROVIDER.get_or_init(|| rustls::crypto::ring::default_provider().into()).clone()
}

#[cfg(test)]
mod tests;
