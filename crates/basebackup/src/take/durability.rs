//! Getting files to the disk while others still arrive.
//!
//! Writing back starts early and runs beside receiving: a file's pages are handed to the disk every few megabytes, and
//! its fsync happens on a thread of its own once it is complete. The first failure is final; nothing is tried again.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::file_error::FileError;

/// How many bytes are written before the disk is told to begin with them.
const WRITEBACK: u64 = 8 << 20;

/// How many complete files may wait for their fsync; each holds a file descriptor.
const WAITING: usize = 64;

/// Threads that fsync; the waiting is the disk's, so this does not depend on cores.
const THREADS: usize = 4;

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

/// Threads that fsync what they are given.
#[derive(Debug)]
pub(super) struct Syncer {
    queue: SyncSender<(File, PathBuf)>,
    threads: Vec<JoinHandle<()>>,
    failure: Failure,
}

/// The first failure, if any.
type Failure = Arc<Mutex<Option<FileError>>>;

impl Syncer {
    /// Starts the threads.
    pub(super) fn start() -> Self {
        let (queue, waiting) = sync_channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        let failure = Failure::default();
        let threads = (0..THREADS)
            .map(|_| {
                let (waiting, failure) = (Arc::clone(&waiting), Arc::clone(&failure));
                std::thread::spawn(move || sync_files(&waiting, &failure))
            })
            .collect();
        Self { queue, threads, failure }
    }

    /// Takes a complete file; waits while too many are under way. Fails if any fsync has failed so far.
    pub(super) fn submit(&self, file: File, path: PathBuf) -> Result<(), FileError> {
        self.check()?;
        // The threads only end when the queue does, or by a panic, which `finish` reports.
        let _ = self.queue.send((file, path));
        Ok(())
    }

    /// Waits until everything submitted is on the disk.
    pub(super) fn finish(self) -> Result<(), FileError> {
        let Self { queue, threads, failure } = self;
        drop(queue);
        for thread in threads {
            if thread.join().is_err() {
                let source = io::Error::other("a thread panicked");
                return Err(FileError { action: "fsync files of", path: PathBuf::from("backup"), source });
            }
        }
        match failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), FileError> {
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn sync_files(waiting: &Mutex<Receiver<(File, PathBuf)>>, failure: &Mutex<Option<FileError>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((file, path)) = next else { return };
        if let Err(error) = file.sync_all().map_err(FileError::on("fsync file", &path)) {
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }
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
        let syncer = Syncer::start();
        for number in 0..200 {
            let path = temp.path().join(number.to_string());
            let mut file = SteadyFile::new(File::create_new(&path).unwrap(), true);
            file.write_all(&[1; 3000]).unwrap();
            assert_eq!(file.written, 3000);
            syncer.submit(file.into_file(), path).unwrap();
        }
        syncer.finish().unwrap();
        sync_directory(temp.path()).unwrap();
    }

    #[test]
    fn a_failed_fsync_is_reported() {
        let syncer = Syncer::start();
        // The writing end of a pipe cannot be fsynced.
        let (_reader, writer) = io::pipe().unwrap();
        let fd: std::os::fd::OwnedFd = writer.into();
        syncer.submit(File::from(fd), PathBuf::from("pipe")).unwrap();
        let error = syncer.finish().unwrap_err();
        assert_eq!(error.path, Path::new("pipe"));
    }
}
