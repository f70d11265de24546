//! `walreceiver status`.

use std::io::Write;
use std::process::ExitCode;

use replication::waldir::WalDir;
use walreceiver::status::report;

use super::Outcome;
use super::options::StatusArguments;

pub(super) fn run(arguments: StatusArguments) -> Outcome {
    let report = report(&WalDir::on_os(arguments.directory))?;
    let text = if arguments.json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
