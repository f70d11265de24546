//! The hash by which a channel is bound to the server's certificate.

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::certificate::{Certificate, Element, OBJECT_ID, SEQUENCE, expect};

const HASH_PARAMETER: u8 = 0xa0;

/// The tls-server-end-point hash of a certificate (RFC 5929): by its signature's hash function, SHA-256 in place of
/// MD5 and SHA-1. `None` if the signature algorithm has no single hash function (Ed25519) or is unknown.
pub fn end_point_hash(der: &[u8]) -> Option<Vec<u8>> {
    let algorithm = expect(Certificate::parse(der)?.signature_algorithm, OBJECT_ID)?;
    Some(match hash_of(&algorithm)? {
        Hash::Sha256 => Sha256::digest(der).to_vec(),
        Hash::Sha384 => Sha384::digest(der).to_vec(),
        Hash::Sha512 => Sha512::digest(der).to_vec(),
    })
}

enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

fn hash_of(algorithm: &Element<'_>) -> Option<Hash> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
    if algorithm.content == ECDSA_SHA1 {
        return Some(Hash::Sha256);
    }
    let (&last, family) = algorithm.content.split_last()?;
    match (family, last) {
        // md5WithRSAEncryption, sha1WithRSAEncryption, sha256WithRSAEncryption
        (RSA, 4 | 5 | 11) | (ECDSA_SHA2, 2) => Some(Hash::Sha256),
        (RSA, 12) | (ECDSA_SHA2, 3) => Some(Hash::Sha384),
        (RSA, 13) | (ECDSA_SHA2, 4) => Some(Hash::Sha512),
        (RSA, 10) => pss_hash(algorithm.rest),
        _ => None,
    }
}

/// RSASSA-PSS names its hash in its parameters; SHA-1 if it does not.
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    const NIST_HASHES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
    let parameters = expect(parameters, SEQUENCE)?;
    let Some(hash) = expect(parameters.content, HASH_PARAMETER) else { return Some(Hash::Sha256) };
    let object = expect(expect(hash.content, SEQUENCE)?.content, OBJECT_ID)?;
    match object.content.strip_prefix(NIST_HASHES)? {
        [1] => Some(Hash::Sha256),
        [2] => Some(Hash::Sha384),
        [3] => Some(Hash::Sha512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::certificate::tests::der;
    use super::*;

    #[test]
    fn the_hash_follows_the_signature() {
        let p256 = der(&rcgen::PKCS_ECDSA_P256_SHA256, &[]);
        assert_eq!(end_point_hash(&p256).unwrap(), Sha256::digest(&p256).to_vec());
        let p384 = der(&rcgen::PKCS_ECDSA_P384_SHA384, &[]);
        assert_eq!(end_point_hash(&p384).unwrap(), Sha384::digest(&p384).to_vec());
        assert_eq!(end_point_hash(&der(&rcgen::PKCS_ED25519, &[])), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = end_point_hash(&bytes);
        }

        #[test]
        fn a_damaged_certificate_never_panics(at in 0_usize..400, value: u8, cut in 0_usize..600) {
            static DER: std::sync::LazyLock<Vec<u8>> =
                std::sync::LazyLock::new(|| der(&rcgen::PKCS_ECDSA_P256_SHA256, &["localhost"]));
            let mut bytes = DER.clone();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);
            let _ = end_point_hash(&bytes);
        }
    }
}
