//! What is the same for every server: its directory, its process, and PostgreSQL's clients connected to it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use wal::Lsn;

use crate::ports;
use crate::process::{Finished, Process};
use crate::root::{TempRoot, last_lines};
use crate::tool::Tool;
use crate::version::Version;
use crate::wait::{DEADLINE, wait_for, wait_until};

/// How to stop a server (`pg_ctl stop -m`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Waits until everything is sent to followers, writes a checkpoint.
    Fast,
    /// Stops at once; the next start recovers from the WAL.
    Immediate,
}

/// A data directory and the server that runs in it, if one does. It listens on a Unix socket in the root and on a TCP port
/// of the loopback interface, both given on its command line, so copies of the directory do not inherit them.
pub struct Server {
    root: TempRoot,
    name: String,
    version: Version,
    data: PathBuf,
    port: u16,
    command: fn(&Self) -> Tool,
    process: Option<Process>,
}

impl Server {
    /// A server over a data directory, which `command` runs in the foreground; `name` is what its logs are called. Clients
    /// are those of `version`.
    pub(crate) fn new(
        root: &TempRoot,
        name: &str,
        version: Version,
        data: &Path,
        command: fn(&Self) -> Tool,
    ) -> Self {
        let (root, name, data) = (root.clone(), name.to_owned(), data.to_owned());
        Self { root, name, version, data, port: ports::free(), command, process: None }
    }

    /// Appends a line to `postgresql.conf`; takes effect with the next start or reload.
    #[track_caller]
    pub fn configure(&self, name: &str, value: &str) {
        self.append("postgresql.conf", &format!("{name} = '{}'\n", value.replace('\'', "''")));
    }

    /// Appends to a file of the data directory, which is made if it is missing.
    #[track_caller]
    pub fn append(&self, file: &str, text: &str) {
        let path = self.data.join(file);
        let content = std::fs::read_to_string(&path).unwrap_or_default() + text;
        self.root.file(path, content);
    }

    /// Starts the server and waits until it accepts connections (a standby: read-only ones).
    #[track_caller]
    pub fn start(&mut self) {
        for _ in 0..5 {
            match self.try_start() {
                Ok(()) => return,
                // Between asking for a free port and using it, somebody else can take it.
                Err(log) if log.contains("Address already in use") => self.port = ports::free(),
                Err(log) => panic!("server {} does not start:\n{}", self.name, last_lines(&log, 25)),
            }
        }
        panic!("server {} finds no free port", self.name);
    }

    /// Starts the server and says whether it became ready; if not, gives its log.
    #[track_caller]
    pub fn try_start(&mut self) -> Result<(), String> {
        self.try_start_as(|tool| tool)
    }

    /// The same, with what `change` makes of the command.
    #[track_caller]
    pub fn try_start_as(&mut self, change: impl FnOnce(Tool) -> Tool) -> Result<(), String> {
        assert!(self.process.is_none(), "server {} runs already", self.name);
        let mut process = change(self.command()).spawn();
        let own_pid = process.pid().to_string();
        let ready = wait_for(&format!("server {} to be ready", self.name), DEADLINE * 4, || {
            if !process.is_running() {
                return Some(Err(process.stderr()));
            }
            // As pg_ctl does it: the first line is the process's number, the eighth its state.
            if process.stderr().contains("INFO ready to accept connections") {
                // That file may be what could not be written.
                return Some(Ok(()));
            }
            let lines = self.lock_file()?;
            let ready = lines.get(7).is_some_and(|state| state == "ready" || state == "standby");
            (lines.first() == Some(&own_pid) && ready).then_some(Ok(()))
        });
        if ready.is_ok() {
            self.process = Some(process);
        }
        ready
    }

    /// The command that runs the server in the foreground, its log on standard error.
    #[track_caller]
    pub fn command(&self) -> Tool {
        (self.command)(self).named(&self.name)
    }

