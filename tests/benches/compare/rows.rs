//! What is measured: each row a run of one to three seconds, the same for both builds.

use std::time::Duration;

use anyhow::{Context, Result};
use walship_tests::{TempRoot, Tool, Walsender};

use crate::builds::Builds;
use crate::discard::Discarder;
use crate::history::{self, Load};
use crate::leader::{Leader, TIMELINE};
use crate::measure::{mb_per_s, timed};
use crate::options::Options;
use crate::outcome::Outcome;
use crate::pgbench::{self, Script};
use crate::report::Side;
use crate::server::Server;
use crate::{backup, copy, replay, synchronous};

/// pgbench's clients and scale.
const CLIENTS: u32 = 8;
const SCALE: u32 = 10;
/// How many upserts there are to replay for each second that was asked for.
const REPLAYED: u64 = 150_000;
/// How much WAL travels, in MiB.
const SHIPPED: u64 = 512;

/// Measures every row that is wanted.
pub fn measure(builds: &Builds, options: &Options, outcome: &mut Outcome) -> Result<()> {
    if options.wants("oltp") || options.wants("synchronous") {
        transactions(builds, options, outcome)?;
    }
    if options.wants("replay") || options.wants("recovery") {
        logs(builds, options, outcome)?;
    }
    if options.wants("copy") {
        copies(builds, outcome)?;
    }
    if options.wants("ship") {
        shipping(builds, outcome)?;
    }
    Ok(())
}

fn loaded(root: &TempRoot) -> Server {
    let server = Server::start_new(root, Side::Ours, "oltp");
    pgbench::load_accounts(&server, SCALE);
    pgbench::load_keys(&server, root);
    server.sql("checkpoint");
    server
}

fn transactions(builds: &Builds, options: &Options, outcome: &mut Outcome) -> Result<()> {
    let mut servers = builds.both(|root| {
        let mut server = loaded(root);
        server.freeze();
        server
    });
    // Scripts are the same files for both.
    let scripts =
        [Script::upsert(builds.root(0)), Script::builtin("tpcb-like"), Script::builtin("select-only")];
    if options.wants("oltp") {
        for script in &scripts {
            outcome.compare(format!("oltp, {}", script.name), "tps", |build| {
                servers[build].turn(|server| Ok(pgbench::run(server, script, CLIENTS, options.seconds)?.tps))
            })?;
        }
    }
    if options.wants("synchronous") {
        let mut pairs = [0, 1].map(|build| synchronous::standby_of(&mut servers, build, builds.root(build)));
        for script in scripts.iter().filter(|script| script.writes) {
            outcome.compare(format!("synchronous, {}", script.name), "tps", |build| {
                let pair = pairs[build].as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                Ok(pair.turn(&mut servers, script, CLIENTS, options.seconds)?.0.tps)
            })?;
        }
    }
    Ok(())
}

/// A log that a standby catches up with, and that a crashed server recovers from.
fn logs(builds: &Builds, options: &Options, outcome: &mut Outcome) -> Result<()> {
    let [old, new] = builds.both(|root| {
        let load = Load::upserts(root, u64::from(options.seconds) * REPLAYED);
        history::write_one(root, &load, Side::Ours)
    });
    let mut histories = [old?, new?];
    let rate = |transactions: u64, wall: Duration| transactions as f64 / wall.as_secs_f64();
    if options.wants("replay") {
        outcome.compare("replay, upserts", "transactions/s", |build| {
            let history = &mut histories[build];
            let (wall, _) = replay::catch_up(builds.root(build), history)?;
            Ok(rate(history.transactions, wall))
        })?;
    }
    if options.wants("recovery") {
        for history in &mut histories {
            history.server.kill9();
        }
        outcome.compare("recovery, upserts", "transactions/s", |build| {
            let history = &histories[build];
            Ok(rate(history.transactions, replay::recover(builds.root(build), history)?.ready))
        })?;
    }
    Ok(())
}

fn copies(builds: &Builds, outcome: &mut Outcome) -> Result<()> {
    let mut servers = builds.both(|root| {
        copy::write_files(root);
        let mut server = Server::start_new(root, Side::Ours, "copy");
        server.freeze();
        server
    });
    for case in copy::CASES {
        outcome.compare(format!("copy, {}", case.name), "rows/s", |build| {
            servers[build].turn(|server| {
                let filled = copy::copy_into(server, builds.root(build), &case)?;
                Ok(f64::from(copy::ROWS) / filled.wall.as_secs_f64())
            })
        })?;
    }
    Ok(())
}

/// Receiving, sending and backing up, all from the same PostgreSQL server.
fn shipping(builds: &Builds, outcome: &mut Outcome) -> Result<()> {
    let home = TempRoot::new("bench-leader");
    let leader = Leader::with_wal(&home, SHIPPED);
    for option in [&[][..], &["--synchronous"]] {
        outcome.compare(format!("ship, receive {}", option.join(" ")).trim_end(), "MB/s", |build| {
            let root = builds.root(build);
            let receiver = Tool::ours(root, "walreceiver").args(option);
            let (tool, directory) = leader.receive_into(root, receiver, "received");
            let rate = timed(tool).rate(leader.bytes()).rate;
            std::fs::remove_dir_all(directory)?;
            Ok(rate)
        })?;
    }
    let mut senders = builds.both(|root| {
        let archive = leader.archive(root, "served");
        Walsender::start_new(root, &archive)
    });
    outcome.compare("ship, send", "MB/s", |build| {
        let sender = &mut senders[build];
        let client = Discarder::connect(sender.port(), "postgres").context("walsender")?;
        let pid = sender.process().pid();
        Ok(client.drain(leader.start, TIMELINE, leader.bytes(), pid)?.rate)
    })?;
    drop(senders);
    outcome.compare("ship, back up", "MB/s", |build| {
        let root = builds.root(build);
        let target = root.dir("backup");
        let tool = Tool::ours(root, "basebackup").args(["-d", &leader.server.conninfo(), "-c", "fast"]);
        let run = timed(tool.args(["-X", "stream", "-D"]).arg(&target));
        let rate = mb_per_s(backup::tree_size(&target)?, run.wall);
        std::fs::remove_dir_all(target)?;
        Ok(rate)
    })?;
    Ok(())
}
