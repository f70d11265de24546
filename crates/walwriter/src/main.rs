//! The command line of walwriter.

mod command;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;
use command::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| refuse(&error));
    start_log(arguments.verbose);
    command::run(arguments).unwrap_or_else(|error| {
        eprintln!("walwriter: error: {}", one_line(&error));
        ExitCode::FAILURE
    })
}

/// The error and its causes, but for those that an error above them has told already.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// Shows the help asked for, or says in one line what is wrong with the command line. Like PostgreSQL's tools: 1 for
/// whatever goes wrong, wrong options included.
fn refuse(error: &clap::Error) -> ! {
    if error.use_stderr() && error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        let text = error.render().to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
        eprintln!("walwriter: {}", lines.collect::<Vec<_>>().join(" "));
        eprintln!("walwriter: hint: Try \"walwriter --help\" for more information.");
    } else {
        // Nobody to tell if the pipe is closed.
        let _ = error.print();
    }
    std::process::exit(i32::from(error.use_stderr()))
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    let ansi = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(ansi).init();
}
