//! This project's own server: made, started, asked, killed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use wal::Lsn;

use crate::ports;
use crate::postgres::Shutdown;
use crate::process::{Finished, Process};
use crate::root::{TempRoot, last_lines};
use crate::tool::Tool;
use crate::version::Version;
use crate::wait::{DEADLINE, wait_for, wait_until};

/// What pgbench's transactions keep equal: four sums of the same changes.
const BALANCES: &str = "begin isolation level repeatable read;
    select sum(abalance) from pgbench_accounts;
    select sum(tbalance) from pgbench_tellers;
    select sum(bbalance) from pgbench_branches;
    select coalesce(sum(delta), 0) from pgbench_history;
    commit;";

/// A data directory and the `walwriter serve` that runs in it, if one does. It listens on a Unix socket in the root and on
/// a TCP port of the loopback interface, both given on its command line, so copies of the directory do not inherit them.
pub struct Walwriter {
    root: TempRoot,
    name: String,
    data: PathBuf,
    port: u16,
    server: Option<Process>,
}

impl Walwriter {
    /// Makes a data directory called `name` in the root. No server runs in it yet.
    #[track_caller]
    pub fn init(root: &TempRoot, name: &str, options: &[&str]) -> Self {
        let data = root.dir(name);
        Tool::ours(root, "walwriter").args(["init", "-D"]).arg(&data).args(options).succeed();
        Self::in_directory(root, name, &data)
    }

    /// A running leader over a new directory with segments of 1 MiB and these settings.
    #[track_caller]
    pub fn start_new(root: &TempRoot, name: &str, settings: &[(&str, &str)]) -> Self {
        let mut server = Self::init(root, name, &["--wal-segsize", "1"]);
        for (name, value) in settings {
            server.configure(name, value);
        }
        server.start();
        server
    }

    /// A server over a directory that is there already, such as a backup; `name` is what its logs are called.
    pub fn in_directory(root: &TempRoot, name: &str, data: &Path) -> Self {
        let (root, name, data) = (root.clone(), name.to_owned(), data.to_owned());
        Self { root, name, data, port: ports::free(), server: None }
    }

    /// Appends a line to `postgresql.conf`, for the next start.
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

    /// Makes this (stopped) server a standby that streams from `primary_conninfo`.
    #[track_caller]
    pub fn follow(&self, primary_conninfo: &str) {
        self.configure("primary_conninfo", primary_conninfo);
        self.append("standby.signal", "");
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
        assert!(self.server.is_none(), "server {} runs already", self.name);
        let mut process = self.command().spawn();
        let own_pid = process.pid().to_string();
        let ready = wait_for(&format!("server {} to be ready", self.name), DEADLINE * 4, || {
            if !process.is_running() {
                return Some(Err(process.stderr()));
            }
            // As PostgreSQL's: the first line is the process's number, the eighth its state.
            let file = std::fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
            let mut lines = file.lines().map(str::trim);
            let is_own = lines.next() == Some(&own_pid);
            let is_ready = lines.nth(6).is_some_and(|state| state == "ready" || state == "standby");
            (is_own && is_ready).then_some(Ok(()))
        });
        if ready.is_ok() {
            self.server = Some(process);
        }
        ready
    }

    /// The command that runs the server in the foreground, its log on standard error.
    #[track_caller]
    pub fn command(&self) -> Tool {
        let tool =
            Tool::ours(&self.root, "walwriter").named(&self.name).args(["serve", "-D"]).arg(&self.data);
        let socket = format!("unix_socket_directories={}", self.socket_dir().display());
        let port = format!("port={}", self.port);
        tool.args(["-c", &port, "-c", &socket, "-c", "listen_addresses=127.0.0.1"])
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

    /// SIGKILL, and waits until it is gone.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.running().kill9();
    }

    #[track_caller]
    fn running(&mut self) -> Process {
        self.server.take().unwrap_or_else(|| panic!("server {} does not run", self.name))
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(Process::is_running)
    }

