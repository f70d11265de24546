//! The `basebackup` command.

mod arguments;
mod verify_arguments;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use basebackup::verify::{self, Report};
use clap::Parser;
use replication::client::{PasswordPrompt, Replication, connect_prompting};
use replication::conninfo::{ConnInfo, Environment};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Command, Connection, ServerArguments};
use verify_arguments::VerifyArguments;

/// The exit code after SIGQUIT or a second signal, walwriter's too. What was written is left, and is no backup.
const STOPPED_AT_ONCE: u8 = 2;

fn main() -> ExitCode {
    program::end_on_panic("basebackup", "do not use what it has written, and run it again");
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return program::refuse("basebackup", &error),
    };
    let done = match arguments.command {
        Some(Command::Verify(arguments)) => run_verify(&arguments),
        Some(Command::Server(arguments)) => run_server(&arguments),
        None => run_take(&arguments),
    };
    done.unwrap_or_else(|error| program::fail("basebackup", &error))
}

fn run_take(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    start_logging(arguments.verbose);
    let options = arguments.options()?;
    program::end_at_once_on_signals("basebackup", STOPPED_AT_ONCE).context("could not catch signals")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let Connection { args, prompt } = arguments.connection();
        let mut conninfo = ConnInfo::resolve(&args, &Environment::of_process())?;
        let client = connect_prompting(&mut conninfo, Replication::Physical, prompt).await?;
        let interrupted = interruption().context("could not listen for signals")?;
        program::leave_the_first_to_the_program();
        // Its message is whole; its sources are parts of it.
        let taken = basebackup::take::take(client, &conninfo, options, interrupted).await;
        taken.map_err(|error| anyhow::anyhow!("{error}"))
    });
    // Not dropped: that waits for a name that is being looked up.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

/// Prints what a server says of itself, a line each.
fn run_server(arguments: &ServerArguments) -> anyhow::Result<ExitCode> {
    start_logging(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let printed = runtime.block_on(async {
        let mut conninfo = ConnInfo::resolve(&arguments.connection(), &Environment::of_process())?;
        let prompt = PasswordPrompt::Never;
        let mut client = connect_prompting(&mut conninfo, Replication::Physical, prompt).await?;
        let version = client.parameter("server_version").unwrap_or_default().to_owned();
        let role = if client.parameter("in_hot_standby") == Some("on") { "standby" } else { "leader" };
        let system = client.identify_system().await?;
        // Ours, and no PostgreSQL, names this project with its version.
        let program = if version.contains("(walship ") { "walwriter" } else { "PostgreSQL" };
        let mut said = format!(
            "program {program}\nversion {version}\nrole {role}\nsystem {}\ntimeline {}\n",
            system.system_id, system.timeline
        );
        if let Some(slot) = &arguments.slot {
            let is_there = client.read_slot(slot).await?.is_some();
            said += if is_there { "slot present\n" } else { "slot missing\n" };
        }
        client.close().await;
        anyhow::Ok(said)
    })?;
    print!("{printed}");
    Ok(ExitCode::SUCCESS)
}

/// Completes when somebody wants the process to end.
fn interruption() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // A terminal that is closed ends a backup, unless whoever started it (nohup) has said that it must not.
    let mut hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = async {
                match &mut hang_up {
                    Some(hang_up) => drop(hang_up.recv().await),
                    None => std::future::pending().await,
                }
            } => {}
        }
    })
}

/// Whether this process was started with SIGHUP ignored. Linux tells; elsewhere it is not.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The first bit is signal 1.
    ignored.is_some_and(|mask| mask & 1 != 0)
}

fn run_verify(arguments: &VerifyArguments) -> anyhow::Result<ExitCode> {
    let report = verify::verify(&arguments.options()).map_err(|error| anyhow::anyhow!("{error}"))?;
    if arguments.json {
        print_json(&report)?;
    } else {
        for problem in &report.problems {
            eprintln!("basebackup: error: {problem}");
        }
        if report.verified && !arguments.quiet {
            println!("backup successfully verified");
        }
    }
    Ok(if report.verified { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_json(report: &Report) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, report)?;
    writeln!(out)?;
    Ok(())
}

fn start_logging(verbose: bool) {
    let default = if verbose { "info" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}
