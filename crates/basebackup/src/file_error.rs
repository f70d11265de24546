//! What went wrong with a file, in one line.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failed operation on a file.
#[derive(Debug)]
pub struct FileError {
    /// What was attempted, such as `open file`.
    pub action: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: an error of `action` on `path`.
    pub fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

impl fmt::Display for FileError {
    /// As PostgreSQL's tools write it, without the number of the error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} \"{}\": {}", self.action, self.path.display(), reason(&self.source))
    }
}

// The reason is part of the line, so it is not repeated as a source.
impl std::error::Error for FileError {}

/// The system's text for an error: `No space left on device`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