    /// The running process.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.server.as_mut().unwrap_or_else(|| panic!("server {} does not run", self.name))
    }

    /// What it has logged since it was last started.
    pub fn log(&self) -> String {
        self.server.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Makes a standby the leader of a new timeline, and waits until it is.
    #[track_caller]
    pub fn promote(&self) {
        Tool::ours(&self.root, "walwriter").args(["promote", "-D"]).arg(&self.data).succeed();
        assert_eq!(self.sql("select pg_is_in_recovery()"), "f");
    }

    /// Runs SQL and gives the rows as `psql -XAt` prints them: a line each, columns separated by `|`.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).success().stdout.trim_end_matches('\n').to_owned()
    }

    /// Runs SQL that may fail.
    #[track_caller]
    pub fn try_sql(&self, sql: &str) -> Finished {
        self.psql(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]).run_within(DEADLINE * 5)
    }

    /// Runs a script whose statements are transactions of their own.
    #[track_caller]
    pub fn script(&self, sql: &str) -> String {
        let psql = self.psql(["-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        psql.stdin(sql).run_within(DEADLINE * 5).success().stdout
    }

    /// `psql` with those arguments, connected through the Unix socket.
    #[track_caller]
    pub fn psql<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Tool {
        self.client("psql").args(["-d", "postgres"]).args(args)
    }

    /// Runs `pgbench` with those arguments to its end.
    #[track_caller]
    pub fn pgbench<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        self.pgbench_tool(args).run_within(DEADLINE * 10).success()
    }

    /// `pgbench` with those arguments, to be started.
    #[track_caller]
    pub fn pgbench_tool<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Tool {
        self.client("pgbench").args(args).arg("postgres")
    }

    /// One of PostgreSQL 15's client programs, connected through the Unix socket.
    #[track_caller]
    pub fn client(&self, name: &str) -> Tool {
        let (socket, port) = (self.socket_dir(), self.port.to_string());
        let tool = Tool::postgres(&self.root, Version::V15, name);
        tool.env("PGHOST", socket).env("PGPORT", port).env("PGUSER", "postgres")
    }

    /// A connection string for the TCP port, without a database.
    pub fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres", self.port)
    }

    /// Its TCP port, which also names its Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its Unix socket is.
    pub fn socket_dir(&self) -> PathBuf {
        self.root.dir("socket")
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its `pg_wal`.
    pub fn wal_dir(&self) -> PathBuf {
        self.data.join("pg_wal")
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

    /// Waits until a standby has replayed everything up to `lsn`.
    #[track_caller]
    pub fn wait_for_replay(&self, lsn: Lsn) {
        wait_until(&format!("replay of {lsn}"), || {
            self.sql("select pg_last_wal_replay_lsn()").parse::<Lsn>().is_ok_and(|replayed| replayed >= lsn)
        });
    }

    /// pgbench's four sums, of accounts, tellers, branches and history, in one snapshot.
    #[track_caller]
    pub fn balances(&self) -> Vec<String> {
        let printed = self.script(BALANCES);
        let sums: Vec<String> = printed.lines().map(str::to_owned).collect();
        assert_eq!(sums.len(), 4, "{printed}");
        sums
    }

    /// The four sums are equal, as they are in every snapshot.
    #[track_caller]
    pub fn assert_balanced(&self) {
        let sums = self.balances();
        assert!(sums.iter().all(|sum| *sum == sums[0]), "the balances differ: {sums:?}");
    }

    /// Has PostgreSQL's tools look at the (stopped) directory: the control file, every page's checksum, and the WAL from the
    /// last checkpoint's redo point to its end.
    #[track_caller]
    pub fn assert_sound(&mut self) {
        assert!(!self.is_running(), "only a stopped directory can be looked at");
        let tool = |name| Tool::postgres(&self.root, Version::V15, name);
        let control = tool("pg_controldata").arg(&self.data).succeed();
        assert!(!control.contains("WARNING"), "{control}");
        let field = |name: &str| {
            let line = control.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {control}")).trim().to_owned()
        };
        if field("Database cluster state:").starts_with("shut down") {
            tool("pg_checksums").args(["--check", "-D"]).arg(&self.data).succeed();
        }
        let redo = field("Latest checkpoint's REDO location:");
        let timeline = field("Latest checkpoint's TimeLineID:");
        let dump = tool("pg_waldump").args(["-t", &timeline, "-s", &redo, "-p"]).arg(self.wal_dir()).run();
        // The end of the log reads as a record of no length, or of another segment's past.
        assert!(!dump.stdout.is_empty(), "{dump}");
        assert!(dump.stderr.contains("error in WAL record at") || dump.stderr.is_empty(), "{dump}");
    }
}
