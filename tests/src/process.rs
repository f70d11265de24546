//! A running child process: waiting for it, signalling it, reading what it says.

use std::fmt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::root::{TempRoot, last_lines};
use crate::wait::{DEADLINE, wait_for};

/// A process that was started for a test, in a process group of its own. Dropping it kills that group.
pub struct Process {
    root: TempRoot,
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    /// Set once the process has been waited for; from then on its number may be another's.
    status: Option<ExitStatus>,
}

/// How a process ended and what it said.
#[derive(Debug)]
pub struct Finished {
    /// The program's name.
    pub name: String,
    /// Its exit code, `None` if a signal killed it.
    pub code: Option<i32>,
    /// Everything it wrote to standard output.
    pub stdout: String,
    /// Everything it wrote to standard error.
    pub stderr: String,
}

impl Process {
    #[track_caller]
    pub(crate) fn start(
        root: TempRoot,
        name: String,
        mut command: Command,
        stdout: PathBuf,
        stderr: PathBuf,
    ) -> Self {
        command.process_group(0);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", command.get_program().display()));
        root.guard().started(child.id());
        Self { root, name, child, stdout, stderr, status: None }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
            if self.status.is_some() {
                self.root.guard().ended(self.child.id());
            }
        }
        self.status.is_none()
    }

    /// The most memory that it has had, in KiB (`VmHWM`); `None` once it has ended.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Waits until `text` shows up on its standard error.
    #[track_caller]
    pub fn wait_for_stderr(&mut self, text: &str) {
        let what = format!("`{text}` from {}", self.name);
        wait_for(&what, DEADLINE, || {
            let alive = self.is_running();
            let said = self.stderr();
            let found = said.contains(text);
            assert!(
                found || alive,
                "{} ended without saying `{text}`:\n{}",
                self.name,
                last_lines(&said, 25)
            );
            found.then_some(())
        });
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        assert!(self.is_running(), "{} has ended already:\n{}", self.name, last_lines(&self.stderr(), 25));
        rustix::process::kill_process(pid(self.child.id()), signal).unwrap();
    }

    /// Stops it where it is (SIGSTOP), until [`Process::resume`].
    #[track_caller]
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Process::freeze`].
    #[track_caller]
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL to it and to the processes of its group, and waits until it is gone.
    #[track_caller]
    pub fn kill9(mut self) -> Finished {
        assert!(self.is_running(), "{} has ended already:\n{}", self.name, last_lines(&self.stderr(), 25));
        self.kill_group();
        self.wait_within(DEADLINE)
    }

    /// SIGTERM, then waits for its end.
    #[track_caller]
    pub fn terminate(mut self) -> Finished {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// SIGINT, then waits for its end.
    #[track_caller]
    pub fn interrupt(mut self) -> Finished {
        self.signal(Signal::INT);
        self.wait()
    }

    /// Waits for its end, which has to come before the usual [`DEADLINE`].
    #[track_caller]
    pub fn wait(self) -> Finished {
        self.wait_within(DEADLINE)
    }

    /// Waits for its end, which has to come within `deadline`.
    #[track_caller]
    pub fn wait_within(mut self, deadline: Duration) -> Finished {
        let what = format!("{} to end", self.name);
        wait_for(&what, deadline, || (!self.is_running()).then_some(()));
        let code = self.status.and_then(|status| status.code());
        Finished { name: self.name.clone(), code, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// The signal that killed it, if one did.
    pub fn killed_by(&mut self) -> Option<i32> {
        self.is_running();
        self.status.and_then(|status| status.signal())
    }

    fn kill_group(&mut self) {
        if self.is_running() {
            let _ = rustix::process::kill_process_group(pid(self.child.id()), Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill_group();
            let _ = self.child.wait();
            self.root.guard().ended(self.child.id());
        }
    }
}

impl Finished {
    /// Insists on exit code 0.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.code == Some(0), "{self}");
        self
    }

    /// Insists on the failure that users are promised: exit code 1, and on standard error one line alone, which names
    /// the program and contains `text`. Gives that line.
    #[track_caller]
    pub fn one_line_failure(self, text: &str) -> String {
        assert!(self.code == Some(1), "expected exit code 1: {self}");
        let lines: Vec<_> = self.stderr.lines().collect();
        let [line] = lines[..] else { panic!("expected one line: {self}") };
        let start = format!("{}: error: ", self.name);
        assert!(line.starts_with(&start), "expected a line that starts with `{start}`: {self}");
        assert!(line.contains(text), "expected `{text}` in the line: {self}");
        line.to_owned()
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or_else(|| "by a signal".to_owned(), |code| format!("with code {code}"));
        let (stdout, stderr) = (last_lines(&self.stdout, 25), last_lines(&self.stderr, 25));
        write!(f, "{} ended {code}\nstandard output:\n{stdout}\nstandard error:\n{stderr}", self.name)
    }
}

pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().expect("process ids are small")).expect("process ids are not zero")
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
