//! A command about to be run: one of this project's programs or one of PostgreSQL's.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::binaries;
use crate::process::{Finished, Process};
use crate::root::TempRoot;
use crate::strace::{Traced, strace};
use crate::user;
use crate::version::Version;
use crate::wait::DEADLINE;

/// A command line to be. It runs as the child user, with the root as its working and home directory, without standard
/// input, and with an environment of `PATH`, `HOME`, `LANG` and what [`Tool::env`] adds: no `PG*` variable leaks in.
pub struct Tool {
    root: TempRoot,
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    stdin: Option<Vec<u8>>,
}

impl Tool {
    /// One of this project's programs: `walreceiver`, `walsender`, `basebackup`.
    #[track_caller]
    pub fn ours(root: &TempRoot, name: &str) -> Self {
        Self::new(root, name, binaries::staged(root, name))
    }

    /// One of PostgreSQL's programs of that version.
    #[track_caller]
    pub fn postgres(root: &TempRoot, version: Version, name: &str) -> Self {
        Self::new(root, name, version.program(name))
    }

    /// Any program, by its path; `name` is what its logs are called.
    pub fn new(root: &TempRoot, name: &str, program: impl Into<PathBuf>) -> Self {
        let (name, program) = (name.to_owned(), program.into());
        Self { root: root.clone(), name, program, args: Vec::new(), envs: Vec::new(), stdin: None }
    }

    /// The path of the program itself, for other programs to call (`restore_command`).
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives it this as standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Has strace look at it, and make calls of its fail.
    pub fn traced(mut self, traced: &Traced) -> Self {
        let mut args: Vec<OsString> = traced.command().into_iter().map(OsString::from).collect();
        args.push(std::mem::replace(&mut self.program, strace()).into());
        args.append(&mut self.args);
        self.args = args;
        self
    }

    /// The name the logs get, for several of the same program.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Starts it; its output goes to files in the root's `log` directory.
    #[track_caller]
    pub fn spawn(self) -> Process {
        let stdout = self.root.log_file(&format!("{}.out", self.name));
        let stderr = stdout.with_extension("").with_extension("err.log");
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(self.root.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.root.path()).env("LANG", "C").env("LC_ALL", "C");
        command.envs(crate::faults::file_of(&self.root, &self.name).map(|file| ("WALSHIP_FAULT", file)));
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        command.stdout(std::fs::File::create(&stdout).unwrap());
        command.stderr(std::fs::File::create(&stderr).unwrap());
        match &self.stdin {
            None => command.stdin(Stdio::null()),
            Some(bytes) => {
                let input = stdout.with_extension("in");
                std::fs::write(&input, bytes).unwrap();
                command.stdin(std::fs::File::open(input).unwrap())
            }
        };
        user::run_as_child_user(&mut command);
        Process::start(self.root, self.name, command, stdout, stderr)
    }

    /// Runs it to its end, which has to come before the usual [`DEADLINE`].
    #[track_caller]
    pub fn run(self) -> Finished {
        self.run_within(DEADLINE)
    }

    /// Runs it to its end, which has to come within `deadline`.
    #[track_caller]
    pub fn run_within(self, deadline: Duration) -> Finished {
        self.spawn().wait_within(deadline)
    }

    /// Runs it to its end, which has to be exit code 0, and gives its standard output.
    #[track_caller]
    pub fn succeed(self) -> String {
        self.run().success().stdout
    }
}
