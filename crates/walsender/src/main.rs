//! The `walsender` command.

mod options;
mod status;

use std::fs;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use options::{Command, Options};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use walsender::serve::Server;

fn main() -> ExitCode {
    program::end_on_panic("walsender", "start it again, and it serves what is durable");
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return program::refuse("walsender", &error),
    };
    program::start_log(options.verbose, ["info", "debug", "trace"]);
    let result = match &options.command {
        Some(Command::Status(of)) => status::print(of),
        None => serve(&options),
    };
    result.unwrap_or_else(|error| program::fail("walsender", &error))
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
                () = &mut serving => {
                    assert!(stop.is_none(), "the server serves until it is told to stop");
                    return Ok(ExitCode::SUCCESS);
                }
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
