//! The checksums a manifest can hold.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// How a file's checksum is computed (`pg_checksum_type`); CRC-32C unless asked otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum ChecksumAlgorithm {
    /// CRC-32C; its four bytes are listed in little-endian order.
    #[default]
    Crc32c,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crc32c, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name in a manifest and in `MANIFEST_CHECKSUMS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32c => "CRC32C",
            Self::Sha224 => "SHA224",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }

    /// The length of a checksum in bytes.
    pub const fn checksum_size(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// A checksum of nothing yet.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Crc32c => Hasher::Crc32c(0),
            Self::Sha224 => Hasher::Sha224(Box::default()),
            Self::Sha256 => Hasher::Sha256(Box::default()),
            Self::Sha384 => Hasher::Sha384(Box::default()),
            Self::Sha512 => Hasher::Sha512(Box::default()),
        }
    }
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not a checksum algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized checksum algorithm: \"{0}\"")]
pub struct UnknownAlgorithm(String);

impl FromStr for ChecksumAlgorithm {
    type Err = UnknownAlgorithm;

    /// Any case, as PostgreSQL takes them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

/// A file's checksum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checksum {
    algorithm: ChecksumAlgorithm,
    bytes: Box<[u8]>,
}

impl Checksum {
    /// Parses the hexadecimal digits of a manifest; `None` if they are not hexadecimal or not as many as the algorithm
    /// has.
    pub fn from_hex(algorithm: ChecksumAlgorithm, digits: &str) -> Option<Self> {
        let bytes = decode_hex(digits)?;
        (bytes.len() == algorithm.checksum_size()).then(|| Self { algorithm, bytes: bytes.into() })
    }

    /// A CRC-32C as a manifest lists it.
    pub fn crc32c(crc: u32) -> Self {
        Self { algorithm: ChecksumAlgorithm::Crc32c, bytes: crc.to_le_bytes().into() }
    }

    /// How it was computed.
    pub fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// The checksum in lower-case hexadecimal.
    pub fn to_hex(&self) -> String {
        encode_hex(&self.bytes)
    }
}

/// A checksum being computed.
#[derive(Clone)]
pub enum Hasher {
    /// The CRC so far.
    Crc32c(u32),
    /// SHA-224's state.
    Sha224(Box<Sha224>),
    /// SHA-256's state.
    Sha256(Box<Sha256>),
    /// SHA-384's state.
    Sha384(Box<Sha384>),
    /// SHA-512's state.
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            Self::Sha224(state) => state.update(bytes),
            Self::Sha256(state) => state.update(bytes),
            Self::Sha384(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    /// The checksum of everything added.
    pub fn finish(self) -> Checksum {
        let (algorithm, bytes): (_, Box<[u8]>) = match self {
            Self::Crc32c(crc) => return Checksum::crc32c(crc),
            Self::Sha224(state) => (ChecksumAlgorithm::Sha224, state.finalize().as_slice().into()),
            Self::Sha256(state) => (ChecksumAlgorithm::Sha256, state.finalize().as_slice().into()),
            Self::Sha384(state) => (ChecksumAlgorithm::Sha384, state.finalize().as_slice().into()),
            Self::Sha512(state) => (ChecksumAlgorithm::Sha512, state.finalize().as_slice().into()),
        };
        Checksum { algorithm, bytes }
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub(super) fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The bytes that `digits`, in either case, stand for.
pub(super) fn decode_hex(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> String {
        let mut hasher = algorithm.hasher();
        hasher.update(bytes);
        hasher.finish().to_hex()
    }

    #[test]
    fn crc_is_listed_in_little_endian_order() {
        // CRC-32C of "123456789" is 0xE3069283.
        assert_eq!(of(ChecksumAlgorithm::Crc32c, b"123456789"), "839206e3");
    }

    #[test]
    fn sha_checksums_are_the_standard_ones() {
        assert_eq!(
            of(ChecksumAlgorithm::Sha256, b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        for algorithm in ChecksumAlgorithm::ALL {
            assert_eq!(of(algorithm, b"x").len(), 2 * algorithm.checksum_size());
            assert_eq!(algorithm.name().to_lowercase().parse(), Ok(algorithm));
        }
    }

    #[test]
    fn a_checksum_needs_the_right_number_of_digits() {
        assert!(Checksum::from_hex(ChecksumAlgorithm::Crc32c, "994e7be2").is_some());
        for digits in ["", "994e7be", "994e7be2aa", "994e7bg2", "+94e7be2"] {
            assert!(Checksum::from_hex(ChecksumAlgorithm::Crc32c, digits).is_none(), "{digits}");
        }
    }
}
