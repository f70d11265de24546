//! The `walsender` command.

mod options;
mod status;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::{fs, io};

use anyhow::Context as _;
use clap::Parser as _;
use options::{Command, Options};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use walsender::serve::Server;

fn main() -> ExitCode {
    let options = Options::parse();
    start_log(options.verbose);
    let result = match &options.command {
        Some(Command::Status(of)) => status::print(of),
        None => serve(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("walsender: error: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
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

fn serve(options: &Options) -> anyhow::Result<ExitCode> {
    let server_options = options.server_options()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("could not catch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("could not catch SIGINT")?;
        let mut quit = signal(SignalKind::quit()).context("could not catch SIGQUIT")?;
        let server = Server::start(server_options)?;
        if let Some(path) = &options.port_file {
            // Written elsewhere first, so that whoever waits for the file never reads half a number.
            let temporary = path.with_extension("tmp");
            fs::write(&temporary, format!("{}\n", server.port()))
                .and_then(|()| fs::rename(&temporary, path))
                .with_context(|| format!("could not write port file \"{}\"", path.display()))?;
        }
        info!(port = server.port(), "ready to serve WAL");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = server.run(async move {
            let _asked_to_stop = stopped.await;
        });
        let mut serving = std::pin::pin!(serving);
        let mut stop = Some(stop);
        loop {
            let name = tokio::select! {
                () = &mut serving => return Ok(ExitCode::SUCCESS),
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = quit.recv() => {
                    warn!("received SIGQUIT: stopping at once");
                    return Ok(ExitCode::from(options::STOPPED_AT_ONCE));
                }
            };
            match stop.take() {
                Some(stop) => {
                    info!("received {name}: followers are sent what is durable; once more stops at once");
                    let _server_is_gone = stop.send(());
                }
                None => {
                    warn!("received {name} again: stopping at once");
                    return Ok(ExitCode::from(options::STOPPED_AT_ONCE));
                }
            }
        }
    })
}
