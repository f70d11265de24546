//! Completing a backup: everything durable, and only then the names that make it one.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::archive::UNFINISHED;
use super::claim::Claims;
use super::durability::sync_directory;
use super::error::TakeError;
use super::receiver::{Output, Received};
use super::recovery::{AUTO_CONF, STANDBY_SIGNAL};
use crate::file_error::FileError;
use crate::manifest;

/// What is left to do once everything has been received.
pub(super) struct Completion<'a> {
    /// Where the backup is.
    pub(super) root: &'a Path,
    /// The directories made for it.
    pub(super) claims: &'a Claims,
    /// Settings of a standby, for a data directory.
    pub(super) settings: Option<String>,
    /// Archives stored by others, under their unfinished names.
    pub(super) archives: Vec<PathBuf>,
    /// For files that are added.
    pub(super) file_mode: u32,
    /// Whether the manifest gets its name, which makes it a backup.
    pub(super) is_good: bool,
    /// Whether to wait for the disk.
    pub(super) durable: bool,
}

impl Completion<'_> {
    /// Leaves what has come, though it is no backup: all of it in its files, and the manifest under its unfinished name.
    pub(super) fn leave(&self, received: &mut Received) {
        let stored = finish_files(&mut received.output).and_then(|()| self.store_manifest(received));
        if let Err(error) = stored {
            tracing::warn!("could not keep all of what has come: {error}");
        }
    }

    /// Completes a backup in a directory.
    ///
    /// The order is what makes it safe: contents, then the directories that name them; then `pg_control`, or the
    /// archives' names; last the manifest, which vouches for all of it.
    pub(super) fn run(&self, received: &mut Received) -> Result<(), TakeError> {
        if let Some(settings) = &self.settings {
            self.write_settings(settings)?;
        }
        finish_files(&mut received.output)?;
        let directories = match &received.output {
            Output::Tree(tree) => tree.directories().into_iter().map(Path::to_owned).collect(),
            Output::Archives(_) => vec![self.root.to_owned()],
            Output::Elsewhere => return Ok(()),
        };
        self.sync_all(directories.iter().map(PathBuf::as_path))?;
        self.sync_all(self.claims.changed_parents())?;
        match &received.output {
            Output::Tree(tree) => {
                tree.reveal()?;
                self.sync_all([self.root.join("global").as_path()].into_iter())?;
            }
            Output::Archives(store) => {
                store.reveal()?;
                for path in &self.archives {
                    let to = path.with_extension("");
                    fs::rename(path, &to).map_err(FileError::on("rename file", &to))?;
                }
                self.sync_all([self.root].into_iter())?;
            }
            Output::Elsewhere => {}
        }
        if received.manifest.is_some() { self.finish_manifest(received) } else { Ok(()) }
    }

    /// Appends to `postgresql.auto.conf` and makes the signal file.
    fn write_settings(&self, settings: &str) -> Result<(), TakeError> {
        let append = |name: &str, text: &str| {
            let path = self.root.join(name);
            let file = OpenOptions::new().append(true).create(true).mode(self.file_mode).open(&path);
            let mut file = file.map_err(FileError::on("open file", &path))?;
            file.write_all(text.as_bytes()).map_err(FileError::on("write to file", &path))?;
            if self.durable {
                file.sync_all().map_err(FileError::on("fsync file", &path))?;
            }
            Ok(())
        };
        append(AUTO_CONF, settings)?;
        append(STANDBY_SIGNAL, "")
    }

    /// The manifest's name, and the one that it has before.
    fn manifest_paths(&self) -> (PathBuf, PathBuf) {
        let name = manifest::FILE_NAME;
        (self.root.join(name), self.root.join(format!("{name}{UNFINISHED}")))
    }

    /// Writes the manifest, which has not got its name by that.
    fn store_manifest(&self, received: &Received) -> Result<(), TakeError> {
        let Some((bytes, _)) = &received.manifest else { return Ok(()) };
        let (_, path) = self.manifest_paths();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(self.file_mode);
        let mut file = options.open(&path).map_err(FileError::on("create file", &path))?;
        file.write_all(bytes).map_err(FileError::on("write to file", &path))?;
        if self.durable {
            file.sync_all().map_err(FileError::on("fsync file", &path))?;
        }
        Ok(())
    }

    fn finish_manifest(&self, received: &Received) -> Result<(), TakeError> {
        self.store_manifest(received)?;
        let (path, unfinished) = self.manifest_paths();
        if self.is_good {
            fs::rename(&unfinished, &path).map_err(FileError::on("rename file", &path))?;
        }
        let synced = self.sync_all([self.root].into_iter());
        if synced.is_err() && self.is_good {
            // The name may or may not outlive a power cut, so nothing here is to be taken for a backup.
            let _ = fs::rename(&path, &unfinished);
        }
        synced
    }

    fn sync_all<'p>(&self, directories: impl Iterator<Item = &'p Path>) -> Result<(), TakeError> {
        if self.durable {
            for directory in directories {
                sync_directory(directory)?;
            }
        }
        Ok(())
    }
}

/// All contents are in their files, and on the disk if that is wanted, after this.
fn finish_files(output: &mut Output) -> Result<(), TakeError> {
    match output {
        Output::Tree(tree) => tree.finish_files()?,
        Output::Archives(store) => store.finish_files()?,
        Output::Elsewhere => {}
    }
    Ok(())
}