    /// Stops the server in this way and waits until it is gone.
    #[track_caller]
    pub fn stop(&mut self, how: Shutdown) -> Finished {
        let mut process = self.running();
        process.signal(match how {
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        });
        process.wait_within(DEADLINE * 2)
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> Finished {
        self.running().wait()
    }

    /// The lines of `postmaster.pid`, which is there while the server runs and after it was killed.
    pub(crate) fn lock_file(&self) -> Option<Vec<String>> {
        let file = std::fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        Some(file.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// The process, which from now on belongs to the caller.
    #[track_caller]
    pub fn running(&mut self) -> Process {
        self.take_process().unwrap_or_else(|| panic!("server {} does not run", self.name))
    }

    /// The same, if it was started and not stopped since.
    pub(crate) fn take_process(&mut self) -> Option<Process> {
        self.process.take()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// The running process (of PostgreSQL's, the postmaster).
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap_or_else(|| panic!("server {} does not run", self.name))
    }

    /// What it has logged since it was last started.
    #[track_caller]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Runs a script whose statements are transactions of their own, and gives what it prints.
    #[track_caller]
    pub fn script(&self, sql: &str) -> String {
        let psql = self.psql(["-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        psql.stdin(sql).run_within(DEADLINE * 5).success().stdout
    }

    /// Runs SQL (several statements are one transaction) and gives the rows as `psql -XAt` prints them: a line each,
    /// columns separated by `|`.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).success().stdout.trim_end_matches('\n').to_owned()
    }

    /// Runs SQL that may fail.
    #[track_caller]
    pub fn try_sql(&self, sql: &str) -> Finished {
        self.psql(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]).run_within(DEADLINE * 5)
    }

    /// `psql` with those arguments, connected through the Unix socket.
    #[track_caller]
    pub fn psql<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Tool {
        self.client("psql").args(["-d", "postgres"]).args(args)
    }

    /// Runs `pgbench` with those arguments to its end, which has to come within ten minutes.
    #[track_caller]
    pub fn pgbench<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        self.pgbench_tool(args).run_within(DEADLINE * 10).success()
    }

    /// `pgbench` with those arguments, to be started.
    #[track_caller]
    pub fn pgbench_tool<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Tool {
        self.client("pgbench").args(args).arg("postgres")
    }

    /// One of PostgreSQL's client programs of the server's version, connected through the Unix socket.
    #[track_caller]
    pub fn client(&self, name: &str) -> Tool {
        let (socket, port) = (self.socket_dir(), self.port.to_string());
        let tool = Tool::postgres(&self.root, self.version, name);
        tool.env("PGHOST", socket).env("PGPORT", port).env("PGUSER", "postgres")
    }

    /// A connection string for the TCP port, without a database.
    pub fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres", self.port)
    }

    /// A connection string for the Unix socket, without a database.
    pub fn socket_conninfo(&self) -> String {
        format!("host={} port={} user=postgres", self.socket_dir().display(), self.port)
    }

    /// Its TCP port, which also names its Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its Unix socket is.
    pub fn socket_dir(&self) -> PathBuf {
        self.root.join("socket")
    }

    /// What its logs are called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its `pg_wal`.
    pub fn wal_dir(&self) -> PathBuf {
        self.data.join("pg_wal")
    }

    /// Its version, or that of the clients.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The root it lives in.
    pub fn root(&self) -> &TempRoot {
        &self.root
    }

    /// Up to where its WAL is flushed (on a standby: received and flushed).
    #[track_caller]
    pub fn flush_lsn(&self) -> Lsn {
        let in_recovery = self.sql("select pg_is_in_recovery()") == "t";
        let function = if in_recovery { "pg_last_wal_receive_lsn" } else { "pg_current_wal_flush_lsn" };
        self.sql(&format!("select {function}()")).parse().unwrap()
    }

    /// Makes this (stopped) server a standby that streams from `primary_conninfo`.
    #[track_caller]
    pub fn follow(&self, primary_conninfo: &str) {
        self.configure("primary_conninfo", primary_conninfo);
        self.append("standby.signal", "");
    }

    /// Waits until a standby has replayed everything up to `lsn`.
    #[track_caller]
    pub fn wait_for_replay(&self, lsn: Lsn) {
        wait_until(&format!("replay of {lsn}"), || {
            self.sql("select pg_last_wal_replay_lsn()").parse::<Lsn>().is_ok_and(|replayed| replayed >= lsn)
        });
    }
}
