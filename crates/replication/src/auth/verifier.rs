//! What a server keeps of a password. Source: `parse_scram_secret`, `mock_scram_secret`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

/// A password as a server's password file may hold it.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredPassword {
    /// `SCRAM-SHA-256$...`.
    Scram(ScramVerifier),
    /// `md5` and 32 hexadecimal digits; good for the md5 method only.
    Md5(String),
    /// In clear; good for every method.
    Plain(String),
}

impl StoredPassword {
    /// Tells which form `text` is in, as PostgreSQL's `get_password_type` does.
    pub fn parse(text: &str) -> Self {
        let is_md5 = text.len() == 35
            && text.strip_prefix("md5").is_some_and(|hash| hash.bytes().all(|b| b.is_ascii_hexdigit()));
        match ScramVerifier::parse(text) {
            Ok(verifier) => Self::Scram(verifier),
            Err(_) if is_md5 => Self::Md5(text.to_owned()),
            Err(_) => Self::Plain(text.to_owned()),
        }
    }

    /// The md5 form for `user`, if this password has one.
    pub fn md5_of(&self, user: &str) -> Option<String> {
        match self {
            Self::Md5(stored) => Some(stored.clone()),
            Self::Plain(password) => Some(postgres_protocol::password::md5(password.as_bytes(), user)),
            Self::Scram(_) => None,
        }
    }

    /// The SCRAM verifier, if this password has one. For one in clear it is made anew, with a random salt.
    pub fn scram(&self) -> Option<ScramVerifier> {
        match self {
            Self::Scram(verifier) => Some(verifier.clone()),
            Self::Plain(password) => {
                ScramVerifier::parse(&postgres_protocol::password::scram_sha_256(password.as_bytes())).ok()
            }
            Self::Md5(_) => None,
        }
    }
}

impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Scram(_) => "SCRAM-SHA-256$********",
            Self::Md5(_) => "md5********",
            Self::Plain(_) => "********",
        })
    }
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: [u8; 32],
    pub(super) server_key: [u8; 32],
}

/// A text that is not a SCRAM-SHA-256 verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SCRAM-SHA-256 verifier")]
pub struct InvalidVerifier;

impl ScramVerifier {
    /// Takes a verifier apart.
    pub fn parse(text: &str) -> Result<Self, InvalidVerifier> {
        let parse = || {
            let (parameters, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
            let (iterations, salt) = parameters.split_once(':')?;
            let (stored_key, server_key) = keys.split_once(':')?;
            let key = |text: &str| <[u8; 32]>::try_from(BASE64.decode(text).ok()?).ok();
            Some(Self {
                iterations: iterations.parse().ok().filter(|&count| count > 0)?,
                salt: BASE64.decode(salt).ok()?,
                stored_key: key(stored_key)?,
                server_key: key(server_key)?,
            })
        };
        parse().ok_or(InvalidVerifier)
    }

    /// A verifier for a user who does not exist: always the same for the same name, and for no password.
    pub(super) fn mock(user: &str, secret: &MockSecret) -> Self {
        let derive = |what: &[u8]| {
            let mut hash = Sha256::new();
            hash.update(secret.0);
            hash.update(what);
            hash.update(user.as_bytes());
            <[u8; 32]>::from(hash.finalize())
        };
        let salt = derive(b"salt").first_chunk::<16>().map(|salt| salt.to_vec()).unwrap_or_default();
        Self { iterations: 4096, salt, stored_key: derive(b"stored"), server_key: derive(b"server") }
    }
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SCRAM-SHA-256$********")
    }
}

/// A server's secret from which the salts of users that do not exist are made (`mock_authentication_nonce`).
#[derive(Clone)]
pub struct MockSecret([u8; 32]);

impl MockSecret {
    /// A secret of random bytes; keep one for as long as possible, so that answers stay the same.
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }
}

/// Compares without telling by its duration where the difference is.
pub(super) fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && std::hint::black_box(left.iter().zip(right).fold(0, |acc, (a, b)| acc | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        let verifier = postgres_protocol::password::scram_sha_256(b"secret");
        assert!(matches!(StoredPassword::parse(&verifier), StoredPassword::Scram(_)));
        let md5 = postgres_protocol::password::md5(b"secret", "alice");
        assert!(matches!(StoredPassword::parse(&md5), StoredPassword::Md5(_)));
        for plain in
            ["secret", "md5secret", "SCRAM-SHA-256$0:c2FsdA==$x:y", "SCRAM-SHA-256$4096:c2FsdA==$eA==:eA=="]
        {
            assert!(matches!(StoredPassword::parse(plain), StoredPassword::Plain(_)), "{plain}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        assert!(!format!("{:?}", StoredPassword::parse("secret")).contains("secret"));
    }
}
