//! Whom a client believes. Source: fe-secure-openssl.c, fe-secure-common.c.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::Certificate;
use super::version_one;

/// How much is verified.
#[derive(Debug)]
pub(super) enum Trust {
    /// Nothing but that the server owns the key of the certificate it shows, which channel binding builds on.
    Anyone,
    /// That a trusted authority vouches for it.
    Authority(Roots),
    /// And that it does so for this host name or address.
    Host(Roots, String),
}

/// Trusted certificates.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) anchors: RootCertStore,
    /// The same, whole: a server may show one of them itself.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// libpq's idea of a good certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) trust: Trust,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Anyone => (),
            Trust::Authority(roots) => self.verify_chain(roots, shown, intermediates, now)?,
            Trust::Host(roots, host) => {
                self.verify_chain(roots, shown, intermediates, now)?;
                verify_host(shown, host)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match version_1(certificate) {
            Some(old) => version_one::verify_handshake(&old, message, signature, algorithms, false),
            None => verify_tls12_signature(message, certificate, signature, algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match version_1(certificate) {
            Some(old) => version_one::verify_handshake(&old, message, signature, algorithms, true),
            None => verify_tls13_signature(message, certificate, signature, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Verifier {
    /// A certificate that is itself trusted needs nobody to vouch for it; webpki would refuse it as an authority
    /// that poses as a server, but it is what `openssl req -x509` makes and PostgreSQL's users have.
    fn verify_chain(
        &self,
        roots: &Roots,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        if roots.certificates.iter().any(|root| root == shown) {
            let certificate = Certificate::parse(shown).ok_or(CertificateError::BadEncoding)?;
            return version_one::check_validity(&certificate, now).map_err(Error::from);
        }
        if let Some(old) = version_1(shown) {
            let verified =
                version_one::verify_chain(&old, &roots.certificates, intermediates, now, algorithms);
            return verified.map_err(Error::from);
        }
        let parsed = ParsedCertificate::try_from(shown)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots.anchors, intermediates, now, algorithms)
    }
}

/// The certificate taken apart, if it is of version 1.
fn version_1<'a>(certificate: &'a CertificateDer<'_>) -> Option<Certificate<'a>> {
    Certificate::parse(certificate).filter(|certificate| certificate.is_version_1)
}

/// Alternative names decide; without any, the subject's common name does, as for libpq.
fn verify_host(shown: &CertificateDer<'_>, host: &str) -> Result<(), Error> {
    let certificate = Certificate::parse(shown).ok_or(CertificateError::BadEncoding)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| CertificateError::NotValidForName)?;
    let refused = if certificate.is_version_1 {
        CertificateError::NotValidForName.into()
    } else {
        match verify_server_name(&ParsedCertificate::try_from(shown)?, &name) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        }
    };
    match certificate.common_name {
        Some(_) if certificate.has_alternative_names => Err(refused),
        Some(common_name) if name_matches(&common_name, host) => Ok(()),
        Some(common_name) => Err(CertificateError::NotValidForNameContext {
            expected: name,
            presented: vec![format!("\"{common_name}\"")],
        }
        .into()),
        None => Err(refused),
    }
}

/// `*.example.com` stands for one label; everything else for itself, whatever its case.
fn name_matches(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    match (pattern.strip_prefix('*'), host.find('.')) {
        (Some(suffix), Some(dot)) => {
            suffix.len() > 1
                && suffix.starts_with('.')
                && dot > 0
                && host.get(dot..).is_some_and(|rest| rest.eq_ignore_ascii_case(suffix))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (pattern, host, matches) in [
            ("db.example.com", "DB.example.COM", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*", "db", false),
            ("*.", "db.", false),
        ] {
            assert_eq!(name_matches(pattern, host), matches, "{pattern} {host}");
        }
    }
}
