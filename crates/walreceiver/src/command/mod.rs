//! From the command line to the library.

mod fetch;
mod options;
mod receive;
mod status;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use options::{Arguments, Command};
use walreceiver::fetch::FATAL_EXIT_CODE;

/// What a command makes the process end with.
type Outcome = anyhow::Result<ExitCode>;

pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = program::refuse("walreceiver", &error);
            // A server would take 1 from a restore_command for the end of the archive.
            let fetching = std::env::args().nth(1).is_some_and(|first| first == "fetch");
            return if fetching && error.use_stderr() { ExitCode::from(FATAL_EXIT_CODE) } else { code };
        }
    };
    program::start_log(arguments.verbose(), ["warn", "info", "debug"]);
    let outcome = match arguments.command {
        None => receive::run(arguments.receive),
        Some(Command::Status(arguments)) => status::run(arguments),
        Some(Command::Verify(arguments)) => verify::run(arguments),
        Some(Command::Fetch(arguments)) => fetch::run(arguments),
    };
    outcome.unwrap_or_else(|error| program::fail("walreceiver", &error))
}
