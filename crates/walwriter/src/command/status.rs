//! `walwriter status`.

use std::process::ExitCode;

use anyhow::Context as _;
use disk::OsDisk;
use replication::waldir::{
    ClusterState, Follower, FollowersReader, Published, StatusReader, UnixMicros, WalDir, require_walwriters,
};
use serde::Serialize;
use wal::Lsn;
use walwriter::process::running_server;
use walwriter::standby::Refusal;

use super::options::Status;
use super::promote::control_file;

/// No server is running (`pg_ctl status`).
const NOT_RUNNING: u8 = 3;
/// Not a data directory, or not one that can be read (`pg_ctl status`).
const NO_DIRECTORY: u8 = 4;

/// All that is told. Positions that are not known are null.
#[derive(Debug, Serialize)]
struct Report {
    directory: String,
    running: bool,
    pid: Option<u32>,
    port: Option<u16>,
    /// `starting`, `ready`, `standby`, `stopping`; null if nobody serves the directory.
    status: Option<String>,
    role: &'static str,
    state: &'static str,
    system_identifier: String,
    timeline: u32,
    checkpoint_lsn: String,
    redo_lsn: String,
    write_lsn: Option<String>,
    flush_lsn: Option<String>,
    replay_lsn: Option<String>,
    /// A standby: whether replay has stopped because the files of its pages cannot grow or be written.
    replay_stopped: Option<bool>,
    /// A standby: whether receiving has stopped because there is no space for more WAL.
    receiving_stopped: Option<bool>,
    /// A standby: whether its leader is connected to at the moment.
    connected: Option<bool>,
    /// And since when, in microseconds since 1970: a later one than before is another connection.
    connected_since: Option<u64>,
    /// Why nobody is let in, if what this directory follows was found to have another history.
    refused: Option<RefusalReport>,
    followers: Vec<FollowerReport>,
}

#[derive(Debug, Serialize)]
struct RefusalReport {
    since: String,
    reason: String,
    timeline: u32,
    /// Where that timeline begins by this directory's history, and by the source's.
    begins_here_lsn: Option<String>,
    begins_there_lsn: Option<String>,
}

#[derive(Debug, Serialize)]
struct FollowerReport {
    pid: u32,
    application_name: String,
    peer: String,
    slot: Option<String>,
    state: &'static str,
    sent_lsn: Option<String>,
    write_lsn: Option<String>,
    flush_lsn: Option<String>,
    replay_lsn: Option<String>,
}

pub(crate) fn run(options: &Status) -> anyhow::Result<ExitCode> {
    let report = match gather(options) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("walwriter: error: {error:#}");
            return Ok(ExitCode::from(NO_DIRECTORY));
        }
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(if report.running { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) })
}

fn gather(options: &Status) -> anyhow::Result<Report> {
    let directory = &options.data.directory;
    require_walwriters(&OsDisk::new(), directory)?;
    let control = control_file(directory)?;
    let server = running_server(directory).context("could not tell who serves the directory")?;
    let wal = WalDir::on_os(directory.join("pg_wal"));
    let reader = StatusReader::open(&wal).context("could not read the status of the WAL")?;
    let published = reader.map_or(Published::Absent, |reader| reader.read());
    let live = published.live();
    let standby = live.filter(|_| control.state.is_in_recovery());
    let followers = match FollowersReader::open(&wal).context("could not read the table of followers")? {
        Some(reader) => reader.list().context("could not read the table of followers")?,
        None => Vec::new(),
    };
    let refused = Refusal::read(&OsDisk::new(), directory).context("could not tell whether it is refused")?;
    Ok(Report {
        directory: directory.display().to_string(),
        running: server.is_some(),
        role: if control.state.is_in_recovery() { "standby" } else { "leader" },
        state: describe(control.state),
        system_identifier: control.system_id.to_string(),
        timeline: live.map_or(control.timeline, |status| status.timeline).as_u32(),
        checkpoint_lsn: control.checkpoint.to_string(),
        redo_lsn: control.redo.to_string(),
        write_lsn: live.and_then(|status| known(status.write)),
        flush_lsn: live.and_then(|status| known(status.flush)),
        replay_lsn: live.and_then(|status| known(status.apply)),
        connected_since: live.and_then(|status| status.connected_since).map(UnixMicros::as_u64),
        replay_stopped: standby.map(|status| status.replay_stopped),
        receiving_stopped: standby.map(|status| status.receiving_stopped),
        connected: standby.map(|status| status.connected),
        refused: refused.map(refusal),
        followers: followers.into_iter().map(follower).collect(),
        pid: server.as_ref().map(|server| server.pid),
        port: server.as_ref().and_then(|server| server.port),
        status: server.map(|server| server.status),
    })
}

