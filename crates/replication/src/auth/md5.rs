//! The md5 method: the password's md5 with the user name, hashed again with a salt of the connection's.

use md5::{Digest, Md5};

use super::verifier::same_bytes;

/// What a client answers: `md5` and 32 hexadecimal digits.
pub fn md5_response(user: &str, password: &str, salt: [u8; 4]) -> String {
    postgres_protocol::authentication::md5_hash(user.as_bytes(), password.as_bytes(), salt)
}

/// Whether `response` is what a client would answer who knows the password whose stored form is `stored`
/// (`md5` and 32 hexadecimal digits, as in `pg_authid`).
pub fn verify_md5(stored: &str, response: &str, salt: [u8; 4]) -> bool {
    let Some(inner) = stored.strip_prefix("md5") else { return false };
    let mut hash = Md5::new();
    hash.update(inner.as_bytes());
    hash.update(salt);
    let mut expected = String::from("md5");
    for byte in hash.finalize() {
        expected.push_str(&format!("{byte:02x}"));
    }
    same_bytes(expected.as_bytes(), response.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_verifies_against_the_stored_form() {
        // From pg_authid, for password "secret" of user "alice".
        let stored = postgres_protocol::password::md5(b"secret", "alice");
        let salt = [1, 2, 3, 4];
        assert!(verify_md5(&stored, &md5_response("alice", "secret", salt), salt));
        assert!(!verify_md5(&stored, &md5_response("alice", "Secret", salt), salt));
        assert!(!verify_md5(&stored, &md5_response("alice", "secret", salt), [0; 4]));
        assert!(!verify_md5("", "", salt));
    }
}
