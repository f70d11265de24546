//! The directory a test lives in, and the end of everything that was started there.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::guard::Guard;
use crate::user;

/// A temporary directory that child processes may write to. Clones are the same directory; with the last of them (which
/// every server and process holds one of) it goes, after a failed test with the ends of all logs shown first.
///
/// `WALSHIP_TESTS_KEEP=1` keeps the directories of failed tests.
#[derive(Clone)]
pub struct TempRoot(Arc<Inner>);

struct Inner {
    path: PathBuf,
    guard: Guard,
    logs: AtomicUsize,
}

impl TempRoot {
    /// A new directory with `name` in its path, below `WALSHIP_TESTS_DIR` (default: the system's temporary directory).
    #[track_caller]
    pub fn new(name: &str) -> Self {
        Self::below(
            &std::env::var_os("WALSHIP_TESTS_DIR").map_or_else(std::env::temp_dir, PathBuf::from),
            name,
        )
    }

    /// A new directory below `parent`, which may be a file system with properties of its own.
    #[track_caller]
    pub fn below(parent: &Path, name: &str) -> Self {
        let path =
            tempfile::Builder::new().prefix(&format!("walship-{name}-")).tempdir_in(parent).unwrap().keep();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        user::give_to_child_user(&path);
        let guard = Guard::new(&path);
        let root = Self(Arc::new(Inner { path, guard, logs: AtomicUsize::new(0) }));
        root.dir("log");
        root.dir("socket");
        root
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Where `name` is or would be.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path.join(name)
    }

    /// Makes directory `name`, mode 0700, writable for child processes.
    #[track_caller]
    pub fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        user::give_to_child_user(&path);
        path
    }

    /// Writes file `name`, mode 0600, readable and writable for child processes.
    #[track_caller]
    pub fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        user::give_to_child_user(&path);
        path
    }

    /// Copies a directory tree to `name`, owned by the child user, modes kept.
    #[track_caller]
    pub fn copy_dir(&self, from: &Path, name: impl AsRef<Path>) -> PathBuf {
        let to = self.dir(name);
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                self.copy_dir(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), &target).unwrap();
                user::give_to_child_user(&target);
            }
        }
        to
    }

    /// A new path for a log, numbered in the order in which things were started.
    pub(crate) fn log_file(&self, name: &str) -> PathBuf {
        let number = self.0.logs.fetch_add(1, Ordering::Relaxed);
        self.join(format!("log/{number:03}-{name}.log"))
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }
}

impl Inner {
    fn show_logs(&self) {
        let Ok(entries) = std::fs::read_dir(self.path.join("log")) else { return };
        let mut logs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        logs.sort();
        for log in logs {
            let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
            // Standard output can be data; what went wrong is on standard error.
            let count = if log.to_string_lossy().ends_with(".out.log") { 5 } else { 25 };
            if !text.is_empty() {
                eprintln!("--- end of {}\n{}", log.display(), last_lines(&text, count));
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            self.show_logs();
        }
        let keep = failed && std::env::var_os("WALSHIP_TESTS_KEEP").is_some();
        if keep {
            eprintln!("kept {}", self.path.display());
        }
        self.guard.finish(keep);
    }
}

/// The last `count` lines of `text`.
pub(crate) fn last_lines(text: &str, count: usize) -> &str {
    let start = text.trim_end().rmatch_indices('\n').nth(count - 1).map_or(0, |(at, _)| at + 1);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_text_are_whole_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("a\nb", 5), "a\nb");
    }

    #[test]
    fn a_root_is_gone_with_its_last_clone() {
        let root = TempRoot::new("root");
        let (path, clone) = (root.path().to_owned(), root.clone());
        root.file("some file", "content");
        drop(root);
        assert!(path.is_dir());
        drop(clone);
        assert!(!path.exists());
    }
}
