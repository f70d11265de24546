//! Runs of pgbench: what each does, and what it comes to.

use std::path::PathBuf;

use anyhow::{Context, Result};
use walship_tests::TempRoot;

use crate::report::Aim;
use crate::server::Server;

/// Rows of the table that is upserted into.
pub const KEYS: u32 = 1_000_000;

/// A transaction, and what is hoped for.
pub struct Script {
    pub name: &'static str,
    arguments: Vec<String>,
    /// How many times PostgreSQL's rate it is to have at 32 clients and more.
    crowded: f64,
    pub writes: bool,
}

impl Script {
    /// `INSERT ... ON CONFLICT DO UPDATE` of a random one of the rows that [`load_keys`] has made. Its value changes from
    /// end to end: what stays the same is not logged by walwriter.
    pub fn upsert(root: &TempRoot) -> Self {
        let file: PathBuf = root.file(
            "upsert.sql",
            format!(
                "\\set key random(1, {KEYS})\n\
                 \\set version random(100000000, 999999999)\n\
                 insert into kv values (:key, repeat(:version, 11)) on conflict (key) do update set value = excluded.value;\n"
            ),
        );
        let arguments = vec!["-f".to_owned(), file.display().to_string()];
        Self { name: "upsert", arguments, crowded: 2.5, writes: true }
    }

    /// One of those that pgbench brings along.
    pub fn builtin(name: &'static str) -> Self {
        let writes = name != "select-only";
        let crowded = if writes { 2.0 } else { 1.5 };
        Self { name, arguments: vec!["-b".to_owned(), name.to_owned()], crowded, writes }
    }

    /// The rate that is aimed at with so many clients.
    pub const fn aim(&self, clients: u32) -> Aim {
        match clients {
            1 => Aim::AtLeast(1.3),
            32.. => Aim::AtLeast(self.crowded),
            _ => Aim::Nothing,
        }
    }

    /// pgbench's arguments for it, with so many clients.
    pub fn arguments(&self, clients: u32) -> Vec<String> {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let (threads, clients) = (threads.min(clients).to_string(), clients.to_string());
        let fixed = ["-n", "-M", "prepared", "-j", &threads, "-c", &clients];
        fixed.into_iter().map(str::to_owned).chain(self.arguments.iter().cloned()).collect()
    }
}

/// What one run of pgbench came to.
pub struct Run {
    pub tps: f64,
    pub transactions: f64,
    /// The server's CPU time, in microseconds a transaction.
    pub cpu: f64,
    /// Bytes of WAL a transaction.
    pub wal: f64,
}

/// Runs `script` on a server whose turn it is, after a checkpoint.
pub fn run(server: &mut Server, script: &Script, clients: u32, seconds: u32) -> Result<Run> {
    server.sql("checkpoint");
    let (cpu, lsn) = (server.cpu()?, server.insert_lsn());
    let mut arguments = script.arguments(clients);
    arguments.extend(["-T".to_owned(), seconds.to_string()]);
    let printed = server.pgbench(arguments).stdout;
    let cpu = server.cpu()? - cpu;
    let number = |prefix: &str| -> Result<f64> {
        let line = printed.lines().find_map(|line| line.strip_prefix(prefix));
        let word = line.and_then(|rest| rest.split([' ', '/']).next());
        word.and_then(|word| word.parse().ok()).with_context(|| format!("no \"{prefix}\" in {printed}"))
    };
    let transactions = number("number of transactions actually processed: ")?;
    let run = Run {
        tps: number("tps = ")?,
        transactions,
        cpu: cpu * 1e6 / transactions,
        wal: server.insert_lsn().bytes_since(lsn) as f64 / transactions,
    };
    eprintln!("    {} clients={clients} {}: {:.0} tps", script.name, server.name(), run.tps);
    Ok(run)
}

/// Makes the table that is upserted into, with all its rows.
pub fn load_keys(server: &Server, root: &TempRoot) {
    let rows = root.join("keys");
    if !rows.exists() {
        let value = "x".repeat(100);
        root.file("keys", (1..=KEYS).map(|key| format!("{key}\t{value}\n")).collect::<String>());
    }
    server.sql("create table kv (key int primary key, value text)");
    let copy = format!("\\copy kv from '{}'", rows.display());
    server
        .psql(["-Xq", "-v", "ON_ERROR_STOP=1", "-c", &copy])
        .run_within(walship_tests::DEADLINE * 5)
        .success();
    // As pgbench does with its own tables.
    server.sql("vacuum analyze kv");
}

/// Makes pgbench's own tables.
pub fn load_accounts(server: &Server, scale: u32) {
    server.pgbench(["-i", "-q", "-s", &scale.to_string()]);
}
