//! The few facts about an X.509 certificate that rustls keeps to itself: how it was signed, when it is valid, and the
//! subject's common name. A reader of DER that goes no deeper than needed; on anything odd it gives up with `None`.

use std::time::Duration;

/// One element: its tag, its content, the whole of it, and what follows it.
pub(super) struct Element<'a> {
    tag: u8,
    whole: &'a [u8],
    pub(super) content: &'a [u8],
    pub(super) rest: &'a [u8],
}

pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const BIT_STRING: u8 = 0x03;
const BOOLEAN: u8 = 0x01;
pub(super) const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

fn element(input: &[u8]) -> Option<Element<'_>> {
    let bytes = input;
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    let whole = input.get(..input.len() - rest.len())?;
    Some(Element { tag, whole, content, rest })
}

/// The element at the front of `bytes`, which must have this tag.
pub(super) fn expect(bytes: &[u8], tag: u8) -> Option<Element<'_>> {
    element(bytes).filter(|element| element.tag == tag)
}

/// What a certificate says.
pub(super) struct Certificate<'a> {
    /// Whether it is of version 1, which has no extensions and which webpki does not read.
    pub(super) is_version_1: bool,
    /// What is signed.
    pub(super) to_be_signed: &'a [u8],
    /// Object identifier and parameters of the signature.
    pub(super) signature_algorithm: &'a [u8],
    /// The signature.
    pub(super) signature: &'a [u8],
    /// Who signed.
    pub(super) issuer: &'a [u8],
    /// Whose certificate this is.
    pub(super) subject: &'a [u8],
    /// Object identifier and parameters of the subject's key.
    pub(super) key_algorithm: &'a [u8],
    /// The subject's key.
    pub(super) key: &'a [u8],
    /// Whether it may sign others and asks for nothing that this reader does not know.
    pub(super) is_plain_authority: bool,
    /// Seconds since 1970: valid from, and until.
    pub(super) validity: (i64, i64),
    /// The last CN of the subject.
    pub(super) common_name: Option<String>,
    /// Whether there is a subjectAltName extension.
    pub(super) has_alternative_names: bool,
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let certificate = expect(der, SEQUENCE)?;
        let to_be_signed = expect(certificate.content, SEQUENCE)?;
        let signature_algorithm = expect(to_be_signed.rest, SEQUENCE)?;
        let signature = bits(&expect(signature_algorithm.rest, BIT_STRING)?)?;
        let mut fields = to_be_signed.content;
        let mut is_version_1 = true;
        if let Some(version) = expect(fields, VERSION) {
            is_version_1 = element(version.content)?.content == [0];
            fields = version.rest;
        }
        let serial = element(fields)?;
        let algorithm = expect(serial.rest, SEQUENCE)?;
        let issuer = expect(algorithm.rest, SEQUENCE)?;
        let validity = expect(issuer.rest, SEQUENCE)?;
        let subject = expect(validity.rest, SEQUENCE)?;
        let from = element(validity.content)?;
        let until = element(from.rest)?;
        let key_info = expect(subject.rest, SEQUENCE)?;
        let key_algorithm = expect(key_info.content, SEQUENCE)?;
        let key = bits(&expect(key_algorithm.rest, BIT_STRING)?)?;
        let mut rest = key_info.rest;
        let (mut has_alternative_names, mut is_plain_authority) = (false, false);
        while let Some(field) = element(rest) {
            if field.tag == EXTENSIONS {
                (has_alternative_names, is_plain_authority) = extensions(field.content)?;
            }
            rest = field.rest;
        }
        Some(Self {
            is_version_1,
            to_be_signed: to_be_signed.whole,
            signature_algorithm: signature_algorithm.content,
            signature,
            issuer: issuer.whole,
            subject: subject.whole,
            key_algorithm: key_algorithm.content,
            key,
            is_plain_authority,
            validity: (unix_time(&from)?, unix_time(&until)?),
            common_name: common_name(subject.content),
            has_alternative_names,
        })
    }

    /// Whether `now` (since 1970) is within the validity.
    pub(super) fn is_valid_at(&self, now: Duration) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        (self.validity.0..=self.validity.1).contains(&now)
    }
}

