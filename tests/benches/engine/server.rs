//! The two contenders behind one face.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use wal::Lsn;
use walship_tests::{Finished, Frozen, Options, Postgres, TempRoot, Tool, Version, Walwriter};

use crate::cpu::cpu_of_server;
use crate::report::Side;

/// What both are given beside their defaults. The last three leave what is measured alone: whoever is replayed from keeps
/// its log, and whoever waits for his turn is not taken for dead.
const SETTINGS: [(&str, &str); 5] = [
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("wal_keep_size", "16GB"),
    ("wal_sender_timeout", "0"),
    ("wal_receiver_timeout", "0"),
];

/// A server under test. It runs in its turns only and is stopped where it is (SIGSTOP) between them, so that whatever it
/// does in the background costs nobody but itself.
pub struct Server {
    kind: Kind,
    frozen: Option<Frozen>,
    running: bool,
}

enum Kind {
    Postgres(Box<Postgres>),
    Walwriter(Box<Walwriter>),
}

macro_rules! either {
    ($server:expr, $it:ident => $what:expr) => {
        match $server {
            Kind::Postgres($it) => $what,
            Kind::Walwriter($it) => $what,
        }
    };
}

impl Server {
    /// A new and running server in directory `name` of `root`, plus the side's own name.
    pub fn start_new(root: &TempRoot, side: Side, name: &str) -> Self {
        let kind = match side {
            Side::PostgreSql => {
                let options = SETTINGS
                    .iter()
                    .fold(Options::of_postgresql(), |options, (name, value)| options.setting(*name, *value));
                let name = format!("{name}-postgresql");
                Kind::Postgres(Box::new(Postgres::start_new(root, &name, Version::V15, options)))
            }
            Side::Ours => {
                let mut server = Walwriter::init(root, &format!("{name}-walwriter"), &[]);
                for (name, value) in SETTINGS {
                    server.configure(name, value);
                }
                server.start();
                Kind::Walwriter(Box::new(server))
            }
        };
        Self { kind, frozen: None, running: true }
    }

    /// One of each, that wait for their turns.
    pub fn pair(root: &TempRoot, name: &str) -> [Self; 2] {
        [Side::PostgreSql, Side::Ours].map(|side| {
            let mut server = Self::start_new(root, side, name);
            server.freeze();
            server
        })
    }

    /// A server of the same kind over a directory that is there already. It does not run yet.
    pub fn in_directory(&self, root: &TempRoot, name: &str, data: &Path) -> Self {
        let kind = match &self.kind {
            Kind::Postgres(_) => {
                Kind::Postgres(Box::new(Postgres::in_directory(root, name, Version::V15, data)))
            }
            Kind::Walwriter(_) => Kind::Walwriter(Box::new(Walwriter::in_directory(root, name, data))),
        };
        Self { kind, frozen: None, running: false }
    }

    /// Its turn: runs until `work` is done.
    pub fn turn<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.resume();
        let outcome = work(self);
        self.freeze();
        outcome
    }

    pub fn freeze(&mut self) {
        if self.running && self.frozen.is_none() {
            let pid = self.pid();
            self.frozen = Some(either!(&self.kind, server => Frozen::new(server.root(), pid)));
        }
    }

    pub fn resume(&mut self) {
        self.frozen = None;
    }

    pub const fn side(&self) -> Side {
        match self.kind {
            Kind::Postgres(_) => Side::PostgreSql,
            Kind::Walwriter(_) => Side::Ours,
        }
    }

    pub const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Postgres(_) => "PostgreSQL 15",
            Kind::Walwriter(_) => "walwriter",
        }
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        either!(&self.kind, server => server.data())
    }

    /// The Unix socket that it listens on.
    pub fn socket(&self) -> PathBuf {
        either!(&self.kind, server => server.socket_dir().join(format!(".s.PGSQL.{}", server.port())))
    }

    pub fn conninfo(&self) -> String {
        either!(&self.kind, server => server.conninfo())
    }

    pub fn configure(&self, name: &str, value: &str) {
        either!(&self.kind, server => server.configure(name, value));
    }

    pub fn sql(&self, sql: &str) -> String {
        either!(&self.kind, server => server.sql(sql))
    }

    pub fn pgbench<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        either!(&self.kind, server => server.pgbench(args))
    }

    pub fn pgbench_tool<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Tool {
        either!(&self.kind, server => server.pgbench_tool(args))
    }

    pub fn psql<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Tool {
        either!(&self.kind, server => server.psql(args))
    }

    pub fn insert_lsn(&self) -> Lsn {
        self.sql("select pg_current_wal_insert_lsn()").parse().unwrap()
    }

    /// Up to where its log is durable. Unlike the position of insertion it is never past the header of a page to come.
    pub fn flush_lsn(&self) -> Lsn {
        either!(&self.kind, server => server.flush_lsn())
    }

    pub fn wait_for_replay(&self, lsn: Lsn) {
        either!(&self.kind, server => server.wait_for_replay(lsn));
    }

    /// CPU seconds that it has used since it was started.
    pub fn cpu(&mut self) -> Result<f64> {
        cpu_of_server(self.pid())
    }

    /// Its process; PostgreSQL's postmaster.
    fn pid(&mut self) -> u32 {
        either!(&mut self.kind, server => server.process().pid())
    }

    pub fn start(&mut self) {
        either!(&mut self.kind, server => server.start());
        self.running = true;
    }

    pub fn kill9(&mut self) {
        self.resume();
        either!(&mut self.kind, server => server.kill9());
        self.running = false;
    }

    /// A copy of this running server, made by pg_basebackup in directory `name` of `root`. It does not run yet.
    pub fn back_up(&self, root: &TempRoot, name: &str) -> Self {
        let directory = root.dir(name);
        let tool = Tool::postgres(root, Version::V15, "pg_basebackup").arg("-D").arg(&directory);
        let tool = tool.args(["-X", "stream", "-c", "fast", "-d", &self.conninfo()]);
        tool.run_within(walship_tests::DEADLINE * 5).success();
        self.in_directory(root, name, &directory)
    }

    /// Makes this (stopped) copy a standby of `leader`, which knows it as `application`.
    pub fn follow(&self, leader: &Self, application: &str) {
        let conninfo = format!("{} application_name={application}", leader.conninfo());
        either!(&self.kind, server => server.follow(&conninfo));
    }

    /// The command that promotes it.
    pub fn promote_tool(&self, root: &TempRoot) -> Tool {
        let tool = match self.kind {
            Kind::Postgres(_) => Tool::postgres(root, Version::V15, "pg_ctl"),
            Kind::Walwriter(_) => Tool::ours(root, "walwriter"),
        };
        tool.args(["promote", "-D"]).arg(self.data())
    }

    /// What it has logged since it was last started.
    pub fn log(&self) -> String {
        either!(&self.kind, server => server.log())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What is stopped does not heed whoever ends it.
        self.resume();
    }
}
