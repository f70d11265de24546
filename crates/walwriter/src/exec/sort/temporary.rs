//! Sorted runs of entries in a file without a name: whatever happens to the server, nothing of it is left.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags};

use crate::exec::{Failure, Result};

/// Bytes written, or read, at once.
pub(super) const BUFFER: usize = 32 << 10;
/// An entry's two lengths, little endian.
const HEADER: usize = 8;

/// Where runs go to, one behind the other.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    file: File,
    /// Moved by whoever writes a run; there is one at a time.
    end: Cell<u64>,
}

/// Entries in order, in a part of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    start: u64,
    end: u64,
}

/// Appends a run.
pub(super) struct RunWriter<'f> {
    to: &'f TemporaryFile,
    start: u64,
    /// How much of it is in the file, in bytes.
    written: u64,
    buffer: Vec<u8>,
}

/// Where a reader of a run is.
#[derive(Debug)]
pub(super) struct RunReader {
    /// What has not been read yet.
    rest: Run,
    buffer: Vec<u8>,
    /// The entry at hand in the buffer: where its key and its payload begin, and where it ends.
    entry: [usize; 3],
}

fn failure(action: &str, error: &io::Error) -> Failure {
    let sqlstate = if error.kind() == io::ErrorKind::StorageFull { "53100" } else { "58030" };
    Failure::new(sqlstate, format!("could not {action} temporary file: {error}"))
}

impl TemporaryFile {
    /// A new file in `dir`, which is made if need be.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let open = || -> io::Result<File> {
            fs::create_dir_all(dir)?;
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => Ok(File::from(file)),
                // Not every file system has files without a name.
                Err(_) => create_and_unlink(dir),
            }
        };
        let file = open().map_err(|error| failure("create", &error))?;
        Ok(Self { file, end: Cell::new(0) })
    }

    /// Begins a run behind the last one.
    pub(super) fn append(&self) -> RunWriter<'_> {
        RunWriter { start: self.end.get(), to: self, written: 0, buffer: Vec::with_capacity(BUFFER) }
    }

    /// Gives back the space of a run that is not needed any more.
    pub(super) fn release(&self, run: Run) {
        assert!(run.start <= run.end && run.end <= self.end.get(), "a run that is given back is in the file");
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // Where that cannot be done the file keeps its space until it is closed.
        let _ = rustix::fs::fallocate(&self.file, flags, run.start, run.end - run.start);
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.end.get()).map_err(|error| failure("write to", &error))?;
        self.end.set(self.end.get() + bytes.len() as u64);
        Ok(())
    }
}

fn create_and_unlink(dir: &Path) -> io::Result<File> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!("pgsql_tmp{}.{number}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

impl RunWriter<'_> {
    pub(super) fn push(&mut self, key: &[u8], payload: &[u8]) -> Result<()> {
        for length in [key.len(), payload.len()] {
            let length =
                u32::try_from(length).map_err(|_| Failure::new("54000", "row is too long to be sorted"))?;
            self.buffer.extend_from_slice(&length.to_le_bytes());
        }
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(payload);
        if self.buffer.len() >= BUFFER { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        self.to.write(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        let (start, end) = (self.start, self.to.end.get());
        assert_eq!(start + self.written, end, "one run at a time is written, this one from {start} on");
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Run> {
        self.write()?;
        Ok(Run { start: self.start, end: self.to.end.get() })
    }
}

impl RunReader {
    pub(super) fn new(run: Run) -> Self {
        Self { rest: run, buffer: Vec::new(), entry: [0; 3] }
    }

    pub(super) fn key(&self) -> &[u8] {
        self.buffer.get(self.entry[0]..self.entry[1]).unwrap_or_default()
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.buffer.get(self.entry[1]..self.entry[2]).unwrap_or_default()
    }

    /// Moves to the next entry; false if there is none.
    pub(super) fn advance(&mut self, from: &TemporaryFile) -> Result<bool> {
        let mut start = self.entry[2];
        if start == self.buffer.len() && self.rest.start == self.rest.end {
            self.buffer = Vec::new();
            self.entry = [0; 3];
            return Ok(false);
        }
        start = self.provide(from, start, HEADER)?;
        let (lengths, _) = self.buffer.get(start..).unwrap_or_default().as_chunks::<4>();
        let length = |at: usize| lengths.get(at).map_or(0, |length| u32::from_le_bytes(*length) as usize);
        let (key, payload) = (length(0), length(1));
        start = self.provide(from, start, HEADER + key + payload)? + HEADER;
        self.entry = [start, start + key, start + key + payload];
        Ok(true)
    }

    /// Has so many bytes from `start` on in the buffer; says where they begin then.
    fn provide(&mut self, from: &TemporaryFile, start: usize, bytes: usize) -> Result<usize> {
        if start + bytes <= self.buffer.len() {
            return Ok(start);
        }
        self.buffer.drain(..start);
        let left = self.rest.end - self.rest.start;
        let wanted = bytes.max(BUFFER) - self.buffer.len();
        let wanted = left.min(wanted as u64) as usize;
        let had = self.buffer.len();
        self.buffer.resize(had + wanted, 0);
        let target = self.buffer.get_mut(had..).unwrap_or_default();
        from.file.read_exact_at(target, self.rest.start).map_err(|error| failure("read", &error))?;
        self.rest.start += wanted as u64;
        assert!(self.rest.start <= self.rest.end, "nothing is read behind a run's end");
        if self.buffer.len() < bytes {
            return Err(Failure::new("XX001", "temporary file ends in the middle of a row"));
        }
        Ok(0)
    }
}
