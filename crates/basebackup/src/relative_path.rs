//! Names of files inside a backup, as a server or a manifest gives them.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest name accepted, in bytes: PostgreSQL's `MAXPGPATH`.
const MAX_LEN: usize = 1024;

/// A path that stays below the directory it is joined to.
///
/// Not empty, not absolute, no `.`, `..` or empty component, no NUL. Bytes rather than text, because file names in a
/// data directory need not be UTF-8. It says nothing about symbolic links that lie on the way: whoever opens the path
/// has to know that there are none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(Box<[u8]>);

/// A name that cannot be a file inside a backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unsafe file name \"{}\" ({reason})", String::from_utf8_lossy(.name).escape_debug())]
pub struct InvalidPath {
    name: Vec<u8>,
    reason: &'static str,
}

impl RelativePath {
    /// Checks `name`. A trailing slash, as tar gives directories, is not part of the path and has to be removed first.
    pub fn new(name: &[u8]) -> Result<Self, InvalidPath> {
        let refuse = |reason| {
            let shown = name.get(..MAX_LEN).unwrap_or(name);
            Err(InvalidPath { name: shown.to_vec(), reason })
        };
        if name.is_empty() {
            return refuse("it is empty");
        }
        if name.len() > MAX_LEN {
            return refuse("it is too long");
        }
        if name.starts_with(b"/") {
            return refuse("it is absolute");
        }
        if name.contains(&0) {
            return refuse("it contains a zero byte");
        }
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" => return refuse("it has an empty component"),
                b"." | b".." => return refuse("it contains \".\" or \"..\""),
                _ => {}
            }
        }
        Ok(Self(name.into()))
    }

    /// The path's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as the operating system takes it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The components, at least one.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// `root` and this path below it.
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(self.as_path())
    }

    /// The directory it is in; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        let end = self.0.iter().rposition(|byte| *byte == b'/')?;
        self.0.get(..end).map(|parent| Self(parent.into()))
    }

    /// This path with `prefix` in front, as a tablespace's files are listed in a manifest.
    pub fn prefixed(&self, prefix: &Self) -> Self {
        Self([prefix.as_bytes(), b"/", self.as_bytes()].concat().into())
    }

    /// Whether this is `directory` or lies below it.
    pub fn is_within(&self, directory: &[u8]) -> bool {
        self.0.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_directory_are_refused() {
        for name in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            ".",
            "./a",
            "a//b",
            "a/",
            "a/./b",
            "a\0b",
        ] {
            assert!(RelativePath::new(name.as_bytes()).is_err(), "{name:?}");
        }
        assert!(RelativePath::new(&[b'a'; 1025]).is_err());
    }

    #[test]
    fn ordinary_names_are_accepted() {
        for name in ["PG_VERSION", "base/1/1259_fsm", "..a/b..", "...", "a b", ".hidden"] {
            let path = RelativePath::new(name.as_bytes()).unwrap();
            assert_eq!(path.to_string(), name);
            assert!(path.below(Path::new("/root")).starts_with("/root"));
        }
        assert!(RelativePath::new(b"\xff\xfe").is_ok());
    }

    #[test]
    fn within_means_whole_components() {
        let path = RelativePath::new(b"pg_wal/x").unwrap();
        assert!(path.is_within(b"pg_wal"));
        assert!(!path.is_within(b"pg_wa"));
        assert!(path.is_within(b"pg_wal/x"));
    }
}
