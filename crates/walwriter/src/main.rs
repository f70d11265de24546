//! The command line of walwriter.

mod command;

use std::process::ExitCode;

use clap::Parser as _;
use command::Arguments;

fn main() -> ExitCode {
    program::end_on_panic(
        "walwriter",
        "start it again, and recovery restores every commit that was acknowledged",
    );
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return program::refuse("walwriter", &error),
    };
    program::start_log(arguments.verbose, ["info", "debug", "trace"]);
    command::run(arguments).unwrap_or_else(|error| program::fail("walwriter", &error))
}
