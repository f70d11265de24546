//! Files behind a narrow seam.
//!
//! Everything that has to survive a power cut goes through [`Disk`] and [`DiskFile`]: [`OsDisk`] is the real file
//! system, [`SimDisk`] an in-memory one that remembers every operation, fails on request, and rebuilds what a power
//! cut could have left behind. Code written against the traits runs unchanged on both.
//!
//! What the seam promises, and nothing more:
//! - bytes written are durable after [`DiskFile::sync_data`] on a handle of that file has returned `Ok`;
//! - a name (created, renamed, removed) is durable after [`Disk::sync_dir`] on its directory has returned `Ok`;
//! - an unsynced write may be there, missing, or torn at any multiple of 512 bytes, whatever came after it;
//! - after a failed sync nothing is known about the bytes it covered, and a later sync that succeeds proves nothing
//!   about them: a failed sync is fatal to whoever relied on it.

mod dir_lock;
mod durable;
mod os;
mod range_lock;
mod sim;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

pub use dir_lock::{DirLock, DirLockError, LOCK_FILE};
pub use durable::{durable_create_dir_all, durable_remove, durable_rename, durable_write, fill_zeros};
pub use os::OsDisk;
pub use range_lock::RangeLock;
pub use sim::{CrashChoices, SimDisk};

/// How [`Disk::open`] treats a file that is there already, or is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Reading only; the file must exist.
    Read,
    /// Reading and writing; the file must exist.
    ReadWrite,
    /// Reading and writing; the file is created, empty, if it does not exist.
    Create,
    /// Reading and writing; the file must not exist (`AlreadyExists` otherwise).
    CreateNew,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// The name alone, without its directory. Names that are not UTF-8 are none of ours and are not listed.
    pub name: String,
    /// The file's length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory (a symbolic link counts as what it points to).
    pub is_dir: bool,
}

/// What is known of a path without opening it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// The file's length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory (a symbolic link counts as what it points to).
    pub is_dir: bool,
}

/// A file system. Object-safe, shared as `Arc<dyn Disk>`; paths are absolute or relative to the working directory.
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Opens or creates a file. A name created here is durable only after [`Disk::sync_dir`].
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;

    /// The names in a directory, sorted, without `.` and `..`.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Length and kind of what `path` names; symbolic links are followed.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Gives `from` the name `to`, replacing a file of that name in one step. Durable after [`Disk::sync_dir`] on
    /// the directories of both.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file; open handles stay usable.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates one directory (`AlreadyExists` if the name is taken).
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes every name created, renamed or removed in this directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and those above it, as far as they are missing.
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || self.metadata(path).is_ok_and(|found| found.is_dir) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.create_dir_all(parent)?;
        }
        match self.create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.metadata(path)?.is_dir => {
                Ok(())
            }
            other => other,
        }
    }

    /// Whether something has this name. An error other than "not found" is an error here too.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// An open file: bytes at positions, no cursor. Closing is dropping, and promises nothing about durability.
#[allow(
    clippy::len_without_is_empty,
    reason = "a file's length is an I/O operation, not a collection's size"
)]
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads at most `buf.len()` bytes from `offset` on and says how many; 0 at or past the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`; a gap before it reads as zeros. After an error any part may be there.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Cuts the file off at `len`, or extends it with zeros that take no space yet.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves space for `len` bytes from `offset` on, extending the file if need be, so that writing there cannot
    /// run out of space. Bytes already there stay; new ones read as zeros. Where the file system cannot reserve, the
    /// part that extends the file is written out as zeros.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Reserves space for `len` bytes from `offset` on like [`DiskFile::allocate`], but leaves the file's length as it is where
    /// the file system can: a later write there cannot run out of space, and until then the file ends where it did.
    fn claim(&self, offset: u64, len: u64) -> io::Result<()>;

    /// How many bytes [`fill_zeros`] had best write with one call.
    fn zeros_at_once(&self) -> usize {
        256 << 10
    }

    /// Makes the file's bytes and length durable (`fdatasync`), not its name.
    fn sync_data(&self) -> io::Result<()>;

    /// [`DiskFile::sync_data`], and times and permissions too (`fsync`), not its name.
    fn sync_all(&self) -> io::Result<()>;

    /// The descriptor, where there is one: for `sendfile` and locks. `None` on a simulated disk.
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Fills `buf` from `offset` on; `UnexpectedEof` if the file ends first.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let count = self.read_at(buf, offset)?;
            assert!(count <= buf.len(), "{count} bytes were read into a buffer of {}", buf.len());
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset += count as u64;
            buf = buf.split_at_mut(count).1;
        }
        Ok(())
    }
}

/// The whole content of a file, but no more than `limit` bytes of it: longer files are an `InvalidData` error.
pub fn read_file(disk: &dyn Disk, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut content = Vec::new();
    let mut chunk = [0u8; 8192];
    loop {
        let count = file.read_at(&mut chunk, content.len() as u64)?;
        if count == 0 {
            return Ok(content);
        }
        if content.len() + count > limit {
            let reason = format!("file is longer than the {limit} bytes it may have");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        content.extend_from_slice(chunk.split_at(count).0);
    }
}
