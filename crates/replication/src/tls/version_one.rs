//! Certificates of X.509 version 1, which `openssl x509 -req` makes unless told otherwise, PostgreSQL's own manual
//! included, and which libpq takes. webpki reads version 3 only, so for these the chain and the handshake's signature
//! are checked here; with the same cryptography, and only as far as such certificates go.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use super::certificate::Certificate;

type Algorithms = [&'static dyn SignatureVerificationAlgorithm];

/// The longest chain followed.
const LONGEST_CHAIN: usize = 6;
/// The most certificates of a server that are looked at.
const MOST_INTERMEDIATES: usize = 8;

/// Whether `now` is within the certificate's validity.
pub(super) fn check_validity(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let now = std::time::Duration::from_secs(now.as_secs());
    if certificate.is_valid_at(now) {
        Ok(())
    } else if i64::try_from(now.as_secs()).is_ok_and(|now| now < certificate.validity.0) {
        Err(CertificateError::NotValidYet)
    } else {
        Err(CertificateError::Expired)
    }
}

/// Whether a chain leads from `shown` to one of `roots`. An intermediate must be an authority without constraints
/// that nobody here would check.
pub(super) fn verify_chain(
    shown: &Certificate<'_>,
    roots: &[CertificateDer<'_>],
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
    algorithms: &Algorithms,
) -> Result<(), CertificateError> {
    check_validity(shown, now)?;
    let usable = |certificate: &Certificate<'_>| check_validity(certificate, now).is_ok();
    let roots: Vec<_> = roots.iter().filter_map(|root| Certificate::parse(root)).filter(usable).collect();
    let between: Vec<_> = intermediates
        .iter()
        .take(MOST_INTERMEDIATES)
        .filter_map(|certificate| Certificate::parse(certificate))
        .filter(|certificate| certificate.is_plain_authority && usable(certificate))
        .collect();
    let mut current = shown;
    for _ in 0..LONGEST_CHAIN {
        let signed_current = |issuer: &&Certificate<'_>| is_signed_by(current, issuer, algorithms);
        if roots.iter().any(|root| signed_current(&root)) {
            return Ok(());
        }
        let Some(next) = between.iter().find(signed_current) else { break };
        current = next;
    }
    Err(CertificateError::UnknownIssuer)
}

fn is_signed_by(certificate: &Certificate<'_>, issuer: &Certificate<'_>, algorithms: &Algorithms) -> bool {
    certificate.issuer == issuer.subject
        && algorithms.iter().any(|algorithm| {
            algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm
                && algorithm.public_key_alg_id().as_ref() == issuer.key_algorithm
                && algorithm
                    .verify_signature(issuer.key, certificate.to_be_signed, certificate.signature)
                    .is_ok()
        })
}

/// Whether the handshake was signed with the certificate's key. TLS 1.3 leaves no choice of algorithm to a scheme, and
/// has no PKCS #1 signatures.
pub(super) fn verify_handshake(
    certificate: &Certificate<'_>,
    message: &[u8],
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
    is_tls13: bool,
) -> Result<HandshakeSignatureValid, Error> {
    use SignatureScheme as Scheme;
    let is_pkcs1 = matches!(
        signed.scheme,
        Scheme::RSA_PKCS1_SHA256 | Scheme::RSA_PKCS1_SHA384 | Scheme::RSA_PKCS1_SHA512
    );
    if is_tls13 && is_pkcs1 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let (_, candidates) = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let tried = if is_tls13 { 1 } else { candidates.len() };
    candidates
        .iter()
        .take(tried)
        .any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == certificate.key_algorithm
                && algorithm.verify_signature(certificate.key, message, signed.signature()).is_ok()
        })
        .then(HandshakeSignatureValid::assertion)
        .ok_or_else(|| CertificateError::BadSignature.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;

    const NOW: UnixTime = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));

    /// Made by PostgreSQL's manual, "Creating Certificates", with `-days 36500`.
    const ROOT: &str = include_str!("testdata/root.crt");
    const SERVER: &str = include_str!("testdata/server.crt");
    const OTHER_ROOT: &str = include_str!("testdata/other_root.crt");

    fn der(pem: &str) -> CertificateDer<'static> {
        use rustls::pki_types::pem::PemObject as _;
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    fn verify(shown: &CertificateDer<'_>, root: &str) -> Result<(), CertificateError> {
        let parsed = Certificate::parse(shown).unwrap();
        let algorithms = provider().signature_verification_algorithms.all;
        verify_chain(&parsed, &[der(root)], &[der(OTHER_ROOT)], NOW, algorithms)
    }

    #[test]
    fn the_authority_that_signed_is_found() {
        let server = der(SERVER);
        let parsed = Certificate::parse(&server).unwrap();
        assert!(parsed.is_version_1);
        assert_eq!(parsed.common_name.as_deref(), Some("localhost"));
        assert_eq!(verify(&server, ROOT), Ok(()));
        assert_eq!(verify(&server, OTHER_ROOT), Err(CertificateError::UnknownIssuer));
    }

    #[test]
    fn a_changed_certificate_is_not_signed_by_anybody() {
        let mut bytes = der(SERVER).to_vec();
        let at = bytes.windows(9).position(|name| name == b"localhost").unwrap();
        bytes[at] = b'L';
        assert_eq!(verify(&bytes.into(), ROOT), Err(CertificateError::UnknownIssuer));
    }

    #[test]
    fn an_expired_certificate_is_refused() {
        let server = der(SERVER);
        let parsed = Certificate::parse(&server).unwrap();
        let later = UnixTime::since_unix_epoch(std::time::Duration::from_secs(9_000_000_000));
        assert_eq!(check_validity(&parsed, later), Err(CertificateError::Expired));
    }
}
