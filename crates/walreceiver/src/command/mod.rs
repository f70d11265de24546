//! From the command line to the library.

mod fetch;
mod options;
mod receive;
mod status;
mod verify;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use tracing_subscriber::EnvFilter;

use options::{Arguments, Command};
use walreceiver::fetch::FATAL_EXIT_CODE;

/// What a command makes the process end with.
type Outcome = anyhow::Result<ExitCode>;

pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // Nobody to tell if the pipe is closed.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            // One line, as PostgreSQL's tools have it, instead of a page of usage.
            let text = error.render().to_string();
            let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
            let line = lines.collect::<Vec<_>>().join(" ");
            eprintln!("walreceiver: {line}");
            eprintln!("walreceiver: hint: Try \"walreceiver --help\" for more information.");
            // A server would take 1 from a restore_command for the end of the archive.
            let fetching = std::env::args().nth(1).is_some_and(|first| first == "fetch");
            return if fetching { ExitCode::from(FATAL_EXIT_CODE) } else { ExitCode::FAILURE };
        }
    };
    start_log(arguments.verbose());
    let outcome = match arguments.command {
        None => receive::run(arguments.receive),
        Some(Command::Status(arguments)) => status::run(arguments),
        Some(Command::Verify(arguments)) => verify::run(arguments),
        Some(Command::Fetch(arguments)) => fetch::run(arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("walreceiver: error: {}", one_line(&error));
        ExitCode::FAILURE
    })
}

/// The error and its causes, but for those that an error above them has told already.
fn one_line(error: &anyhow::Error) -> String {
    let causes = error.chain().map(ToString::to_string);
    let join =
        |line: String, cause: String| if line.ends_with(&cause) { line } else { format!("{line}: {cause}") };
    causes.reduce(join).unwrap_or_default()
}

/// Logs to standard error; `RUST_LOG` overrides the level.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
