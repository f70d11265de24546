//! The password file: lines of `host:port:database:user:password`. Source: `passwordFromFile`.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{ConnInfo, Host, HostName, Password};

impl ConnInfo {
    /// The password that the password file has for `host` and `database`. A file that others can read is passed over
    /// with a warning.
    pub fn password_from_file(&self, host: &Host, database: &str) -> Option<Password> {
        let path = self.passfile.as_deref()?;
        let metadata = std::fs::metadata(path).ok()?;
        if !metadata.is_file() {
            tracing::warn!("password file \"{}\" is not a plain file", path.display());
            return None;
        }
        if metadata.mode() & 0o077 != 0 {
            tracing::warn!(
                "password file \"{}\" has group or world access; permissions should be u=rw (0600) or less",
                path.display()
            );
            return None;
        }
        let text = std::fs::read(path).ok()?;
        look_up(
            &String::from_utf8_lossy(&text),
            &host_field(host),
            &host.port.to_string(),
            database,
            &self.user,
        )
        .map(Password::new)
    }
}

/// The default socket directories are called `localhost` in password files.
fn host_field(host: &Host) -> String {
    match (&host.name, host.address) {
        (HostName::Unix(path), _) if is_default_directory(path) => "localhost".to_owned(),
        (HostName::Unix(path), _) => path.display().to_string(),
        (HostName::Tcp(name), Some(address)) if name.is_empty() => address.to_string(),
        (HostName::Tcp(name), _) => name.clone(),
    }
}

fn is_default_directory(path: &Path) -> bool {
    super::resolve::DEFAULT_SOCKET_DIRECTORIES.iter().any(|default| path == Path::new(default))
}

/// The first line whose first four fields match, each literally or as `*`.
fn look_up(text: &str, host: &str, port: &str, database: &str, user: &str) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line.trim_end_matches('\r');
        for wanted in [host, port, database, user] {
            let (field, tail) = field(rest)?;
            if field != wanted && rest.get(..rest.len() - tail.len() - 1) != Some("*") {
                return None;
            }
            rest = tail;
        }
        Some(unescaped(rest))
    })
}

/// The field before the first bare colon, unescaped, and what follows the colon.
fn field(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((unescaped(text.get(..at)?), text.get(at + 1..)?)),
            _ => (),
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n\
        db:5432:replication:alice:first\n\
        db:*:*:alice:second\n\
        *:*:*:bob:with\\:colon\\\\\n\
        we\\:ird:*:*:*:escaped\n\
        \\*:*:*:star:no wildcard\n\
        short:1\n\
        *:*:*:empty:\n\
        *:*:*:dos:crlf\r\n";

    #[test]
    fn the_first_line_that_fits_wins() {
        for (host, port, database, user, password) in [
            ("db", "5432", "replication", "alice", Some("first")),
            ("db", "5433", "replication", "alice", Some("second")),
            ("db", "5432", "postgres", "alice", Some("second")),
            ("x", "1", "y", "bob", Some("with:colon\\")),
            ("we:ird", "1", "y", "z", Some("escaped")),
            ("x", "1", "y", "star", None),
            ("*", "1", "y", "star", Some("no wildcard")),
            ("x", "1", "y", "alice", None),
            ("x", "1", "y", "empty", Some("")),
            ("x", "1", "y", "dos", Some("crlf")),
        ] {
            let found = look_up(FILE, host, port, database, user);
            assert_eq!(found.as_deref(), password, "{host} {port} {database} {user}");
        }
    }

    #[test]
    fn a_default_socket_directory_is_localhost() {
        let unix = |path: &str| Host { name: HostName::Unix(path.into()), address: None, port: 5432 };
        assert_eq!(host_field(&unix("/var/run/postgresql")), "localhost");
        assert_eq!(host_field(&unix("/run/mine")), "/run/mine");
    }
}
