//! Verifying a data directory.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::checksums::{self, File};
use super::wal_check::{self, Directory};
use super::{Context, Problem, control};
use crate::RelativePath;
use crate::manifest::FileEntry;
use crate::take::CONTROL_FILE;

/// Verifies the directory; gives the number of WAL records read.
pub(super) fn verify(context: &Context<'_>) -> Option<u64> {
    let entries = context.manifest.files.iter().map(|entry| (&entry.path, entry)).collect();
    let mut walk =
        Walk { context, entries, found: HashSet::new(), good: Vec::new(), visited: HashSet::new() };
    walk.directory(&context.options.directory, None);
    let Walk { found, good, .. } = walk;
    for entry in &context.manifest.files {
        if !found.contains(&entry.path) && !context.ignores(&entry.path) {
            context.report(Problem::Missing(entry.path.clone()));
        }
    }
    check_control_file(context);
    std::thread::scope(|scope| {
        // Reading WAL is one thread's work, so it goes beside the checksums rather than after them.
        let wal = (!context.options.no_parse_wal && !context.stopped()).then(|| {
            scope.spawn(|| {
                let directory = context.options.wal_directory.clone();
                let directory = directory.unwrap_or_else(|| context.options.directory.join("pg_wal"));
                wal_check::verify(context, Directory::new(directory))
            })
        });
        if !context.options.skip_checksums {
            checksums::verify(context, good);
        }
        wal.map(|thread| thread.join().unwrap_or(0))
    })
}

/// A manifest that names the system can be held against the control file.
fn check_control_file(context: &Context<'_>) {
    let Some(system) = context.manifest.system_id else { return };
    let path = context.options.directory.join(CONTROL_FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            if let Some(wrong) = control::check(&bytes, Some(system)) {
                context.report(Problem::ControlFile(wrong));
            }
        }
        Err(error) => context.report_io("open file", &path, error),
    }
}

/// A walk through the directory.
struct Walk<'c, 'm> {
    context: &'c Context<'m>,
    entries: HashMap<&'m RelativePath, &'m FileEntry>,
    /// Listed files that are there.
    found: HashSet<&'m RelativePath>,
    /// Those whose checksums are worth computing.
    good: Vec<File<'m>>,
    /// Directories by device and inode, so that links cannot lead in circles.
    visited: HashSet<(u64, u64)>,
}

impl Walk<'_, '_> {
    fn directory(&mut self, path: &Path, relative: Option<&RelativePath>) {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.context.report_io("open directory", path, error),
        };
        for entry in entries {
            if self.context.stopped() {
                return;
            }
            match entry {
                Ok(entry) => self.entry(entry.path(), entry.file_name().as_bytes(), relative),
                Err(error) => return self.context.report_io("read directory", path, error),
            }
        }
    }

    fn entry(&mut self, path: PathBuf, name: &[u8], parent: Option<&RelativePath>) {
        let Ok(name) = RelativePath::new(name) else { return };
        let relative = parent.map_or_else(|| name.clone(), |parent| name.prefixed(parent));
        if self.context.ignores(&relative) {
            return;
        }
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return self.context.report_io("stat file or directory", &path, error),
        };
        if metadata.is_dir() {
            if self.visited.insert((metadata.dev(), metadata.ino())) {
                self.directory(&path, Some(&relative));
            }
        } else if metadata.is_file() {
            self.file(path, relative, metadata.len());
        } else {
            self.context.report(Problem::NotAFile(relative));
        }
    }

    fn file(&mut self, path: PathBuf, relative: RelativePath, size: u64) {
        let Some(entry) = self.entries.get(&relative).copied() else {
            return self.context.report(Problem::Extra(relative));
        };
        self.found.insert(&entry.path);
        if size == entry.size {
            self.good.push(File { path, entry });
        } else {
            self.context.report(Problem::Size { path: relative, actual: size, expected: entry.size });
        }
    }
}
