//! `restore_command`: files from an archive. Source: `RestoreArchivedFile` in `access/transam/xlogarchive.c`.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Exit codes above this are the shell's, or stand for a signal.
const LARGEST_OWN_CODE: i32 = 125;

/// The command that fetches a file from an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreCommand(String);

/// What the command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restored {
    /// It says that the file is there.
    Here,
    /// It says that there is no such file.
    Absent,
}

/// A command that did not say whether there is such a file: recovery must not go on as if there were none.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It could not be run.
    #[error("could not run restore_command \"{command}\": {source}")]
    Run {
        /// What was to be run.
        command: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It was not found, or a signal ended it, or it says itself that something is badly wrong.
    #[error("could not restore file \"{file}\" from archive: {status} of restore_command \"{command}\"")]
    Failed {
        /// The file.
        file: String,
        /// How it ended.
        status: ExitStatus,
        /// What was run.
        command: String,
    },
}

impl RestoreCommand {
    /// The setting; `None` if it is empty.
    pub fn new(text: &str) -> Option<Self> {
        (!text.trim().is_empty()).then(|| Self(text.to_owned()))
    }

    /// With `%f` for the file's name, `%p` for where to put it, `%r` for the file of the last restartpoint, from which
    /// on the archive's files are needed; `%%` is `%`.
    fn fill_in(&self, file: &str, path: &Path, last_restartpoint: &str) -> String {
        let mut filled = String::new();
        let mut characters = self.0.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                filled.push(character);
                continue;
            }
            match characters.next() {
                Some('f') => filled.push_str(file),
                Some('p') => filled.push_str(&path.to_string_lossy()),
                Some('r') => filled.push_str(last_restartpoint),
                Some('%') | None => filled.push('%'),
                Some(other) => filled.extend(['%', other]),
            }
        }
        filled
    }

    /// Has `file` put to `target`, a path relative to `data_directory`, where the command is run.
    pub(super) fn restore(
        &self,
        data_directory: &Path,
        file: &str,
        target: &Path,
        last_restartpoint: &str,
    ) -> Result<Restored, RestoreError> {
        let command = self.fill_in(file, target, last_restartpoint);
        tracing::debug!("executing restore command \"{command}\"");
        let status = Command::new("sh")
            .args(["-c", &command])
            .current_dir(data_directory)
            .stdin(Stdio::null())
            .status()
            .map_err(|source| RestoreError::Run { command: command.clone(), source })?;
        match status.code() {
            Some(0) => Ok(Restored::Here),
            Some(code) if code <= LARGEST_OWN_CODE => Ok(Restored::Absent),
            _ => {
                debug_assert!(status.code().is_some() || status.signal().is_some());
                Err(RestoreError::Failed { file: file.to_owned(), status, command })
            }
        }
    }
}

/// Where the command puts files before they get their names, relative to the data directory.
pub(super) fn temporary(name: &str) -> PathBuf {
    Path::new("pg_wal").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in() {
        let command = RestoreCommand::new("cp /a%%b/%f \"%p\" # %r %x %").unwrap();
        assert_eq!(command.fill_in("F", Path::new("pg_wal/T"), "R"), "cp /a%b/F \"pg_wal/T\" # R %x %");
        assert_eq!(RestoreCommand::new("  "), None);
    }

    #[test]
    fn only_a_command_that_says_so_means_that_there_is_no_file() {
        let run =
            |text: &str| RestoreCommand::new(text).unwrap().restore(Path::new("/"), "F", Path::new("x"), "R");
        assert_eq!(run("true").unwrap(), Restored::Here);
        assert_eq!(run("exit 1").unwrap(), Restored::Absent);
        for wrong in ["no_such_command_anywhere", "exit 126", "kill -9 $$"] {
            assert!(run(wrong).is_err(), "{wrong}");
        }
    }
}
