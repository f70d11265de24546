//! A log to be replayed: what a number of transactions has left behind, written once and replayed in every round.

use anyhow::Result;
use wal::Lsn;
use walship_tests::TempRoot;

use crate::pgbench::{self, Script};
use crate::plan::Plan;
use crate::report::Side;
use crate::server::Server;

/// How many clients write it.
const CLIENTS: u32 = 16;

/// A server with transactions behind it and no checkpoint since the first of them.
pub struct History {
    pub server: Server,
    /// A copy from just before them.
    pub backup: Server,
    pub transactions: u64,
    pub bytes: u64,
    /// The end of the last one.
    pub end: Lsn,
}

/// What is replayed.
pub struct Load {
    pub name: &'static str,
    script: Script,
    transactions: u64,
    scale: Option<u32>,
}

impl Load {
    /// So many upserts.
    pub fn upserts(root: &TempRoot, transactions: u64) -> Self {
        Self { name: "upsert", script: Script::upsert(root), transactions, scale: None }
    }
}

/// What logs are made of; they are the longer the longer runs are asked for.
pub fn loads(root: &TempRoot, plan: &Plan) -> [Load; 2] {
    let seconds = u64::from(plan.seconds);
    let tpcb = Script::builtin("tpcb-like");
    [
        Load::upserts(root, seconds * 150_000),
        Load {
            name: "tpcb-like",
            script: tpcb,
            transactions: seconds * 40_000,
            scale: Some(plan.scale.min(32)),
        },
    ]
}

/// Has both servers write the same transactions. They are left waiting for their turns.
pub fn write(root: &TempRoot, load: &Load) -> Result<[History; 2]> {
    let [theirs, ours] = [Side::PostgreSql, Side::Ours].map(|side| write_one(root, load, side));
    Ok([theirs?, ours?])
}

/// Has a server of that side write them, and leaves it waiting for its turn.
pub fn write_one(root: &TempRoot, load: &Load, side: Side) -> Result<History> {
    let mut server = Server::start_new(root, side, &format!("{}-leader", load.name));
    eprintln!("writing {} {} transactions: {}", load.transactions, load.name, server.name());
    match load.scale {
        Some(scale) => pgbench::load_accounts(&server, scale),
        None => pgbench::load_keys(&server, root),
    }
    let backup = server.back_up(root, &format!("{}-backup-{}", load.name, server.name()));
    // Nobody measures how fast this is written.
    server.configure("synchronous_commit", "off");
    server.sql("select pg_reload_conf()");
    let each = load.transactions / u64::from(CLIENTS);
    let start = server.insert_lsn();
    let mut arguments = load.script.arguments(CLIENTS);
    arguments.extend(["-t".to_owned(), each.to_string()]);
    server.pgbench(arguments);
    server.configure("synchronous_commit", "on");
    server.sql("select pg_reload_conf()");
    server.sql("create table written (n int)");
    let end = server.flush_lsn();
    server.freeze();
    let bytes = end.bytes_since(start);
    Ok(History { server, backup, transactions: each * u64::from(CLIENTS), bytes, end })
}