/// Whether there are alternative names, and whether this may sign others: basicConstraints say so, keyUsage (if any)
/// does not forbid it, and no critical extension of another kind limits it.
fn extensions(extensions: &[u8]) -> Option<(bool, bool)> {
    let (mut alternative_names, mut authority, mut limited) = (false, false, false);
    let mut rest = expect(extensions, SEQUENCE)?.content;
    while !rest.is_empty() {
        let extension = expect(rest, SEQUENCE)?;
        let name = expect(extension.content, OBJECT_ID)?;
        let (critical, value) = match expect(name.rest, BOOLEAN) {
            Some(critical) => (critical.content != [0], element(critical.rest)?),
            None => (false, element(name.rest)?),
        };
        match name.content {
            SUBJECT_ALTERNATIVE_NAME => alternative_names = true,
            BASIC_CONSTRAINTS => {
                let constraints = expect(value.content, SEQUENCE)?.content;
                authority =
                    expect(constraints, BOOLEAN).is_some_and(|is_authority| is_authority.content != [0]);
            }
            KEY_USAGE => {
                // Bit 5, keyCertSign, of the first byte.
                let usage = expect(value.content, BIT_STRING)?.content.get(1).copied().unwrap_or(0);
                limited |= usage & 0x04 == 0;
            }
            NAME_CONSTRAINTS => limited = true,
            _ => limited |= critical,
        }
        rest = extension.rest;
    }
    Some((alternative_names, authority && !limited))
}

const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];

/// The content of a BIT STRING of whole bytes.
fn bits<'a>(element: &Element<'a>) -> Option<&'a [u8]> {
    element.content.split_first().filter(|(unused, _)| **unused == 0).map(|(_, bytes)| bytes)
}

fn common_name(mut names: &[u8]) -> Option<String> {
    let mut found = None;
    while let Some(set) = expect(names, SET) {
        let mut pairs = set.content;
        while let Some(pair) = expect(pairs, SEQUENCE) {
            let kind = expect(pair.content, OBJECT_ID)?;
            if kind.content == [0x55, 0x04, 0x03] {
                // A zero byte inside is how one name pretends to be another.
                let value = element(kind.rest)?.content;
                found =
                    std::str::from_utf8(value).ok().filter(|name| !name.contains('\0')).map(str::to_owned);
            }
            pairs = pair.rest;
        }
        names = set.rest;
    }
    found
}

/// UTCTime `YYMMDDHHMMSSZ` or GeneralizedTime `YYYYMMDDHHMMSSZ`, in seconds since 1970.
fn unix_time(time: &Element<'_>) -> Option<i64> {
    let text = std::str::from_utf8(time.content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match time.tag {
        UTC_TIME => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let two = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (two(0)?, two(2)?);
    // Days from 1970-01-01 in the proleptic Gregorian calendar; years begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + two(4)? * 3_600 + two(6)? * 60 + two(8)?)
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    /// A certificate made for a test.
    pub(in crate::tls) fn der(algorithm: &'static rcgen::SignatureAlgorithm, names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "db.example");
        params.not_before = rcgen::date_time_ymd(2020, 2, 29);
        params.not_after = rcgen::date_time_ymd(2077, 1, 1);
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn reads_what_it_is_for() {
        let bytes = der(&rcgen::PKCS_ECDSA_P256_SHA256, &[]);
        let certificate = Certificate::parse(&bytes).unwrap();
        assert_eq!(certificate.common_name.as_deref(), Some("db.example"));
        assert!(!certificate.has_alternative_names);
        assert_eq!(certificate.validity, (1_582_934_400, 3_376_684_800));
        assert!(certificate.is_valid_at(Duration::from_secs(1_582_934_400)));
        assert!(!certificate.is_valid_at(Duration::from_secs(1_582_934_399)));
        assert!(
            Certificate::parse(&der(&rcgen::PKCS_ECDSA_P256_SHA256, &["x"])).unwrap().has_alternative_names
        );
    }
}
