//! The two contenders behind one face.

use std::ffi::OsStr;

use anyhow::{Context, Result};
use wal::Lsn;
use walship_tests::{Finished, Options, Postgres, Shutdown, TempRoot, Tool, Version, Walwriter};

use crate::measure::cpu_of;

/// What both are given beside their defaults.
const SETTINGS: [(&str, &str); 3] =
    [("shared_buffers", "1GB"), ("max_wal_size", "8GB"), ("max_connections", "200")];

/// A server under test.
pub enum Server {
    Postgres(Box<Postgres>),
    Walwriter(Box<Walwriter>),
}

impl Server {
    pub fn postgres(root: &TempRoot) -> Self {
        let options =
            SETTINGS.iter().fold(Options::default().setting("fsync", "on"), |options, (name, value)| {
                options.setting(*name, *value)
            });
        let options = options.wal_segment_mib(16);
        Self::Postgres(Box::new(Postgres::start_new(root, "postgresql", Version::V15, options)))
    }

    pub fn walwriter(root: &TempRoot) -> Self {
        let mut server = Walwriter::init(root, "walwriter", &[]);
        for (name, value) in SETTINGS {
            server.configure(name, value);
        }
        server.start();
        Self::Walwriter(Box::new(server))
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "PostgreSQL 15",
            Self::Walwriter(_) => "walwriter",
        }
    }

    pub fn sql(&self, sql: &str) -> String {
        match self {
            Self::Postgres(server) => server.sql(sql),
            Self::Walwriter(server) => server.sql(sql),
        }
    }

    pub fn pgbench<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        match self {
            Self::Postgres(server) => server.pgbench(args),
            Self::Walwriter(server) => server.pgbench(args),
        }
    }

    pub fn psql<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Tool {
        match self {
            Self::Postgres(server) => server.psql(args),
            Self::Walwriter(server) => server.psql(args),
        }
    }

    pub fn insert_lsn(&self) -> Lsn {
        self.sql("select pg_current_wal_insert_lsn()").parse().unwrap()
    }

    /// The server's process: for PostgreSQL the postmaster, whose children are counted too.
    fn pid(&mut self) -> u32 {
        match self {
            Self::Postgres(server) => server.process().pid(),
            Self::Walwriter(server) => server.process().pid(),
        }
    }

    /// CPU seconds used so far by the server: of the processes that live, and of those that the postmaster has waited for.
    pub fn cpu(&self) -> Result<f64> {
        let data = match self {
            Self::Postgres(server) => server.data(),
            Self::Walwriter(server) => server.data(),
        };
        let file = std::fs::read_to_string(data.join("postmaster.pid"))?;
        let pid: u32 = file.lines().next().context("postmaster.pid is empty")?.trim().parse()?;
        let mut total = cpu_of(pid)? + cpu_of_waited_for(pid)?;
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if parent_of(child) == Some(pid) {
                total += cpu_of(child).unwrap_or(0.0);
            }
        }
        Ok(total)
    }

    pub fn kill9(&mut self) {
        match self {
            Self::Postgres(server) => server.kill9(),
            Self::Walwriter(server) => server.kill9(),
        }
    }

    pub fn start(&mut self) {
        match self {
            Self::Postgres(server) => server.start(),
            Self::Walwriter(server) => server.start(),
        }
    }

    pub fn stop(&mut self) {
        match self {
            Self::Postgres(server) => server.stop(Shutdown::Fast),
            Self::Walwriter(server) => drop(server.stop(Shutdown::Fast)),
        }
    }

    pub fn log(&self) -> String {
        match self {
            Self::Postgres(server) => server.log(),
            Self::Walwriter(server) => server.log(),
        }
    }
}

fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().map(str::to_owned).collect())
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// CPU seconds of children that have ended: backends of earlier runs.
fn cpu_of_waited_for(pid: u32) -> Result<f64> {
    let fields = stat(pid).context("the server is gone")?;
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // SAFETY: sysconf has no preconditions.
    Ok((ticks(13) + ticks(14)) / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64)
}
