//! System calls that fail on request, by `strace -e inject`: what a disk does that is full or broken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// System calls by which files are made, written and made durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Call {
    /// `pwrite64`: what writes to files alone, and not to sockets and the log too.
    Write,
    /// `write`, which writes to those too, so that the files in question have to be named ([`Traced::paths`]).
    PlainWrite,
    /// `fsync` and `fdatasync`.
    Sync,
    /// `fallocate`.
    Allocate,
    /// `rename`.
    Rename,
    /// `openat`.
    Open,
}

impl Call {
    /// Each of them.
    pub const ALL: [Self; 6] =
        [Self::Write, Self::PlainWrite, Self::Sync, Self::Allocate, Self::Rename, Self::Open];

    /// Whether others than the files in question have such calls too, which are left alone by naming the files.
    pub const fn needs_paths(self) -> bool {
        matches!(self, Self::PlainWrite | Self::Open)
    }

    /// What strace calls them.
    fn names(self) -> &'static str {
        match self {
            Self::Write => "pwrite64",
            Self::PlainWrite => "write",
            Self::Sync => "fsync,fdatasync",
            Self::Allocate => "fallocate",
            Self::Rename => "rename,renameat,renameat2",
            Self::Open => "openat",
        }
    }
}

/// A call that fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which kind of call.
    pub call: Call,
    /// The error's name: "EIO", "ENOSPC".
    pub error: &'static str,
    /// From which call on, counted in each thread: 1 is the first.
    pub from: u32,
    /// Whether all later ones fail too.
    pub stays: bool,
}

/// A program under strace: which calls are looked at, which one fails, and where strace writes down what it saw.
#[derive(Clone, Debug)]
pub struct Traced {
    /// Calls that are looked at.
    pub calls: Call,
    /// What fails; without it calls are only written down.
    pub fault: Option<Fault>,
    /// Files of which calls are looked at, and directories of which all files are; empty: any file.
    pub paths: Vec<PathBuf>,
    /// Where it is written down.
    pub log: PathBuf,
}

impl Traced {
    /// The command line before that of the program.
    pub(crate) fn command(&self) -> Vec<String> {
        // The program is this process's child, as it is without strace; strace is its grandchild.
        let mut command: Vec<String> =
            ["-D", "-f", "--seccomp-bpf", "-qq", "-y", "-o"].map(str::to_owned).into();
        command.push(self.log.display().to_string());
        command.extend(["-e".to_owned(), format!("trace={}", self.calls.names())]);
        command.extend(["-e".to_owned(), "signal=none".to_owned()]);
        for path in &self.paths {
            command.extend(["-P".to_owned(), path.display().to_string()]);
        }
        if let Some(Fault { call, error, from, stays }) = &self.fault {
            let on = if *stays { "+" } else { "" };
            command
                .extend(["-e".to_owned(), format!("inject={}:error={error}:when={from}{on}", call.names())]);
        }
        command.push("--".to_owned());
        command
    }

    /// How many calls each thread made, the most first.
    pub fn counts(&self) -> Vec<u32> {
        let mut counts = BTreeMap::<String, u32>::new();
        for line in self.lines() {
            let thread = line.split(' ').next().unwrap_or_default().to_owned();
            *counts.entry(thread).or_default() += 1;
        }
        let mut counts: Vec<u32> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    /// The calls that were made to fail.
    pub fn failed(&self) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains("(INJECTED)")).collect()
    }

    fn lines(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines()
            .filter(|line| line.contains('(') && !line.contains("resumed>"))
            .map(str::to_owned)
            .collect()
    }
}

/// Where strace is, if it is installed.
pub(crate) fn strace() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("strace")).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("strace is not installed (scripts/test installs it)"))
}

/// Every file below a directory, for [`Traced::paths`].
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
