//! Exclusive locks on ranges of a file that vanish with their holder, and that anyone can look at without taking.
//!
//! These are Linux open-file-description locks (`fcntl(2)`, `F_OFD_SETLK`). Unlike classic record locks they belong
//! to the open file, not the process, so that two parts of one process exclude each other too, and closing some
//! other handle of the same file releases nothing. Unlike `flock` they can be probed without ever being held, so a
//! reader that looks whether a writer lives cannot get in the way of the next writer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A held lock; dropping it, or the death of the process, releases it.
#[derive(Debug)]
pub struct RangeLock {
    file: OwnedFd,
    start: u64,
    len: u64,
}

impl RangeLock {
    /// Locks `len` bytes from `start` on (they need not exist), or says `None` if somebody else holds any of them.
    ///
    /// `file` must be open for writing and is duplicated: the lock belongs to that open file, so another lock taken
    /// through the same open file never conflicts with this one.
    pub fn try_acquire(file: impl AsFd, start: u64, len: u64) -> io::Result<Option<Self>> {
        let file = file.as_fd().try_clone_to_owned()?;
        let mut request = request(libc::F_WRLCK, start, len)?;
        match control(&file, libc::F_OFD_SETLK, &mut request) {
            Ok(()) => Ok(Some(Self { file, start, len })),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Locks `len` bytes from `start` on, waiting for whoever holds any of them. Otherwise as [`RangeLock::try_acquire`].
    pub fn acquire(file: impl AsFd, start: u64, len: u64) -> io::Result<Self> {
        let file = file.as_fd().try_clone_to_owned()?;
        let mut request = request(libc::F_WRLCK, start, len)?;
        control(&file, libc::F_OFD_SETLKW, &mut request)?;
        Ok(Self { file, start, len })
    }

    /// Whether another open file holds any of `len` bytes from `start` on. Takes nothing and disturbs nobody.
    pub fn is_held(file: impl AsFd, start: u64, len: u64) -> io::Result<bool> {
        // Asking for a shared lock is enough: every lock of ours is exclusive, and it needs no write permission.
        let mut request = request(libc::F_RDLCK, start, len)?;
        control(file, libc::F_OFD_GETLK, &mut request)?;
        Ok(request.l_type != libc::F_UNLCK as libc::c_short)
    }
}

impl Drop for RangeLock {
    fn drop(&mut self) {
        // The descriptor is a duplicate: closing it alone would keep the lock while the original is open. Releasing
        // a lock that is held cannot fail.
        if let Ok(mut request) = request(libc::F_UNLCK, self.start, self.len) {
            let _ = control(&self.file, libc::F_OFD_SETLK, &mut request);
        }
    }
}

fn request(kind: libc::c_int, start: u64, len: u64) -> io::Result<libc::flock> {
    // To the system none are all there are.
    assert!(len > 0, "a lock is on so many bytes");
    let offset =
        |value: u64| libc::off_t::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    Ok(libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset(start)?,
        l_len: offset(len)?,
        l_pid: 0, // required of open-file-description locks
    })
}

fn control(file: impl AsFd, command: libc::c_int, request: &mut libc::flock) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open for the length of the borrow, and `request` is the valid `struct flock` that
        // these commands read and, for F_OFD_GETLK, write.
        let result = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, std::ptr::from_mut(request)) };
        if result != -1 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &std::path::Path) -> std::fs::File {
        std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
    }

    #[test]
    fn excludes_other_handles_even_in_one_process_and_can_be_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let (first, second) = (open(&path), open(&path));
        let held = RangeLock::try_acquire(&first, 5, 1).unwrap().unwrap();
        assert!(RangeLock::try_acquire(&second, 5, 1).unwrap().is_none());
        assert!(RangeLock::is_held(&second, 0, 10).unwrap());
        assert!(!RangeLock::is_held(&second, 6, 1).unwrap());
        assert!(RangeLock::try_acquire(&second, 6, 1).unwrap().is_some());
        drop(held);
        assert!(!RangeLock::is_held(&second, 5, 1).unwrap(), "released though the file is still open");
    }

    #[test]
    fn who_waits_gets_it_when_the_holder_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let held = RangeLock::acquire(open(&path), 1, 1).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| RangeLock::acquire(open(&path), 1, 1).unwrap());
            assert!(RangeLock::try_acquire(open(&path), 1, 1).unwrap().is_none());
            drop(held);
            drop(waiter.join().unwrap());
        });
    }

    #[test]
    #[should_panic(expected = "a lock is on so many bytes")]
    fn no_bytes_are_not_taken_for_all_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let _taken = RangeLock::try_acquire(open(&dir.path().join("f")), 5, 0);
    }

    #[test]
    fn closing_another_handle_releases_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let _held = RangeLock::try_acquire(open(&path), 0, 1).unwrap().unwrap();
        drop(open(&path));
        assert!(RangeLock::is_held(std::fs::File::open(&path).unwrap(), 0, 1).unwrap());
    }
}
