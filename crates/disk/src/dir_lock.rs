//! One writer to a directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Disk, DiskFile, OpenMode, RangeLock};

/// The file whose lock stands for the directory; no WAL file has such a name.
pub const LOCK_FILE: &str = "walship.lock";

/// The right to write in a directory, until dropped or the process ends. The lock file stays, holding the process id
/// of its last owner; only the lock on it means anything.
///
/// On a simulated disk there is no other process, and nothing is excluded.
#[derive(Debug)]
pub struct DirLock {
    _lock: Option<RangeLock>,
    _file: Box<dyn DiskFile>,
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum DirLockError {
    /// Another process, or another part of this one, has it.
    #[error("directory \"{}\" is in use by process {}", dir.display(), OrUnknown(pid))]
    Held {
        /// The directory.
        dir: PathBuf,
        /// Whose it is, if the lock file says so.
        pid: Option<u32>,
    },
    /// The lock file could not be opened, written or locked.
    #[error("could not lock file \"{}\": {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

struct OrUnknown<'a>(&'a Option<u32>);

impl std::fmt::Display for OrUnknown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "{pid}"),
            None => f.write_str("(unknown)"),
        }
    }
}

impl DirLock {
    /// Takes the lock on `dir`, which must exist, without waiting.
    pub fn acquire(disk: &dyn Disk, dir: &Path) -> Result<Self, DirLockError> {
        let path = dir.join(LOCK_FILE);
        let failed = |source| DirLockError::Io { path: path.clone(), source };
        let file = disk.open(&path, OpenMode::Create).map_err(failed)?;
        let lock = match file.as_fd() {
            None => None,
            Some(fd) => match RangeLock::try_acquire(fd, 0, 1).map_err(failed)? {
                Some(lock) => Some(lock),
                None => return Err(DirLockError::Held { dir: dir.to_owned(), pid: holder(&*file) }),
            },
        };
        // Only for messages, so not synced. Overwritten before it is cut, lest a reader find it empty.
        let pid = format!("{}\n", std::process::id());
        let written = file.write_all_at(pid.as_bytes(), 0).and_then(|()| file.set_len(pid.len() as u64));
        match written {
            // A full disk keeps nobody from going on with what is there.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {}
            other => other.map_err(failed)?,
        }
        Ok(Self { _lock: lock, _file: file })
    }
}

fn holder(file: &dyn DiskFile) -> Option<u32> {
    let mut text = [0; 16];
    let count = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(text.get(..count)?).ok()?.lines().next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OsDisk, SimDisk};

    #[test]
    fn a_second_owner_is_refused_and_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let disk = OsDisk::new();
        let held = DirLock::acquire(&disk, dir.path()).unwrap();
        let refusal = DirLock::acquire(&disk, dir.path()).unwrap_err().to_string();
        assert!(refusal.ends_with(&format!("is in use by process {}", std::process::id())), "{refusal}");
        drop(held);
        DirLock::acquire(&disk, dir.path()).unwrap();
    }

    #[test]
    fn a_missing_directory_is_an_error_naming_the_lock_file() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = DirLock::acquire(&OsDisk::new(), &dir.path().join("none")).unwrap_err().to_string();
        assert!(refusal.contains("walship.lock") && refusal.contains("No such file"), "{refusal}");
    }

    #[test]
    fn works_on_a_simulated_disk_and_on_a_full_one() {
        let disk = SimDisk::new();
        disk.limit_space(Some(0));
        DirLock::acquire(&disk, Path::new("/")).unwrap();
        disk.limit_space(None);
        DirLock::acquire(&disk, Path::new("/")).unwrap();
    }
}
