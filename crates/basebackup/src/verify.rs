//! Verifying a base backup that lies in a directory, as `pg_verifybackup` does, on all cores.
//!
//! The manifest says which files there are, how long and with which checksums; the WAL ranges in it are read record by
//! record. Both formats are verified, data directories and archives. Everything that is wrong is a [`Problem`] in the
//! [`Report`]; an error ends the verification because nothing could be verified.

mod archives;
mod checksums;
pub(crate) mod control;
mod problem;
mod tree;
mod wal_check;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use disk::OsDisk;
use replication::waldir::owner_of;
use runtime::sync::Mutex;
use serde::Serialize;

pub use problem::Problem;

use crate::RelativePath;
use crate::file_error::FileError;
use crate::manifest::{self, Manifest, ManifestError};

/// Files that may be in a backup, or not, or changed, whatever the manifest says.
const IGNORED: [&str; 5] =
    [manifest::FILE_NAME, "pg_wal", "postgresql.auto.conf", "recovery.signal", "standby.signal"];

/// What to verify, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The backup.
    pub directory: PathBuf,
    /// The manifest, if it is elsewhere.
    pub manifest: Option<PathBuf>,
    /// The WAL, if it is elsewhere.
    pub wal_directory: Option<PathBuf>,
    /// Files and directories to leave out, relative to the backup.
    pub ignore: Vec<String>,
    /// Compare names and sizes only.
    pub skip_checksums: bool,
    /// Leave the WAL alone.
    pub no_parse_wal: bool,
    /// Stop at the first problem.
    pub exit_on_error: bool,
    /// How the backup is stored; found out if not given.
    pub format: Option<crate::take::Format>,
    /// How many threads; the number of cores if not given.
    pub jobs: Option<usize>,
}

/// Why a backup could not be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No usable manifest.
    #[error("could not parse backup manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// Something that only makes sense for the other format.
    #[error("{0}")]
    Usage(String),
}

/// What a verification found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether the backup is good.
    pub verified: bool,
    /// `plain` or `tar`.
    pub format: &'static str,
    /// Everything that is wrong, in the order of the files.
    pub problems: Vec<Problem>,
    /// Files in the manifest.
    pub files: usize,
    /// Bytes of files read.
    pub bytes_read: u64,
    /// WAL records read; `None` if the WAL was left alone.
    pub wal_records: Option<u64>,
}

/// A verification under way, shared by all its threads.
struct Context<'a> {
    options: &'a Options,
    manifest: &'a Manifest,
    ignored: Vec<Vec<u8>>,
    problems: Mutex<Vec<Problem>>,
    bytes_read: AtomicU64,
    stop: AtomicBool,
}

/// Verifies a backup.
pub fn verify(options: &Options) -> Result<Report, VerifyError> {
    let path = options.manifest.clone().unwrap_or_else(|| options.directory.join(manifest::FILE_NAME));
    let bytes = fs::read(&path).map_err(|error| no_manifest(options, &path, error))?;
    let manifest = Manifest::parse(&bytes)?;
    let directory = &options.directory;
    fs::read_dir(directory).map_err(FileError::on("open directory", directory))?;
    let context = Context::new(options, &manifest);
    let tar = match options.format {
        Some(format) => format == crate::take::Format::Tar,
        None => archives::has_main_archive(directory),
    };
    let records = if tar { archives::verify(&context)? } else { tree::verify(&context) };
    let mut problems = context.problems.into_inner();
    problems.sort_by_key(Problem::rank);
    Ok(Report {
        verified: problems.is_empty(),
        format: if tar { "tar" } else { "plain" },
        problems,
        files: manifest.files.len(),
        bytes_read: context.bytes_read.into_inner(),
        wal_records: records,
    })
}

/// What is there instead of a backup, where the manifest that makes it one is missing.
fn no_manifest(options: &Options, path: &Path, error: io::Error) -> VerifyError {
    let directory = &options.directory;
    match owner_of(&OsDisk::new(), directory) {
        Ok(owner) if error.kind() == io::ErrorKind::NotFound && owner.is_data_directory() => {
            let name = path.display();
            let directory = directory.display();
            VerifyError::Usage(format!(
                "could not open file \"{name}\": {}; directory \"{directory}\" {owner}",
                crate::file_error::reason(&error)
            ))
        }
        _ => FileError::on("open file", path)(error).into(),
    }
}

impl<'a> Context<'a> {
    fn new(options: &'a Options, manifest: &'a Manifest) -> Self {
        let trimmed = |name: &str| name.trim_end_matches('/').as_bytes().to_vec();
        let ignored =
            IGNORED.into_iter().chain(options.ignore.iter().map(String::as_str)).map(trimmed).collect();
        Self {
            options,
            manifest,
            ignored,
            problems: Mutex::default(),
            bytes_read: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    fn report(&self, problem: Problem) {
        let mut problems = self.problems.lock();
        if !self.stopped() {
            problems.push(problem);
        }
        if self.options.exit_on_error {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn ignores(&self, path: &RelativePath) -> bool {
        self.ignored.iter().any(|ignored| path.is_within(ignored))
    }

    fn count_bytes(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.options.jobs.unwrap_or_else(cores).max(1)
    }

    /// Reports a file that could not be used.
    fn report_io(&self, action: &'static str, path: &Path, error: io::Error) {
        self.report(Problem::Unreadable { error: FileError::on(action, path)(error).to_string() });
    }
}

#[cfg(test)]
mod tests;
