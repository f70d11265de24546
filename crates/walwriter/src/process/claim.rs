//! The right to a data directory: one server at a time, whichever program it is.
//!
//! Servers of ours hold two locks, on a file of their own and on the control file, which nobody removes; both vanish with their
//! process. PostgreSQL's, and whoever else goes by `postmaster.pid`, are kept out by that file and keep us out by it: one that
//! names a living process is never taken away. Source: `CreateLockFile` in `utils/init/miscinit.c`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use disk::{DirLock, DirLockError, Disk, DiskFile, LOCK_FILE, OpenMode, OsDisk, RangeLock};
use engine::control::path_in as control_path;

use super::pid_file::{NAME, PidFile, PidFileContent, STATES};

/// Where Linux lists System V shared memory: which there is, and how many have it attached.
const SHARED_MEMORY: &str = "/proc/sysvipc/shm";
/// The lines of the file, counted from 0.
const SHARED_MEMORY_LINE: usize = 6;
const STATUS_LINE: usize = 7;

/// Why a data directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another walwriter has it.
    #[error(transparent)]
    Locked(#[from] DirLockError),
    /// A process that the lock file names is alive.
    #[error(
        "lock file \"{}\" says that process {pid} uses the data directory, and it is alive: stop that server; only if it is \
         none, remove the file",
        file.display()
    )]
    InUse {
        /// The lock file.
        file: PathBuf,
        /// The process.
        pid: u32,
    },
    /// Processes of a server that is gone are still there.
    #[error(
        "the shared memory (key {key}, ID {id}) that lock file \"{}\" names is still in use: end the processes that the \
         last server has left behind",
        file.display()
    )]
    Attached {
        /// The lock file.
        file: PathBuf,
        /// The shared memory's key.
        key: u64,
        /// Its number.
        id: u64,
    },
    /// The lock file says nothing that makes sense.
    #[error(
        "lock file \"{}\" is empty or damaged: another server is just starting, or a crash has left it; remove it if there is \
         no server",
        .0.display()
    )]
    Unreadable(PathBuf),
    /// The system's.
    #[error("could not access file \"{}\": {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ClaimError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Holds a data directory for this process.
#[derive(Debug)]
pub(super) struct Claim {
    _directory: DirLock,
    _control: Option<RangeLock>,
    _control_file: Box<dyn DiskFile>,
}

impl Claim {
    /// Takes the directory, and makes its lock file.
    ///
    /// # Errors
    /// Somebody else has it, with the process where that is known.
    pub(super) fn take(disk: &dyn Disk, directory: &Path) -> Result<(Self, PidFile), ClaimError> {
        let lock = DirLock::acquire(disk, directory)?;
        let path = control_path(directory);
        let control = disk.open(&path, OpenMode::ReadWrite).map_err(ClaimError::io(&path))?;
        let control_lock = match control.as_fd() {
            None => None,
            Some(fd) => match RangeLock::try_acquire(fd, 0, 1).map_err(ClaimError::io(&path))? {
                Some(lock) => Some(lock),
                // Somebody has removed the other file from under it.
                None => {
                    let pid = PidFile::read(directory).ok().flatten().map(|content| content.pid);
                    return Err(DirLockError::Held { dir: directory.to_owned(), pid }.into());
                }
            },
        };
        let pid_file = make_pid_file(directory)?;
        Ok((Self { _directory: lock, _control: control_lock, _control_file: control }, pid_file))
    }
}

/// Makes the lock file, after a stale one has been removed. To be called with the locks held.
fn make_pid_file(directory: &Path) -> Result<PidFile, ClaimError> {
    let path = directory.join(NAME);
    // Whoever makes one between the two steps is looked at in its turn.
    for _ in 0..10 {
        match PidFile::create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map_err(ClaimError::io(&path)),
        }
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(ClaimError::io(&path))?,
        };
        check_stale(&path, &text)?;
        tracing::info!("lock file \"{}\" is of a server that is gone; it is replaced", path.display());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ClaimError::io(&path)(error));
            }
            _ => {}
        }
    }
    Err(ClaimError::Unreadable(path))
}

