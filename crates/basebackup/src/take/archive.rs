//! Archives being stored as they are (`-Ft`), in a directory or on standard output.
//!
//! Until the backup is complete they have unfinished names, so that a killed run leaves nothing that looks like one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::durability::{DurableFile, Syncer};
use super::error::TakeError;
use crate::file_error::FileError;

/// What is appended to the names of archives that are not complete.
pub(super) const UNFINISHED: &str = ".unfinished";

/// Where archives go.
pub(super) struct ArchiveStore {
    place: Place,
    /// Complete ones that still have their unfinished names.
    complete: Vec<PathBuf>,
}

enum Place {
    Directory { root: PathBuf, mode: u32, syncer: Option<Syncer> },
    Stdout,
}

/// An archive being written. Its errors name the file.
pub(super) struct StoredArchive {
    out: Out,
    path: PathBuf,
}

enum Out {
    /// Somebody waits for the disk.
    Durable(DurableFile),
    /// Nobody does.
    Plain(File),
}

/// Archives are always taken to be large; nobody says how large.
const EXPECTED: u64 = u64::MAX;

impl ArchiveStore {
    /// A store in `root`, which is claimed and empty; files get `mode`.
    pub(super) fn in_directory(root: &Path, mode: u32, durable: bool) -> Self {
        let place = Place::Directory { root: root.to_owned(), mode, syncer: durable.then(Syncer::start) };
        Self { place, complete: Vec::new() }
    }

    /// Standard output.
    pub(super) fn on_stdout() -> Self {
        Self { place: Place::Stdout, complete: Vec::new() }
    }

    /// Whether this is standard output.
    pub(super) fn is_stdout(&self) -> bool {
        matches!(self.place, Place::Stdout)
    }

    /// Begins the archive `name`.
    pub(super) fn create(&self, name: &str) -> Result<StoredArchive, TakeError> {
        let (out, path) = match &self.place {
            Place::Directory { root, mode, syncer } => {
                let path = root.join(format!("{name}{UNFINISHED}"));
                let file = OpenOptions::new().write(true).create_new(true).mode(*mode).open(&path);
                let file = file.map_err(FileError::on("create file", &path))?;
                let out = match syncer {
                    Some(syncer) => Out::Durable(syncer.file(file, path.clone(), EXPECTED)),
                    None => Out::Plain(file),
                };
                (out, path)
            }
            Place::Stdout => {
                let path = PathBuf::from("standard output");
                let file = io::stdout().as_fd().try_clone_to_owned();
                (Out::Plain(File::from(file.map_err(FileError::on("open", &path))?)), path)
            }
        };
        Ok(StoredArchive { out, path })
    }

    /// Takes back a complete archive.
    pub(super) fn finish(&mut self, archive: StoredArchive) -> Result<(), TakeError> {
        let Place::Directory { syncer, .. } = &mut self.place else { return Ok(()) };
        self.complete.push(archive.path);
        if let (Out::Durable(file), Some(syncer)) = (archive.out, syncer) {
            syncer.submit(file)?;
        }
        Ok(())
    }

    /// All archives' contents are on the disk after this.
    pub(super) fn finish_files(&mut self) -> Result<(), FileError> {
        match &mut self.place {
            Place::Directory { syncer, .. } => syncer.take().map_or(Ok(()), Syncer::finish),
            Place::Stdout => Ok(()),
        }
    }

    /// Gives the archives their names.
    pub(super) fn reveal(&self) -> Result<(), TakeError> {
        for path in &self.complete {
            let to = path.with_extension("");
            fs::rename(path, &to).map_err(FileError::on("rename file", &to))?;
        }
        Ok(())
    }
}

impl Write for StoredArchive {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.out {
            Out::Durable(file) => file.write_all(bytes).map(|()| bytes.len()),
            Out::Plain(file) => file.write(bytes).map_err(FileError::on("write to file", &self.path)),
        };
        written.map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
