//! The command line.

mod init;
mod options;
mod promote;
mod serve;
mod status;

pub(crate) use options::{Arguments, Command};

use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Init(options) => init::run(&options),
        Command::Promote(options) => promote::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Status(options) => status::run(&options),
    }
}
