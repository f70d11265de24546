//! The `walreceiver` command.

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    program::end_on_panic("walreceiver", "start it again, and it goes on where what was acknowledged ends");
    command::main()
}
