//! `walwriter promote`: as `pg_ctl promote`, a file and a signal.

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
use walwriter::process::{PROMOTE_FILE, is_alive, running_server};

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
    while state(directory)? != ClusterState::InProduction {
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

/// What the control file says the server does.
fn state(directory: &Path) -> anyhow::Result<ClusterState> {
    Ok(control_file(directory)?.state)
}

/// The control file, read again if it was just being written.
pub(super) fn control_file(directory: &Path) -> anyhow::Result<ControlFile> {
    let path = directory.join("global/pg_control");
    let mut attempts = 0;
    loop {
        let bytes = fs::read(&path).with_context(|| format!("could not read file \"{}\"", path.display()))?;
        match ControlFile::parse(&bytes) {
            Ok(control) => return Ok(control),
            Err(_) if attempts < 10 => thread::sleep(INTERVAL),
            Err(error) => return Err(error).with_context(|| format!("file \"{}\"", path.display())),
        }
        attempts += 1;
    }
}
