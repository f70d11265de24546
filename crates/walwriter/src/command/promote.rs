//! `walwriter promote`: as `pg_ctl promote`, a file and a signal; and as that it waits until the control file says that the
//! server is in production, which it says once writes are taken.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use disk::OsDisk;
use replication::waldir::{ClusterState, ControlFile, require_walwriters};
use rustix::process::{Pid, Signal, kill_process};
use walwriter::process::{PROMOTE_FILE, STANDBY_SIGNAL, is_alive, running_server};

use super::options::Promote;

/// How often to look whether it is done.
const INTERVAL: Duration = Duration::from_millis(2);

pub(crate) fn run(options: &Promote) -> anyhow::Result<ExitCode> {
    let directory = &options.data.directory;
    let shown = directory.display();
    // A server of PostgreSQL's understands the file and the signal too.
    require_walwriters(&OsDisk::new(), directory)?;
    let server =
        running_server(directory).with_context(|| format!("could not tell who serves \"{shown}\""))?;
    let Some(server) = server else {
        bail!("no server is running in \"{shown}\"");
    };
    if !state(directory)?.is_in_recovery() {
        bail!("cannot promote server (PID: {}); it is not in standby mode", server.pid);
    }
    let pid =
        i32::try_from(server.pid).ok().and_then(Pid::from_raw).context("postmaster.pid names no process")?;
    let file = directory.join(PROMOTE_FILE);
    let mut options_of_file = fs::OpenOptions::new();
    options_of_file.write(true).create(true).truncate(true).mode(0o600);
    options_of_file.open(&file).with_context(|| format!("could not create file \"{}\"", file.display()))?;
    if let Err(error) = kill_process(pid, Signal::USR1) {
        let _gone = fs::remove_file(&file);
        return Err(error).with_context(|| format!("could not signal the server (PID: {pid:?})"));
    }
    if options.no_wait {
        println!("server promoting");
        return Ok(ExitCode::SUCCESS);
    }
    let end = Instant::now() + Duration::from_secs(options.timeout);
    while !is_promoted(directory)? {
        if !is_alive(server.pid) {
            bail!("the server stopped while it was being promoted; its log says why");
        }
        if Instant::now() >= end {
            bail!("the server was not promoted within {} seconds; it may be later", options.timeout);
        }
        thread::sleep(INTERVAL);
    }
    println!("server promoted");
    Ok(ExitCode::SUCCESS)
}

/// Whether the server takes writes, and will do so after a restart.
fn is_promoted(directory: &Path) -> anyhow::Result<bool> {
    let signal = directory.join(STANDBY_SIGNAL);
    let is_standby = || {
        let exists = signal.try_exists();
        exists.with_context(|| format!("could not look for file \"{}\"", signal.display()))
    };
    Ok(state(directory)? == ClusterState::InProduction && !is_standby()?)
}

/// What the control file says the server does.
fn state(directory: &Path) -> anyhow::Result<ClusterState> {
    Ok(control_file(directory)?.state)
}

/// The control file.
pub(super) fn control_file(directory: &Path) -> anyhow::Result<ControlFile> {
    let path = directory.join("global/pg_control");
    let shown = path.display();
    let found = ControlFile::read(&OsDisk::new(), &path);
    let found = found.with_context(|| format!("could not read file \"{shown}\""))?;
    let found = found.with_context(|| format!("file \"{shown}\" does not exist"))?;
    found.with_context(|| format!("file \"{shown}\""))
}
