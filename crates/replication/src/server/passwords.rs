//! The password file: who may come in, and what they must know.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use runtime::sync::Mutex;

use crate::auth::{MockSecret, StoredPassword};
use crate::tls::random;

/// Users and their passwords, read from lines `user:password`. Cheap to clone; all clones are read again together.
///
/// A password is a verifier as `pg_authid.rolpassword` has it (`SCRAM-SHA-256$...`, `md5...`) or plain, of which only
/// the verifier is kept. Empty lines and lines that begin with `#` are passed over.
#[derive(Clone)]
pub struct PasswordFile(Arc<Passwords>);

struct Passwords {
    path: PathBuf,
    /// Replaced as a whole when the file is read again; those who are just logging in go on with what they have begun with.
    stored: Mutex<Arc<HashMap<String, StoredPassword>>>,
    /// Makes the salts shown to unknown users, new with every process.
    mock: MockSecret,
}

impl std::fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PasswordFile").field(&self.0.path).field(&self.stored()).finish()
    }
}

/// A password file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileError {
    /// Not readable.
    #[error("could not read password file \"{}\"", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "password file \"{}\" has group or world access; its permissions should be u=rw (0600) or less",
        .0.display()
    )]
    Permissions(PathBuf),
    /// A line without a colon, a name or a secret, or with a broken verifier.
    #[error("password file \"{}\", line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl PasswordFile {
    /// Reads the file at `path`, which nobody else may be able to read.
    ///
    /// # Errors
    /// An unreadable file, loose permissions, a malformed line.
    pub fn load(path: &Path) -> Result<Self, PasswordFileError> {
        let stored = Mutex::new(Arc::new(read(path)?));
        let mut secret = [0; 32];
        random(&mut secret).map_err(|error| PasswordFileError::Io {
            path: path.to_owned(),
            source: io::Error::other(error),
        })?;
        let (path, mock) = (path.to_owned(), MockSecret::new(secret));
        Ok(Self(Arc::new(Passwords { path, stored, mock })))
    }

    /// Reads the file again, for this and all its clones.
    ///
    /// # Errors
    /// As [`PasswordFile::load`]; then everything stays as it was.
    pub fn reload(&self) -> Result<(), PasswordFileError> {
        let new = Arc::new(read(&self.0.path)?);
        *self.0.stored.lock() = new;
        Ok(())
    }

    /// What is stored for `user`; `None` if there is no such user.
    pub fn password_of(&self, user: &str) -> Option<StoredPassword> {
        self.stored().get(user).cloned()
    }

    fn stored(&self) -> Arc<HashMap<String, StoredPassword>> {
        Arc::clone(&self.0.stored.lock())
    }

    /// Makes the salts shown to unknown users.
    pub fn mock_secret(&self) -> &MockSecret {
        &self.0.mock
    }
}

fn read(path: &Path) -> Result<HashMap<String, StoredPassword>, PasswordFileError> {
    let failed = |source| PasswordFileError::Io { path: path.to_owned(), source };
    if others_can_read(&fs::metadata(path).map_err(failed)?) {
        return Err(PasswordFileError::Permissions(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    parse(&text).map_err(|(line, reason)| PasswordFileError::Line { path: path.to_owned(), line, reason })
}

/// Whether a file with secrets is open to others: to the world, or to its group unless it belongs to root
/// (`check_ssl_key_file_permissions`).
fn others_can_read(file: &fs::Metadata) -> bool {
    let forbidden = if file.uid() == 0 && rustix::process::geteuid().as_raw() != 0 { 0o027 } else { 0o077 };
    file.mode() & forbidden != 0
}

/// The users of a file's text, or the number of a malformed line and what is wrong with it.
fn parse(text: &str) -> Result<HashMap<String, StoredPassword>, (usize, &'static str)> {
    let mut all = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason| (index + 1, reason);
        let (user, password) = line.split_once(':').ok_or_else(|| wrong("expected user:password"))?;
        if user.is_empty() || password.is_empty() {
            return Err(wrong("expected user:password, neither of them empty"));
        }
        if all.insert(user.to_owned(), read_password(password).map_err(wrong)?).is_some() {
            return Err(wrong("this user has a line already"));
        }
    }
    Ok(all)
}

fn read_password(text: &str) -> Result<StoredPassword, &'static str> {
    match StoredPassword::parse(text) {
        StoredPassword::Plain(_) if text.starts_with("SCRAM-SHA-256$") => {
            Err("malformed SCRAM-SHA-256 verifier")
        }
        // Hashing is slow on purpose, so it is done once, here.
        plain @ StoredPassword::Plain(_) => {
            plain.scram().map(StoredPassword::Scram).ok_or("this password cannot be used")
        }
        verifier => Ok(verifier),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn every_kind_of_secret_is_read() {
        let hash = "0123456789abcdef0123456789ABCDEF";
        let text = format!("# who\n\nplain:pass:word\nold:md5{hash}\nlookalike:md5rules\n");
        let (_dir, path) = file(&text, 0o600);
        let passwords = PasswordFile::load(&path).unwrap();
        assert!(matches!(passwords.password_of("plain"), Some(StoredPassword::Scram(_))));
        assert!(matches!(passwords.password_of("old"), Some(StoredPassword::Md5(_))));
        assert!(matches!(passwords.password_of("lookalike"), Some(StoredPassword::Scram(_))));
        assert!(passwords.password_of("# who").is_none());
        assert!(!format!("{passwords:?}").contains("0123"), "secrets are not printed");
    }

    #[test]
    fn a_file_is_read_again_and_a_broken_one_changes_nothing() {
        let (_dir, path) = file("old:secret\n", 0o600);
        let passwords = PasswordFile::load(&path).unwrap();
        let clone = passwords.clone();
        fs::write(&path, "new:secret\n").unwrap();
        passwords.reload().unwrap();
        assert!(clone.password_of("old").is_none() && clone.password_of("new").is_some());
        fs::write(&path, "old:secret\nbroken\n").unwrap();
        assert!(passwords.reload().unwrap_err().to_string().contains("line 2"));
        assert!(clone.password_of("old").is_none() && clone.password_of("new").is_some());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let (_dir, path) = file("a:b\n", 0o640);
        let error = PasswordFile::load(&path).unwrap_err().to_string();
        assert!(error.contains("has group or world access"), "{error}");
    }

    #[test]
    fn malformed_lines_are_named() {
        for (text, line) in
            [("a", 1), ("a:b\n:c", 2), ("a:", 1), ("a:SCRAM-SHA-256$4096:x", 1), ("a:b\na:c", 2)]
        {
            let (_dir, path) = file(text, 0o600);
            let error = PasswordFile::load(&path).unwrap_err();
            assert!(
                matches!(error, PasswordFileError::Line { line: at, .. } if at == line),
                "{text:?}: {error}"
            );
        }
    }
}
