//! One server with pages: its directory, its process, the link to its leader, and the door that its clients come through.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use wal::Lsn;

use super::history::NodeId;
use super::session::Session;
use crate::ports;
use crate::process::{Finished, Process};
use crate::proxy::{Proxy, Verdict};
use crate::root::{TempRoot, last_lines};
use crate::tool::Tool;
use crate::wait::wait_for;

/// How long anything may take, on a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(60);
/// What a server may have of memory, in KiB: buffers and versions are a few MiB each.
const MOST_MEMORY: u64 = 400 << 10;

/// How far a standby is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// Received and durable up to here.
    pub received: Lsn,
    /// Replayed up to here.
    pub replayed: Lsn,
}

/// A server with pages.
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// What it is called, to followers and leaders too.
    pub name: &'static str,
    /// Its directory.
    pub data: PathBuf,
    /// Between it and its leader.
    pub link: Proxy,
    /// Between clients and it.
    pub door: Proxy,
    /// What it is told on its command line.
    pub settings: Vec<(String, String)>,
    root: TempRoot,
    port: u16,
    process: Option<Process>,
}

impl Node {
    /// A node over directory `NAME` of the root, which may not be there yet.
    pub fn new(root: &TempRoot, id: NodeId, name: &'static str, settings: Vec<(String, String)>) -> Self {
        let port = ports::free();
        let (link, door) = (Proxy::start(0, |_| Verdict::Pass), Proxy::start(port, |_| Verdict::Pass));
        Self {
            id,
            name,
            data: root.join(name),
            link,
            door,
            root: root.clone(),
            settings,
            port,
            process: None,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// What it has logged in this life.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Starts it, and waits until it lets clients in. The log, if it ends instead.
    pub fn start(&mut self) -> Result<(), String> {
        for _ in 0..5 {
            match self.try_start() {
                Err(log) if log.contains("Address already in use") => {
                    self.port = ports::free();
                    self.door.point_at(self.port);
                }
                outcome => return outcome,
            }
        }
        Err("there is no free port".to_owned())
    }

    fn try_start(&mut self) -> Result<(), String> {
        let tool = Tool::ours(&self.root, "walwriter").named(self.name).args(["serve", "-D"]).arg(&self.data);
        let mut tool = tool.args(["-c", &format!("port={}", self.port)]);
        for (name, value) in &self.settings {
            tool = tool.args(["-c", &format!("{name}={value}")]);
        }
        let leader =
            format!("host=127.0.0.1 port={} user=postgres application_name={}", self.link.port(), self.name);
        let mut process = tool.args(["-c", &format!("primary_conninfo={leader}")]).spawn();
        let own = process.pid().to_string();
        let ready = wait_for(&format!("{} to be ready", self.name), LIMIT, || {
            if !process.is_running() {
                return Some(Err(process.stderr()));
            }
            let file = std::fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
            let lines: Vec<&str> = file.lines().map(str::trim).collect();
            let ready = lines.get(7).is_some_and(|state| *state == "ready" || *state == "standby");
            (lines.first() == Some(&own.as_str()) && ready).then_some(Ok(()))
        });
        self.process = ready.is_ok().then_some(process);
        ready
    }

    /// It has ended by itself, as it may.
    pub fn forget(&mut self) {
        self.process = None;
    }

    /// SIGKILL, if it runs.
    pub fn kill9(&mut self) {
        self.assert_lives();
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGTERM, which has to end it in good order.
    #[track_caller]
    pub fn terminate(&mut self) -> Option<Finished> {
        self.assert_lives();
        let mut process = self.process.take()?;
        process.signal(Signal::TERM);
        let finished = process.wait_within(LIMIT / 2);
        assert!(finished.code == Some(0), "SIGTERM did not end it in good order: {finished}");
        Some(finished)
    }

    /// SIGTERM or SIGKILL to one that may be about to end by itself, because it cannot follow.
    #[track_caller]
    pub fn end_who_may_have_ended(&mut self, signal: Signal) {
        let Some(mut process) = self.process.take() else { return };
        if process.is_running() {
            // It may end at this very moment.
            let _ = rustix::process::kill_process(crate::process::pid(process.pid()), signal);
        }
        let finished = process.wait_within(LIMIT / 2);
        let expected = matches!(finished.code, Some(0 | 1)) || signal == Signal::KILL;
        assert!(expected, "{finished}");
    }

    /// Nobody ended it, so it runs; and it has not grown without bound.
    #[track_caller]
    pub fn assert_lives(&mut self) {
        let Some(process) = &mut self.process else { return };
        let log = process.stderr();
        assert!(process.is_running(), "node {} ended by itself:\n{}", self.name, last_lines(&log, 25));
        let memory = process.resident_kib();
        assert!(
            memory < MOST_MEMORY,
            "node {} has {memory} KiB of memory:\n{}",
            self.name,
            last_lines(&log, 25)
        );
    }

    /// A session that waits that long for each answer.
    pub fn session(&self, patience: Duration) -> Option<Session> {
        Session::open(self.port, patience).ok()
    }

    /// The value of a query; `None` if there is no answer.
    pub fn ask(&self, sql: &str) -> Option<String> {
        self.session(Duration::from_secs(5))?.value(sql).ok().flatten()
    }

    /// How far it is, as a standby.
    pub fn position(&self) -> Option<Position> {
        let mut session = self.session(Duration::from_secs(5))?;
        let mut lsn = |sql| session.value(sql).ok()?.unwrap_or_default().parse::<Lsn>().ok();
        let replayed = lsn("select pg_last_wal_replay_lsn()")?;
        let received = lsn("select pg_last_wal_receive_lsn()").unwrap_or(replayed);
        Some(Position { received: received.max(replayed), replayed })
    }

    /// Up to where a leader's log is flushed.
    pub fn flushed(&self) -> Option<Lsn> {
        self.ask("select pg_current_wal_flush_lsn()")?.parse().ok()
    }

    /// The end of what a leader has written of its log, flushed or not.
    pub fn inserted(&self) -> Option<Lsn> {
        self.ask("select pg_current_wal_insert_lsn()")?.parse().ok()
    }

    /// What PostgreSQL's pg_waldump takes for the end of the log of that timeline, in the directory of a server that is not
    /// running; it looks from `from` on.
    #[track_caller]
    pub fn end_of_log(&self, timeline: u32, from: Lsn) -> Lsn {
        let redo = self.controlled("Latest checkpoint's REDO location:");
        super::cluster::end_of_log(&self.root, &self.data.join("pg_wal"), timeline, redo.max(from))
    }

    /// Up to where a standby has to replay at least before its pages make sense.
    #[track_caller]
    pub fn minimum_recovery(&self) -> Lsn {
        self.controlled("Minimum recovery ending location:")
    }

    /// An LSN in the control file.
    #[track_caller]
    fn controlled(&self, field: &str) -> Lsn {
        let control =
            Tool::postgres(&self.root, crate::Version::V15, "pg_controldata").arg(&self.data).succeed();
        let value = control.lines().find_map(|line| line.strip_prefix(field));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {field} in {control}"))
    }
}
