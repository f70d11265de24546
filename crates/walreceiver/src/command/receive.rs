//! Receiving, and the slot commands.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use replication::client::{Client, PasswordPrompt, Replication, connect_prompting};
use replication::conninfo::{ConnArgs, ConnInfo, Environment};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use walreceiver::receive::{ReceiverOptions, run as receive};
use walreceiver::slot;

use super::Outcome;
use super::options::{ConnectionArguments, ReceiveArguments};

/// The exit code after SIGQUIT or a second signal, walwriter's too.
const STOPPED_AT_ONCE: u8 = 2;

/// What the options ask for, checked against each other.
#[derive(Debug)]
enum Task {
    CreateSlot(String),
    DropSlot(String),
    Receive(PathBuf),
}

pub(super) fn run(arguments: ReceiveArguments) -> Outcome {
    let task = task(&arguments)?;
    program::end_at_once_on_signals("walreceiver", STOPPED_AT_ONCE).context("could not catch signals")?;
    // One thread: writing, syncing and compressing have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(perform(task, arguments));
    // Not dropped: that waits for a name that is being looked up.
    runtime.shutdown_background();
    outcome?;
    Ok(ExitCode::SUCCESS)
}

fn task(arguments: &ReceiveArguments) -> anyhow::Result<Task> {
    if arguments.create_slot && arguments.drop_slot {
        bail!("cannot use --create-slot together with --drop-slot");
    }
    if arguments.synchronous && arguments.no_sync {
        bail!("cannot use --synchronous together with --no-sync");
    }
    if arguments.create_slot_if_missing && arguments.slot.is_none() {
        bail!("--create-slot-if-missing needs a slot to be specified using --slot");
    }
    let slot = |option| {
        let slot = arguments.slot.clone();
        slot.with_context(|| format!("{option} needs a slot to be specified using --slot"))
    };
    if arguments.create_slot {
        Ok(Task::CreateSlot(slot("--create-slot")?))
    } else if arguments.drop_slot {
        Ok(Task::DropSlot(slot("--drop-slot")?))
    } else {
        Ok(Task::Receive(arguments.directory.clone().context("no target directory specified (use -D)")?))
    }
}

async fn perform(task: Task, arguments: ReceiveArguments) -> anyhow::Result<()> {
    let mut conninfo = conninfo(&arguments.connection)?;
    let prompt = prompt(&arguments.connection);
    let dir = match task {
        Task::CreateSlot(name) => {
            let mut client = connect_prompting(&mut conninfo, Replication::Physical, prompt).await?;
            tracing::info!("creating replication slot \"{name}\"");
            slot::create(&mut client, &name, arguments.if_not_exists).await?;
            client.close().await;
            return Ok(());
        }
        Task::DropSlot(name) => {
            let mut client: Client = connect_prompting(&mut conninfo, Replication::Physical, prompt).await?;
            tracing::info!("dropping replication slot \"{name}\"");
            slot::drop(&mut client, &name).await?;
            client.close().await;
            return Ok(());
        }
        Task::Receive(dir) => dir,
    };
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("received SIGHUP: there is nothing to read again, and receiving goes on");
        }
    });
    let (stop, stopped) = watch::channel(false);
    let signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    tokio::spawn(stop_on(signals, stop));
    program::leave_the_first_to_the_program();
    let options = ReceiverOptions {
        conninfo,
        prompt,
        dir,
        slot: arguments.slot,
        create_slot_if_missing: arguments.create_slot_if_missing,
        synchronous: arguments.synchronous,
        end_position: arguments.endpos,
        no_loop: arguments.no_loop,
        status_interval: Duration::from_secs(arguments.status_interval.into()),
        compress: arguments.compress,
        sync: !arguments.no_sync,
    };
    Ok(receive(options, stopped).await?)
}

/// The first signal ends the stream in good order; a second one ends the process at once, which is always safe.
async fn stop_on([mut interrupt, mut terminate]: [Signal; 2], stop: watch::Sender<bool>) {
    tokio::select! {
        _ = interrupt.recv() => tracing::info!("received interrupt signal, exiting"),
        _ = terminate.recv() => tracing::info!("received termination signal, exiting"),
    }
    let _ = stop.send(true);
    // Kept open: a closed channel would look like another change.
    stop.closed().await;
}

fn conninfo(arguments: &ConnectionArguments) -> anyhow::Result<ConnInfo> {
    let arguments = ConnArgs {
        connection_string: arguments.dbname.clone(),
        host: arguments.host.clone(),
        port: arguments.port.clone(),
        user: arguments.username.clone(),
        program: "walreceiver".to_owned(),
    };
    Ok(ConnInfo::resolve(&arguments, &Environment::of_process())?)
}

fn prompt(arguments: &ConnectionArguments) -> PasswordPrompt {
    match (arguments.no_password, arguments.password) {
        (true, _) => PasswordPrompt::Never,
        (false, true) => PasswordPrompt::Force,
        (false, false) => PasswordPrompt::IfNeeded,
    }
}
