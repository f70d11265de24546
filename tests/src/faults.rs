//! Faults that this project's programs commit on request (`runtime::fault`), and how they have to end then.

use std::path::PathBuf;
use std::time::Duration;

use crate::process::Process;
use crate::root::TempRoot;
use crate::server::Server;
use crate::wait::{DEADLINE, wait_for};

/// Where requests are, one file for each process, named like its logs.
const DIRECTORY: &str = "faults";

/// The signal of `abort`.
const SIGABRT: i32 = 6;

/// Where the process of that name looks for requests, if processes of this root do.
pub(crate) fn file_of(root: &TempRoot, name: &str) -> Option<PathBuf> {
    let directory = root.join(DIRECTORY);
    directory.is_dir().then(|| directory.join(name))
}

impl TempRoot {
    /// Has all processes that are started in this root from now on look for requests.
    #[track_caller]
    pub fn allow_faults(&self) {
        self.dir(DIRECTORY);
    }

    /// Asks the process of that name for a fault.
    #[track_caller]
    pub fn request_fault(&self, name: &str, fault: &str) {
        let temporary = self.file(format!("{DIRECTORY}/{name}.new"), fault);
        std::fs::rename(temporary, self.join(DIRECTORY).join(name)).unwrap();
    }

    /// Asks for nothing any more.
    #[track_caller]
    pub fn withdraw_fault(&self, name: &str) {
        let _committed = std::fs::remove_file(self.join(DIRECTORY).join(name));
    }
}

impl Process {
    /// Waits until it has ended as after a broken invariant: aborted, with one line that has all of `texts`, calling
    /// `poke` meanwhile. Gives that line.
    #[track_caller]
    pub fn ends_at_once(&mut self, texts: &[&str], mut poke: impl FnMut()) -> String {
        let ended = || {
            poke();
            (!self.is_running()).then_some(())
        };
        wait_for("the process to end", DEADLINE.max(Duration::from_secs(60)), ended);
        let said = self.stderr();
        assert_eq!(self.killed_by(), Some(SIGABRT), "{said}");
        let lines: Vec<_> = said.lines().filter(|line| line.contains("panicked")).collect();
        let [line] = lines[..] else { panic!("expected one line about it:\n{said}") };
        for text in texts {
            assert!(line.contains(text), "expected `{text}` in `{line}`");
        }
        line.to_owned()
    }
}

impl Server {
    /// [`Process::ends_at_once`] of the running server, which can be started again then.
    #[track_caller]
    pub fn ends_at_once(&mut self, texts: &[&str], poke: impl FnMut()) -> String {
        self.running().ends_at_once(texts, poke)
    }
}
