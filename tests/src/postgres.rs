//! A PostgreSQL server: made, started, asked, killed.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wal::Lsn;

use crate::descendants::{descendants_of, is_gone};
use crate::options::Options;
use crate::ports;
use crate::process::{Finished, Process, pid};
use crate::root::{TempRoot, last_lines};
use crate::tool::Tool;
use crate::version::Version;
use crate::wait::{DEADLINE, wait_for, wait_until};

/// A data directory and the server that runs in it, if one does. It listens on a Unix socket in the root and on a TCP
/// port of the loopback interface; both are given on its command line, so copies of the directory do not inherit them.
pub struct Postgres {
    root: TempRoot,
    name: String,
    version: Version,
    data: PathBuf,
    port: u16,
    server: Option<Process>,
}

/// How to stop a server (`pg_ctl stop -m`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Waits until everything is sent to followers, writes a checkpoint.
    Fast,
    /// Stops at once; the next start recovers from the WAL.
    Immediate,
}

impl Postgres {
    /// Makes a cluster in directory `name` of the root; its superuser is `postgres`. It does not run yet.
    #[track_caller]
    pub fn init(root: &TempRoot, name: &str, version: Version, options: Options) -> Self {
        let data = root.dir(name);
        let initdb = Tool::postgres(root, version, "initdb").arg("-D").arg(&data);
        initdb
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "--no-locale", "-E", "UTF8"])
            .args(&options.initdb)
            .succeed();
        let server = Self::in_directory(root, name, version, &data);
        for (name, value) in &options.settings {
            server.configure(name, value);
        }
        server
    }

    /// [`Postgres::init`] and [`Postgres::start`].
    #[track_caller]
    pub fn start_new(root: &TempRoot, name: &str, version: Version, options: Options) -> Self {
        let mut server = Self::init(root, name, version, options);
        server.start();
        server
    }

    /// A server over a data directory that is there already, such as a backup; `name` is what its logs are called.
    pub fn in_directory(root: &TempRoot, name: &str, version: Version, data: &Path) -> Self {
        let (root, name, data) = (root.clone(), name.to_owned(), data.to_owned());
        Self { root, name, version, data, port: ports::free(), server: None }
    }

    /// Appends a line to `postgresql.conf`; takes effect with the next start or [`Postgres::reload`].
    #[track_caller]
    pub fn configure(&self, name: &str, value: &str) {
        self.append("postgresql.conf", &format!("{name} = '{}'\n", value.replace('\'', "''")));
    }

    /// Puts lines before all others in `pg_hba.conf`, such as `host all joe 127.0.0.1/32 scram-sha-256`.
    #[track_caller]
    pub fn authenticate(&self, lines: &str) {
        let path = self.data.join("pg_hba.conf");
        let old = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{lines}\n{old}")).unwrap();
    }

    /// Appends to a file of the data directory, which is made if it is missing.
    #[track_caller]
    pub fn append(&self, file: &str, text: &str) {
        let path = self.data.join(file);
        let mut content = std::fs::read_to_string(&path).unwrap_or_default();
        content.write_str(text).unwrap();
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
        assert!(self.server.is_none(), "server {} runs already", self.name);
        let mut process = self.postmaster().spawn();
        let own_pid = process.pid().to_string();
        let ready = wait_for(&format!("server {} to be ready", self.name), DEADLINE * 2, || {
            if !process.is_running() {
                return Some(Err(process.stderr()));
            }
            // As pg_ctl does it: the first line is the postmaster's process id, the eighth its state.
            let lines = self.lock_file()?;
            let ready = lines.get(7).is_some_and(|state| state == "ready" || state == "standby");
            (lines.first() == Some(&own_pid) && ready).then_some(Ok(()))
        });
        if ready.is_ok() {
            self.server = Some(process);
        }
        ready
    }

    /// The command that runs the server in the foreground, its log on standard error.
    #[track_caller]
    pub fn postmaster(&self) -> Tool {
        let (port, socket) = (self.port.to_string(), self.socket_dir());
        let tool = Tool::postgres(&self.root, self.version, "postgres").named(&self.name);
        tool.arg("-D").arg(&self.data).args(["-p", &port, "-k"]).arg(socket)
    }

    /// Stops the server and waits until it is gone.
    #[track_caller]
    pub fn stop(&mut self, how: Shutdown) {
        let mut process = self.running();
        process.signal(match how {
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        });
        process.wait_within(DEADLINE * 2);
    }

    /// SIGKILL to the whole server at one moment, as when the machine's power goes: none of its processes survives.
    #[track_caller]
    pub fn kill9(&mut self) {
        let mut postmaster = self.running();
        // Stopped first, it starts no further processes while those there are being looked up.
        postmaster.freeze();
        let children = descendants_of(postmaster.pid());
        for &child in &children {
            let _ = rustix::process::kill_process(pid(child), Signal::KILL);
        }
        postmaster.kill9();
        wait_until("the server's processes to be gone", || children.iter().all(|&child| is_gone(child)));
    }

    /// The lines of `postmaster.pid`, which is there while the server runs and after it was killed.
    fn lock_file(&self) -> Option<Vec<String>> {
        let file = std::fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        Some(file.lines().map(|line| line.trim().to_owned()).collect())
    }

    #[track_caller]
    fn running(&mut self) -> Process {
        self.server.take().unwrap_or_else(|| panic!("server {} does not run", self.name))
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(Process::is_running)
    }

    /// The running server's postmaster.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.server.as_mut().unwrap_or_else(|| panic!("server {} does not run", self.name))
    }

    /// What it has logged since it was last started.
    #[track_caller]
    pub fn log(&self) -> String {
        self.server.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Makes it read its configuration again.
    #[track_caller]
    pub fn reload(&self) {
        self.sql("select pg_reload_conf()");
    }

    /// Makes a standby the leader of a new timeline, and waits until it is.
    #[track_caller]
    pub fn promote(&self) {
        self.sql("select pg_promote(true, 60)");
        wait_until("the promotion to end", || self.sql("select pg_is_in_recovery()") == "f");
    }

    /// Runs a script whose statements are transactions of their own.
    #[track_caller]
    pub fn script(&self, sql: &str) {
        let psql = self.psql(["-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        psql.stdin(sql).run_within(DEADLINE * 5).success();
    }

    /// Runs SQL (several statements are one transaction) and gives the rows as `psql -XAt` prints them: a line each, columns separated by `|`.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        let finished = self.try_sql(sql).success();
        finished.stdout.trim_end_matches('\n').to_owned()
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

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its `pg_wal`.
    pub fn wal_dir(&self) -> PathBuf {
        self.data.join("pg_wal")
    }

    /// Its version.
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
        let lsn = self.sql(
            "select case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_flush_lsn() end",
        );
        lsn.parse().unwrap()
    }

    /// Ends the current segment; gives the LSN at which it ended.
    #[track_caller]
    pub fn switch_wal(&self) -> Lsn {
        self.sql("select pg_switch_wal()").parse().unwrap()
    }

    /// The system identifier, as `IDENTIFY_SYSTEM` prints it.
    #[track_caller]
    pub fn system_id(&self) -> String {
        self.sql("select system_identifier from pg_control_system()")
    }
}

impl Drop for Postgres {
    /// Ends the server in a way that lets it take its System V shared memory along, which SIGKILL leaves behind.
    fn drop(&mut self) {
        if let Some(mut process) = self.server.take().filter(|_| self.lock_file().is_some())
            && process.is_running()
        {
            let _ = rustix::process::kill_process(pid(process.pid()), Signal::CONT);
            let _ = rustix::process::kill_process(pid(process.pid()), Signal::QUIT);
            let deadline = Instant::now() + Duration::from_secs(10);
            while process.is_running() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let memory = self
            .lock_file()
            .and_then(|lines| lines.get(6)?.split_ascii_whitespace().nth(1).map(str::to_owned));
        if let Some(id) = memory {
            let _ = Command::new("ipcrm").args(["-m", &id]).stderr(Stdio::null()).status();
        }
    }
}
