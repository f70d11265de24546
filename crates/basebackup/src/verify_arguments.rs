//! The command line of `basebackup verify`, which is pg_verifybackup's.

use std::path::PathBuf;

use basebackup::take::Format;
use basebackup::verify::Options;
use clap::{ArgAction, Args};

use crate::arguments::FormatArgument;

/// Verifies a backup against its manifest, and reads the WAL needed to start from it record by record.
///
/// Data directories and archives, compressed or not. All problems are listed; the exit code is 1 if there are any.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(crate) struct VerifyArguments {
    /// The backup
    #[arg(value_name = "BACKUPDIR")]
    directory: PathBuf,
    /// Stop at the first problem
    #[arg(short = 'e', long)]
    exit_on_error: bool,
    /// The backup's format: p[lain] or t[ar] [default: found out]
    #[arg(short = 'F', long, value_name = "p|t")]
    format: Option<FormatArgument>,
    /// Leave out a file or directory, relative to the backup; may be repeated
    #[arg(short = 'i', long, value_name = "RELATIVE_PATH")]
    ignore: Vec<String>,
    /// How many files to read at once [default: the number of processors]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The manifest, if it is not in the backup
    #[arg(short = 'm', long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// Do not read the WAL
    #[arg(short = 'n', long)]
    no_parse_wal: bool,
    /// Print nothing but problems
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// Compare names and sizes only
    #[arg(short = 's', long)]
    skip_checksums: bool,
    /// The WAL, if it is not in the backup
    #[arg(short = 'w', long, value_name = "PATH")]
    wal_directory: Option<PathBuf>,
    /// Print this help
    #[arg(short = '?', long, action = ArgAction::Help)]
    help: Option<bool>,
}

impl VerifyArguments {
    pub(crate) fn options(&self) -> Options {
        Options {
            directory: self.directory.clone(),
            manifest: self.manifest_path.clone(),
            wal_directory: self.wal_directory.clone(),
            ignore: self.ignore.clone(),
            skip_checksums: self.skip_checksums,
            no_parse_wal: self.no_parse_wal,
            exit_on_error: self.exit_on_error,
            format: self.format.map(Format::from),
            jobs: self.jobs.map(usize::from),
        }
    }
}
