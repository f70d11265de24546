//! The directories a run may write to, and giving them back.
//!
//! A directory is claimed by creating it or by finding it empty. As long as the claim is not kept, dropping it removes
//! what is in the claimed directories and the directories that were created, so that a failed run leaves nothing behind
//! and never touches what was there before.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use disk::OsDisk;
use replication::waldir::{Owner, owner_of};

use super::error::TakeError;
use crate::file_error::FileError;

/// The directories claimed so far.
#[derive(Debug, Default)]
pub(super) struct Claims {
    directories: Vec<Claim>,
    /// Leave everything when dropped.
    kept: bool,
}

#[derive(Debug)]
struct Claim {
    path: PathBuf,
    /// The directories this run created to get here, the outermost first; empty if it found `path` empty.
    created: Vec<PathBuf>,
}

impl Claims {
    /// Claims `path`, creating it with `mode` if need be. An error leaves nothing created.
    pub(super) fn claim(&mut self, path: &Path, mode: u32) -> Result<(), TakeError> {
        match fs::read_dir(path) {
            Ok(mut entries) => match entries.next() {
                None => self.directories.push(Claim { path: path.to_owned(), created: Vec::new() }),
                Some(_) => {
                    let owner = owner_of(&OsDisk::new(), path).unwrap_or(Owner::Other);
                    return Err(TakeError::NotEmpty { path: path.display().to_string(), owner });
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let missing: Vec<_> = path.ancestors().take_while(|path| is_missing(path)).collect();
                let created = missing.into_iter().rev().map(Path::to_owned).collect();
                let created = DirBuilder::new().recursive(true).mode(mode).create(path).map(|()| created);
                let created = created.map_err(FileError::on("create directory", path))?;
                self.directories.push(Claim { path: path.to_owned(), created });
            }
            Err(error) => return Err(FileError::on("access directory", path)(error).into()),
        }
        Ok(())
    }

    /// The directories whose entries changed because directories were created, for making that durable.
    pub(super) fn changed_parents(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().flat_map(|claim| &claim.created).filter_map(|path| path.parent()).map(
            |parent| {
                if parent.as_os_str().is_empty() { Path::new(".") } else { parent }
            },
        )
    }

    /// Keeps everything: the backup is complete, or the user wants to look at what is there of it.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Whether there is anything to give back.
    pub(super) fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // The last first: directories inside of others go before them.
        for claim in self.directories.iter().rev() {
            let (what, result) = if claim.created.is_empty() {
                ("contents of directory", persistently(|| empty(&claim.path)))
            } else {
                ("directory", persistently(|| remove(claim)))
            };
            match result {
                Ok(()) => tracing::info!("removed {what} \"{}\"", claim.path.display()),
                Err(error) => {
                    tracing::error!("could not remove {what} \"{}\": {error}", claim.path.display());
                }
            }
        }
    }
}

fn is_missing(path: &Path) -> bool {
    !path.as_os_str().is_empty() && fs::symlink_metadata(path).is_err()
}

/// Tries again if a file appeared in a directory that had been emptied: somebody was still writing.
fn persistently(mut remove: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    const TRIES: usize = 5;
    let mut result = remove();
    for _ in 1..TRIES {
        match &result {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => result = remove(),
            _ => break,
        }
    }
    result
}

/// Removes everything in a directory. Links are removed, not followed.
fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove(claim: &Claim) -> io::Result<()> {
    match fs::remove_dir_all(&claim.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Directories above it that were created on the way go too, unless somebody else uses them by now.
    for outer in claim.created.iter().rev().skip(1) {
        if fs::remove_dir(outer).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unkept_claim_leaves_no_trace() {
        let temp = tempfile::tempdir().unwrap();
        let (found, deep) = (temp.path().join("found"), temp.path().join("a/b/c"));
        fs::create_dir(&found).unwrap();
        let mut claims = Claims::default();
        claims.claim(&found, 0o700).unwrap();
        claims.claim(&deep, 0o700).unwrap();
        fs::create_dir_all(found.join("x/y")).unwrap();
        fs::write(deep.join("file"), b"1").unwrap();
        std::os::unix::fs::symlink(temp.path(), found.join("link")).unwrap();
        drop(claims);
        let left: Vec<_> =
            fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["found"]);
        assert_eq!(fs::read_dir(found).unwrap().count(), 0);
    }

    #[test]
    fn a_kept_claim_stays() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a");
        let mut claims = Claims::default();
        claims.claim(&path, 0o700).unwrap();
        assert_eq!(claims.changed_parents().collect::<Vec<_>>(), [temp.path()]);
        claims.keep();
        drop(claims);
        assert!(path.is_dir());
    }

    #[test]
    fn what_was_there_before_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("precious"), b"1").unwrap();
        let mut claims = Claims::default();
        assert!(matches!(claims.claim(temp.path(), 0o700), Err(TakeError::NotEmpty { .. })));
        assert!(claims.is_empty());
        drop(claims);
        assert!(temp.path().join("precious").exists());
    }
}
