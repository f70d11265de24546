//! The real file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::{DirEntry, Disk, DiskFile, Metadata, OpenMode, fill_zeros};

/// The file system the process runs on. Interrupted calls are repeated and short transfers continued.
#[derive(Clone, Copy, Debug)]
pub struct OsDisk {
    file_mode: u32,
    dir_mode: u32,
}

impl OsDisk {
    /// Files and directories are created for their owner alone (0600 and 0700), as PostgreSQL does.
    pub const fn new() -> Self {
        Self { file_mode: 0o600, dir_mode: 0o700 }
    }

    /// The group may read what is created (0640 and 0750): what PostgreSQL does in a cluster made with
    /// `initdb --allow-group-access`, which `SHOW data_directory_mode` tells.
    pub const fn with_group_access() -> Self {
        Self { file_mode: 0o640, dir_mode: 0o750 }
    }
}

impl Default for OsDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(self.file_mode);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
            OpenMode::Create => options.write(true).create(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Box::new(OsFile(options.open(path)?)))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Followed like `metadata`; a name that vanishes meanwhile, or dangles, is not there.
            match fs::metadata(entry.path()) {
                Ok(found) => {
                    entries.push(DirEntry { name, len: content_len(&found), is_dir: found.is_dir() })
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let found = fs::metadata(path)?;
        Ok(Metadata { len: content_len(&found), is_dir: found.is_dir() })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(self.dir_mode).create(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // An empty path is what `Path::parent` gives for a bare file name: the working directory.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let dir = File::open(path)?;
        if !dir.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        dir.sync_all()
    }
}

fn content_len(found: &fs::Metadata) -> u64 {
    if found.is_dir() { 0 } else { found.len() }
}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    /// Little: large writes make the page cache use large folios, and each small write and sync into those later costs
    /// more. See docs/performance.md.
    fn zeros_at_once(&self) -> usize {
        8 << 10
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // The standard library's loop repeats interrupted writes and continues short ones.
        self.0.write_all_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.reserve(FallocateFlags::empty(), offset, len)
    }

    fn claim(&self, offset: u64, len: u64) -> io::Result<()> {
        self.reserve(FallocateFlags::KEEP_SIZE, offset, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

impl OsFile {
    /// `fallocate`; where the file system has none, the part that extends the file is written out as zeros, whatever the
    /// flags.
    fn reserve(&self, flags: FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        loop {
            match rustix::fs::fallocate(&self.0, flags, offset, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
                    let from = self.len()?.max(offset);
                    return fill_zeros(self, from, end.saturating_sub(from));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
