//! The `walsender` command.

mod options;
mod status;

use std::fs;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use options::{Command, Options};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
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
    program::end_at_once_on_signals("walsender", options::STOPPED_AT_ONCE)
        .context("could not catch signals")?;
    let server_options = options.server_options()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    let served = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("could not catch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("could not catch SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("could not catch SIGHUP")?;
        program::leave_the_first_to_the_program();
        let server = Server::start(server_options)?;
        if let Some(path) = &options.port_file {
            // Written elsewhere first, so that whoever waits for the file never reads half a number.
            let temporary = path.with_extension("tmp");
            fs::write(&temporary, format!("{}\n", server.port()))
                .and_then(|()| fs::rename(&temporary, path))
                .with_context(|| format!("could not write port file \"{}\"", path.display()))?;
        }
        info!(port = server.port(), "ready to serve WAL");
        let adopter = server.adopter();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                info!("received SIGHUP: passwords and certificate are read again");
                adopter.reload();
            }
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = server.run(async move {
            let _asked_to_stop = stopped.await;
        });
        let mut serving = std::pin::pin!(serving);
        let name = tokio::select! {
            () = &mut serving => unreachable!("the server serves until it is told to stop"),
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!("received {name}: followers are sent what is durable; once more stops at once");
        let _server_is_gone = stop.send(());
        serving.await;
        anyhow::Ok(())
    });
    // Looking up a name may still be under way, for whatever time.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}
