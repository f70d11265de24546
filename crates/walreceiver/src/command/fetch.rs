//! `walreceiver fetch`: exit code 0 for copied, 1 for absent, and one that stops a server's recovery for all else.

use std::process::ExitCode;

use replication::waldir::WalDir;
use walreceiver::fetch::{FATAL_EXIT_CODE, Fetched, fetch};

use super::Outcome;
use super::options::FetchArguments;

pub(super) fn run(arguments: FetchArguments) -> Outcome {
    match fetch(&WalDir::on_os(&arguments.directory), &arguments.file, &arguments.target) {
        Ok(Fetched::Copied) => Ok(ExitCode::SUCCESS),
        Ok(Fetched::Absent) => {
            eprintln!("walreceiver: \"{}\" is not in the archive", arguments.file);
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            eprintln!("walreceiver: error: {error}");
            Ok(ExitCode::from(FATAL_EXIT_CODE))
        }
    }
}
