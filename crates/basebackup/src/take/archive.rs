//! Archives being stored as they are (`-Ft`), in a directory or on standard output.
//!
//! Until the backup is complete they have unfinished names, so that a killed run leaves nothing that looks like one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::durability::{SteadyFile, Syncer};
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
    file: SteadyFile,
    path: PathBuf,
}

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
        let (file, path, durable) = match &self.place {
            Place::Directory { root, mode, syncer } => {
                let path = root.join(format!("{name}{UNFINISHED}"));
                let file = OpenOptions::new().write(true).create_new(true).mode(*mode).open(&path);
                (file.map_err(FileError::on("create file", &path))?, path, syncer.is_some())
            }
            Place::Stdout => {
                let path = PathBuf::from("standard output");
                let file = io::stdout().as_fd().try_clone_to_owned();
                (File::from(file.map_err(FileError::on("open", &path))?), path, false)
            }
        };
        Ok(StoredArchive { file: SteadyFile::new(file, durable), path })
    }

    /// Takes back a complete archive.
    pub(super) fn finish(&mut self, archive: StoredArchive) -> Result<(), TakeError> {
        let Place::Directory { syncer, .. } = &self.place else { return Ok(()) };
        self.complete.push(archive.path.clone());
        if let Some(syncer) = syncer {
            syncer.submit(archive.file.into_file(), archive.path)?;
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
        let written = self.file.write(bytes);
        written.map_err(|error| io::Error::other(FileError::on("write to file", &self.path)(error)))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
