//! `restore_command`: files from an archive. Source: `RestoreArchivedFile` in `access/transam/xlogarchive.c`.
//!
//! A command takes as long as it likes, but not after this server's end: it leads a process group of its own, which is told
//! to end when the standby stops ([`Running::stop`]) and killed when its server ends at once ([`end_commands`]).

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use runtime::sync::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

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
    /// The standby stops, and the command was told to.
    Stopped,
}

/// The standbys of this process, each with its data directory: several servers may live in one process, as in tests, and one of
/// them may end at once while the others go on.
static STANDBYS: Mutex<Vec<(PathBuf, Weak<Running>)>> = Mutex::new(Vec::new());

/// The server of `data_directory` ends at once: kills the command that it runs, and has it begin none any more.
pub(crate) fn end_commands(data_directory: &Path) {
    // Not under the lock, which a server that starts meanwhile wants, too.
    let standbys = STANDBYS.lock().clone();
    for standby in standbys.iter().filter(|(directory, _)| directory == data_directory) {
        if let Some(running) = standby.1.upgrade() {
            running.stop(true);
        }
    }
}

/// The command that a standby runs, if it runs one.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// Its process group, until its leader is reaped: so this number is never another's.
    group: Mutex<Option<Pid>>,
    /// Once the standby stops: what has become of a command says nothing any more.
    stopping: AtomicBool,
    /// Once commands are not asked to end, but killed.
    by_force: AtomicBool,
}

impl Running {
    /// That of the standby in `data_directory`, which [`end_commands`] finds.
    pub(super) fn of(data_directory: &Path) -> Arc<Self> {
        let running = Arc::new(Self::default());
        let mut standbys = STANDBYS.lock();
        standbys.retain(|(_, standby)| standby.strong_count() > 0);
        standbys.push((data_directory.to_owned(), Arc::downgrade(&running)));
        running
    }

    /// Tells the command to end, or, `by_force`, kills it. None is begun any more.
    pub(super) fn stop(&self, by_force: bool) {
        self.by_force.fetch_or(by_force, Ordering::SeqCst);
        self.stopping.store(true, Ordering::SeqCst);
        self.end();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn end(&self) {
        let signal = if self.by_force.load(Ordering::SeqCst) { Signal::KILL } else { Signal::TERM };
        if let Some(group) = *self.group.lock() {
            let _gone_already = kill_process_group(group, signal);
        }
    }

    fn set(&self, group: Option<Pid>) {
        *self.group.lock() = group;
    }
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
        running: &Running,
    ) -> Result<Restored, RestoreError> {
        let command = self.fill_in(file, target, last_restartpoint);
        tracing::debug!("executing restore command \"{command}\"");
        let failed = |source| RestoreError::Run { command: command.clone(), source };
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .current_dir(data_directory)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        running.set(group);
        if running.is_stopping() {
            // Whoever stops us may have looked before there was anything to stop.
            running.end();
        }
        if let Some(group) = group {
            // Not reaped yet, so that nobody kills another process of this number.
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(group), ended), Err(rustix::io::Errno::INTR)) {}
        }
        running.set(None);
        let status = child.wait().map_err(failed)?;
        if running.is_stopping() {
            return Ok(Restored::Stopped);
        }
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

    fn restore(text: &str, running: &Running) -> Result<Restored, RestoreError> {
        RestoreCommand::new(text).unwrap().restore(Path::new("/"), "F", Path::new("x"), "R", running)
    }

    #[test]
    fn a_command_ends_when_the_standby_stops_and_one_that_does_not_hear_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        for (number, (command, by_force)) in
            [("sleep 1000", false), ("trap '' TERM; while :; do sleep 1000; done", true)]
                .into_iter()
                .enumerate()
        {
            let begun = directory.path().join(number.to_string());
            let running = Running::default();
            let text = format!(": > {}; {command}", begun.display());
            std::thread::scope(|scope| {
                let restored = scope.spawn(|| restore(&text, &running));
                while !begun.exists() {
                    std::thread::yield_now();
                }
                running.stop(by_force);
                assert_eq!(restored.join().unwrap().unwrap(), Restored::Stopped);
            });
            assert_eq!(restore("sleep 1000", &running).unwrap(), Restored::Stopped, "none is begun any more");
        }
    }

    #[test]
    fn a_server_that_ends_at_once_ends_its_own_command_and_no_other_servers() {
        let [ours, theirs] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [ending, going_on] = [&ours, &theirs].map(|directory| Running::of(directory.path()));
        end_commands(ours.path());
        assert_eq!(
            restore("trap '' TERM; while :; do sleep 1000; done", &ending).unwrap(),
            Restored::Stopped
        );
        assert_eq!(restore("true", &going_on).unwrap(), Restored::Here);
        let started_again = Running::of(ours.path());
        assert_eq!(restore("true", &started_again).unwrap(), Restored::Here);
    }

    #[test]
    fn only_a_command_that_says_so_means_that_there_is_no_file() {
        let run = |text: &str| restore(text, &Running::default());
        assert_eq!(run("true").unwrap(), Restored::Here);
        assert_eq!(run("exit 1").unwrap(), Restored::Absent);
        for wrong in ["no_such_command_anywhere", "exit 126", "kill -9 $$"] {
            assert!(run(wrong).is_err(), "{wrong}");
        }
    }
}
