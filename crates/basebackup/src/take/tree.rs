//! A data directory being unpacked (`-Fp`).
//!
//! Nothing is written outside of the directories claimed for the backup, whatever the archives say: a member is only
//! created in a directory that this run made itself, so no link can lie on the way; files are never opened but created;
//! and links are only made for announced tablespaces, to the directories agreed on for them.
//!
//! `global/pg_control` keeps another name until the backup is complete, so that no server starts from half a backup
//! even if this process is killed.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::durability::{DurableFile, Syncer};
use super::error::TakeError;
use super::members::MemberSink;
use super::tablespace::Tablespace;
use crate::RelativePath;
use crate::file_error::FileError;
use crate::manifest;
use crate::tar::{Header, MemberKind};

/// What a server cannot start without, in PostgreSQL's and in our words.
pub(crate) const CONTROL_FILE: &str = "global/pg_control";
pub(super) const UNFINISHED_CONTROL_FILE: &str = "global/pg_control.unfinished";

/// A data directory being unpacked.
pub(super) struct Tree {
    root: PathBuf,
    /// Directories that exist because of this run, tablespaces' own ones included.
    made: HashSet<PathBuf>,
    /// Gets files to the disk; `None` if nobody wants that.
    syncer: Option<Syncer>,
    /// Whether the control file has come.
    has_control_file: bool,
}

impl Tree {
    /// A tree in `root`, which is claimed and empty.
    pub(super) fn new(root: &Path, durable: bool) -> Self {
        Self {
            root: root.to_owned(),
            made: HashSet::from([root.to_owned()]),
            syncer: durable.then(Syncer::start),
            has_control_file: false,
        }
    }

    /// Where the tree is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Notes a directory that was made for the tree elsewhere in this run.
    pub(super) fn add_directory(&mut self, path: &Path) {
        self.made.insert(path.to_owned());
    }

    /// Begins the archive of `tablespace`, or the main one.
    pub(super) fn archive<'a>(
        &'a mut self,
        tablespace: Option<&Tablespace>,
        links: &'a [Tablespace],
    ) -> TreeArchive<'a> {
        let root = tablespace.map_or_else(|| self.root.clone(), |tablespace| tablespace.directory.clone());
        TreeArchive { is_main: tablespace.is_none(), root, links, tree: self, current: None }
    }

    /// Everything but directories is on the disk after this.
    pub(super) fn finish_files(&mut self) -> Result<(), FileError> {
        self.syncer.take().map_or(Ok(()), Syncer::finish)
    }

    /// The directories to be made durable, the innermost first.
    pub(super) fn directories(&self) -> Vec<&Path> {
        let mut directories: Vec<_> = self.made.iter().map(PathBuf::as_path).collect();
        directories.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        directories
    }

    /// Gives the control file its name, the last thing but the manifest.
    pub(super) fn reveal(&self) -> Result<(), TakeError> {
        if !self.has_control_file {
            return Err(TakeError::Answer(format!("server sent no \"{CONTROL_FILE}\"")));
        }
        let to = self.root.join(CONTROL_FILE);
        fs::rename(self.root.join(UNFINISHED_CONTROL_FILE), &to)
            .map_err(FileError::on("rename file", &to))?;
        Ok(())
    }
}

/// A file being unpacked.
enum Current {
    /// Somebody waits for the disk.
    Durable(DurableFile),
    /// Nobody does.
    Plain(File, PathBuf),
}

/// One archive being unpacked into a tree.
pub(super) struct TreeArchive<'a> {
    tree: &'a mut Tree,
    root: PathBuf,
    is_main: bool,
    links: &'a [Tablespace],
    current: Option<Current>,
}

impl TreeArchive<'_> {
    fn make_directory(&mut self, target: &Path, mode: u32) -> Result<(), TakeError> {
        // pg_wal, and tablespaces that live in place, are there before the main archive names them.
        if self.tree.made.contains(target) {
            return Ok(());
        }
        let made = DirBuilder::new().mode(mode).create(target);
        made.map_err(FileError::on("create directory", target))?;
        self.tree.made.insert(target.to_owned());
        Ok(())
    }

    fn make_link(&self, path: &RelativePath, target: &Path, to: &[u8]) -> Result<(), TakeError> {
        let announced = self.links.iter().find(|tablespace| {
            self.is_main
                && *path == tablespace.path
                && to == tablespace.location.as_bytes()
                && !tablespace.in_place
        });
        let Some(tablespace) = announced else {
            let to = String::from_utf8_lossy(to);
            return Err(refused(format!("link \"{path}\" to \"{}\" is of no tablespace", to.escape_debug())));
        };
        let linked = std::os::unix::fs::symlink(&tablespace.directory, target);
        linked.map_err(FileError::on("create symbolic link", target))?;
        Ok(())
    }

    fn make_file(
        &mut self,
        path: &RelativePath,
        target: PathBuf,
        mode: u32,
        size: u64,
    ) -> Result<(), TakeError> {
        let mut target = target;
        if self.is_main && path.as_bytes() == CONTROL_FILE.as_bytes() {
            target = self.root.join(UNFINISHED_CONTROL_FILE);
            self.tree.has_control_file = true;
        } else if self.is_main
            && [manifest::FILE_NAME, UNFINISHED_CONTROL_FILE]
                .iter()
                .any(|name| path.as_bytes() == name.as_bytes())
        {
            return Err(refused(format!("file \"{path}\" does not belong into an archive")));
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&target);
        let file = file.map_err(FileError::on("create file", &target))?;
        // The process's umask may have taken away what the server's files have.
        let exact = file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o7777 == mode);
        if !exact {
            file.set_permissions(fs::Permissions::from_mode(mode))
                .map_err(FileError::on("set permissions on file", &target))?;
        }
        self.current = Some(match &self.tree.syncer {
            Some(syncer) => Current::Durable(syncer.file(file, target, size)),
            None => Current::Plain(file, target),
        });
        Ok(())
    }
}

impl MemberSink for TreeArchive<'_> {
    fn begin(&mut self, header: &Header, _: &[u8; 512]) -> Result<(), TakeError> {
        let path = &header.path;
        let target = path.below(&self.root);
        if !target.parent().is_some_and(|parent| self.tree.made.contains(parent)) {
            return Err(refused(format!("\"{path}\" is in a directory that was not sent before")));
        }
        let mode = header.mode & 0o777;
        match &header.kind {
            MemberKind::Directory => self.make_directory(&target, mode),
            MemberKind::Symlink(to) => self.make_link(path, &target, to),
            MemberKind::File => self.make_file(path, target, mode, header.size),
        }
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), TakeError> {
        match &mut self.current {
            Some(Current::Durable(file)) => file.write_all(bytes)?,
            Some(Current::Plain(file, path)) => {
                file.write_all(bytes).map_err(FileError::on("write to file", path))?;
            }
            None => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), TakeError> {
        if let (Some(Current::Durable(file)), Some(syncer)) = (self.current.take(), &mut self.tree.syncer) {
            syncer.submit(file)?;
        }
        Ok(())
    }
}

fn refused(what: String) -> TakeError {
    TakeError::Refused(what)
}

#[cfg(test)]
mod tests;