/// Whether the server that wrote the lock file is gone.
fn check_stale(path: &Path, text: &str) -> Result<(), ClaimError> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let line = |number: usize| lines.get(number).copied().unwrap_or_default();
    // A backend without a postmaster writes its number with a minus sign.
    let pid: Option<u32> = line(0).trim_start_matches('-').parse().ok().filter(|pid| *pid > 0);
    let Some(pid) = pid else { return Err(ClaimError::Unreadable(path.to_owned())) };
    // A walwriter that lived would hold the locks that are held here; its number may be another process's by now.
    if line(SHARED_MEMORY_LINE).is_empty() && STATES.contains(&line(STATUS_LINE)) {
        return Ok(());
    }
    // A number that was this process's own, or its parent's, before the system was started anew.
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    let is_own = pid == std::process::id() || Some(pid) == parent;
    if !is_own && is_alive(pid) {
        return Err(ClaimError::InUse { file: path.to_owned(), pid });
    }
    let memory: Vec<u64> =
        line(SHARED_MEMORY_LINE).split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if let [key, id] = memory[..]
        && is_attached(&fs::read_to_string(SHARED_MEMORY).unwrap_or_default(), key, id)
    {
        return Err(ClaimError::Attached { file: path.to_owned(), key, id });
    }
    Ok(())
}

/// Whether somebody has attached the shared memory of this key and number, going by the system's list of all of it: a line of
/// names, and then lines with the key, the number, permissions, size, two processes and the count of who has it attached.
fn is_attached(list: &str, key: u64, id: u64) -> bool {
    list.lines().skip(1).any(|line| {
        // Keys are 32 bits, which the system prints with a sign and PostgreSQL without.
        let fields: Vec<i64> = line.split_whitespace().map(|field| field.parse().unwrap_or(-1)).collect();
        let field = |number: usize| fields.get(number).copied().unwrap_or_default();
        let same_key = field(0) as u32 == key as u32;
        same_key && u64::try_from(field(1)) == Ok(id) && field(6) > 0
    })
}

/// The walwriter that serves `directory`, if one does: it holds the directory's locks, and its process is alive.
///
/// # Errors
/// The system's.
pub fn running_server(directory: &Path) -> io::Result<Option<PidFileContent>> {
    let disk = OsDisk::new();
    let is_held = |path: PathBuf| match disk.open(&path, OpenMode::Read) {
        Ok(file) => file.as_fd().map_or(Ok(false), |fd| RangeLock::is_held(fd, 0, 1)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    if !is_held(directory.join(LOCK_FILE))? && !is_held(control_path(directory))? {
        return Ok(None);
    }
    Ok(PidFile::read(directory)?.filter(|server| is_alive(server.pid)))
}

/// Whether there is such a process, somebody else's included.
pub fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Result<(), String> {
        check_stale(Path::new("postmaster.pid"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_lock_file_of_a_living_process_is_respected_and_others_are_stale() {
        let own = std::process::id();
        assert!(is_alive(own) && is_alive(1) && !is_alive(0) && !is_alive(u32::MAX));
        // PostgreSQL's, early in its start, later, and without a postmaster.
        let later = "/data\n1795000000\n5432\n/tmp\nlocalhost\n  5432001    999999\nready   \n";
        for text in ["1\n/data\n1795000000\n".to_owned(), format!("1\n{later}"), "-1\n/data\n".to_owned()] {
            assert!(judge(&text).unwrap_err().contains("process 1 uses the data directory"), "{text}");
            let dead = text.replacen('1', &i32::MAX.to_string(), 1);
            assert_eq!(judge(&dead), Ok(()), "{dead}");
            let ours = text.replacen('1', &own.to_string(), 1);
            assert_eq!(judge(&ours), Ok(()), "the number was reused by this very process");
        }
        // A walwriter's, whose locks are held by whoever asks.
        assert_eq!(judge("1\n/data\n1795000000\n5432\n/tmp\nlocalhost\n\nready   \n"), Ok(()));
        for text in ["", "\n", "garbage\n", "0\n"] {
            assert!(judge(text).unwrap_err().contains("is empty or damaged"), "{text:?}");
        }
    }

    #[test]
    fn shared_memory_that_somebody_has_attached_is_found_by_key_and_number() {
        let list = "       key      shmid perms  size  cpid  lpid nattch   uid\n\
                    \x20  5432001         7   600    56   100   100      2   106\n\
                    -294967295         8   600    56   100   100      0   106\n";
        assert!(is_attached(list, 5_432_001, 7));
        assert!(!is_attached(list, 5_432_001, 8) && !is_attached(list, 5, 7));
        assert!(!is_attached(list, 4_000_000_001, 8), "nobody has it attached");
        assert!(is_attached(&list.replace("      0   106", "      1   106"), 4_000_000_001, 8));
        assert!(!is_attached("", 1, 1));
    }
}
