//! Getting files to the disk while others still arrive.
//!
//! Writing runs beside receiving: large files go past the page cache where that is possible (`direct`), and of others
//! the pages are handed to the disk every few megabytes; the fsyncs happen on threads of their own once files are complete.
//! The first failure is final; nothing is tried again.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use runtime::sync::Mutex;

use super::direct::{self, DirectFile, DirectWriter};
use crate::file_error::FileError;

/// How many bytes are written before the disk is told to begin with them.
const WRITEBACK: u64 = 8 << 20;

/// How many small files are fsynced one after the other; each holds a file descriptor.
const BATCH: usize = 64;

/// How many batches may wait.
const WAITING: usize = 2;

/// Threads that fsync; the waiting is the disk's, so this does not depend on cores.
const THREADS: usize = 3;

/// A file being written from its start to its end.
#[derive(Debug)]
pub(super) struct SteadyFile {
    file: File,
    /// Bytes written.
    written: u64,
    /// Bytes whose writing back was begun; at most `written`.
    begun: u64,
    /// Whether to begin writing back before the end.
    steady: bool,
}

impl SteadyFile {
    /// `file`, empty and at its start; `durable` if it is going to be fsynced.
    pub(super) fn new(file: File, durable: bool) -> Self {
        Self { file, written: 0, begun: 0, steady: durable }
    }

    /// The file, for its fsync.
    pub(super) fn into_file(self) -> File {
        self.file
    }

    fn begin_writing_back(&mut self) {
        let length = self.written - self.begun;
        // SAFETY: the call takes a descriptor that is open and three numbers.
        let result = unsafe {
            libc::sync_file_range(
                self.file.as_raw_fd(),
                self.begun as libc::off64_t,
                length as libc::off64_t,
                libc::SYNC_FILE_RANGE_WRITE,
            )
        };
        // Only advice: what goes wrong in writing back is reported by the fsync. Pipes and some file systems refuse it.
        if result != 0 {
            self.steady = false;
        }
        self.begun = self.written;
    }
}

impl Write for SteadyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.written += length as u64;
        if self.steady && self.written - self.begun >= WRITEBACK {
            self.begin_writing_back();
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file being written that is going to be fsynced.
#[derive(Debug)]
pub(super) enum DurableFile {
    /// Through the page cache.
    Cached(SteadyFile, PathBuf),
    /// Past it.
    Direct(DirectFile),
}

impl DurableFile {
    /// Takes the next bytes. An error may be that of earlier ones or of another file.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        match self {
            Self::Cached(file, path) => file.write_all(bytes).map_err(FileError::on("write to file", path)),
            Self::Direct(file) => file.write_all(bytes),
        }
    }
}

/// A complete file, and what it is called in errors.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

/// Threads that write large files and fsync all.
#[derive(Debug)]
pub(super) struct Syncer {
    syncs: SyncQueue,
    /// Complete small files, not handed over yet: the first fsync of a batch commits the file system's journal for all
    /// of them, so that those after it have little left to do.
    batch: Vec<Arc<Target>>,
    /// Bytes in the batch.
    batched: u64,
    writer: DirectWriter,
    threads: Vec<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the threads.
    pub(super) fn start() -> Self {
        let (queue, waiting) = sync_channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        let syncs = SyncQueue { queue, failure: Failure::default() };
        let threads = (0..THREADS)
            .map(|_| {
                let (waiting, failure) = (Arc::clone(&waiting), syncs.failure.clone());
                std::thread::spawn(move || sync_files(&waiting, &failure))
            })
            .collect();
        let writer = DirectWriter::start(syncs.clone());
        Self { syncs, batch: Vec::new(), batched: 0, writer, threads }
    }

    /// `file`, empty and at its start, which is expected to get so many bytes.
    pub(super) fn file(&self, file: File, path: PathBuf, expected: u64) -> DurableFile {
        if expected < direct::LEAST {
            return DurableFile::Cached(SteadyFile::new(file, true), path);
        }
        match self.writer.take(file, &path) {
            Ok(file) => DurableFile::Direct(file),
            Err(file) => DurableFile::Cached(SteadyFile::new(file, true), path),
        }
    }