fn refusal(refusal: Refusal) -> RefusalReport {
    RefusalReport {
        timeline: refusal.timeline.as_u32(),
        begins_here_lsn: known(refusal.ours),
        begins_there_lsn: known(refusal.theirs),
        since: refusal.since,
        reason: refusal.reason,
    }
}

fn follower(follower: Follower) -> FollowerReport {
    FollowerReport {
        pid: follower.sender_pid,
        state: follower.state.as_str(),
        sent_lsn: known(follower.sent),
        write_lsn: known(follower.write),
        flush_lsn: known(follower.flush),
        replay_lsn: known(follower.apply),
        slot: (!follower.slot.is_empty()).then_some(follower.slot),
        application_name: follower.application_name,
        peer: follower.peer,
    }
}

fn known(lsn: Lsn) -> Option<String> {
    lsn.is_valid().then(|| lsn.to_string())
}

const fn describe(state: ClusterState) -> &'static str {
    match state {
        ClusterState::StartingUp => "starting up",
        ClusterState::ShutDown => "shut down",
        ClusterState::ShutDownInRecovery => "shut down in recovery",
        ClusterState::ShuttingDown => "shutting down",
        ClusterState::CrashRecovery => "in crash recovery",
        ClusterState::ArchiveRecovery => "in archive recovery",
        ClusterState::InProduction => "in production",
    }
}

fn print(report: &Report) {
    let line = |name: &str, value: &str| println!("{name:<18} {value}");
    line("directory", &report.directory);
    match (report.pid, report.port, &report.status) {
        (Some(pid), Some(port), Some(status)) => {
            line("server", &format!("{status} (PID {pid}, port {port})"));
        }
        (Some(pid), _, _) => line("server", &format!("starting (PID {pid})")),
        _ => line("server", "not running"),
    }
    line("role", report.role);
    line("control file", report.state);
    line("system identifier", &report.system_identifier);
    line("timeline", &report.timeline.to_string());
    line("checkpoint", &format!("{} (redo {})", report.checkpoint_lsn, report.redo_lsn));
    for (name, lsn) in
        [("written", &report.write_lsn), ("flushed", &report.flush_lsn), ("replayed", &report.replay_lsn)]
    {
        if let Some(lsn) = lsn {
            line(name, lsn);
        }
    }
    if let Some(RefusalReport { since, reason, .. }) = &report.refused {
        line("refused", &format!("since {since}: {reason}"));
    }
    if report.replay_stopped == Some(true) {
        line("replay", "stopped: the files of the pages cannot grow or be written; its log says which");
    }
    if report.receiving_stopped == Some(true) {
        line("receiving", "stopped: there is no space for more WAL; its log says where");
    }
    for follower in &report.followers {
        let or_dash = |lsn: &Option<String>| lsn.clone().unwrap_or_else(|| "-".to_owned());
        let positions = [&follower.sent_lsn, &follower.flush_lsn, &follower.replay_lsn].map(or_dash);
        let [sent, flushed, replayed] = positions;
        let FollowerReport { application_name, peer, state, .. } = follower;
        line(
            "follower",
            &format!(
                "{application_name} at {peer}: {state}, sent {sent}, flushed {flushed}, replayed {replayed}"
            ),
        );
    }
}