    /// Takes a complete file; waits while too many are under way. Fails if anything has failed so far.
    pub(super) fn submit(&mut self, file: DurableFile) -> Result<(), FileError> {
        self.syncs.failure.check()?;
        match file {
            DurableFile::Direct(file) => file.finish(),
            DurableFile::Cached(file, path) => {
                self.batched += file.written;
                self.batch.push(Arc::new(Target { file: file.into_file(), path }));
                if self.batch.len() >= BATCH || self.batched >= WRITEBACK {
                    self.hand_over();
                }
                Ok(())
            }
        }
    }

    /// Waits until everything submitted is on the disk.
    pub(super) fn finish(mut self) -> Result<(), FileError> {
        self.hand_over();
        let Self { syncs: SyncQueue { queue, failure }, writer, threads, .. } = self;
        writer.finish()?;
        drop(queue);
        for thread in threads {
            thread.join().map_err(|_| panicked("fsync files of"))?;
        }
        failure.check()
    }

    fn hand_over(&mut self) {
        self.batched = 0;
        self.syncs.send(std::mem::take(&mut self.batch));
    }
}

/// The way to the threads that fsync.
#[derive(Debug, Clone)]
pub(super) struct SyncQueue {
    queue: SyncSender<Vec<Arc<Target>>>,
    failure: Failure,
}

impl SyncQueue {
    /// Waits while too many are under way.
    pub(super) fn send(&self, batch: Vec<Arc<Target>>) {
        // The threads only end when the queue does, or by a panic, which `finish` reports.
        let _ = self.queue.send(batch);
    }

    /// Where failures are noted.
    pub(super) fn failure(&self) -> &Failure {
        &self.failure
    }
}

/// The first failure, if any.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<FileError>>>);

impl Failure {
    /// Notes a failure, unless there was one before.
    pub(super) fn set(&self, error: FileError) {
        self.0.lock().get_or_insert(error);
    }

    /// Tells the failure, once: it ends the backup.
    pub(super) fn check(&self) -> Result<(), FileError> {
        self.0.lock().take().map_or(Ok(()), Err)
    }
}

fn sync_files(waiting: &Mutex<Receiver<Vec<Arc<Target>>>>, failure: &Failure) {
    loop {
        let next = waiting.lock().recv();
        let Ok(batch) = next else { return };
        for target in batch {
            if let Err(error) = target.file.sync_all() {
                failure.set(FileError::on("fsync file", &target.path)(error));
            }
        }
    }
}

/// A thread that ended as it should not.
pub(super) fn panicked(action: &'static str) -> FileError {
    FileError { action, path: PathBuf::from("backup"), source: io::Error::other("a thread panicked") }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), FileError> {
    let directory = File::open(path).map_err(FileError::on("open directory", path))?;
    match directory.sync_all() {
        // Some file systems cannot, and say so in one of these ways.
        Err(error) if !matches!(error.raw_os_error(), Some(libc::EBADF | libc::EINVAL)) => {
            Err(FileError::on("fsync directory", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_submitted_is_synced_before_finish_returns() {
        let temp = tempfile::tempdir().unwrap();
        let mut syncer = Syncer::start();
        for number in 0..200 {
            let path = temp.path().join(number.to_string());
            let mut file = syncer.file(File::create_new(&path).unwrap(), path, 3000);
            file.write_all(&[1; 3000]).unwrap();
            syncer.submit(file).unwrap();
        }
        syncer.finish().unwrap();
        sync_directory(temp.path()).unwrap();
    }

    #[test]
    fn a_failed_fsync_is_reported() {
        let mut syncer = Syncer::start();
        // The writing end of a pipe cannot be fsynced.
        let (_reader, writer) = io::pipe().unwrap();
        let fd: std::os::fd::OwnedFd = writer.into();
        let file = syncer.file(File::from(fd), PathBuf::from("pipe"), 0);
        syncer.submit(file).unwrap();
        let error = syncer.finish().unwrap_err();
        assert_eq!(error.path, Path::new("pipe"));
    }
}
