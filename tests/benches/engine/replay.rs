//! How fast a log is replayed: by a standby that catches up with its leader, and after a crash.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use walship_tests::{TempRoot, wait_for};

use crate::history::{self, History};
use crate::measure::mb_per_s;
use crate::plan::Plan;
use crate::report::{Aim, Comparison};
use crate::server::Server;

pub fn run(root: &TempRoot, plan: &Plan) -> Result<()> {
    for load in history::loads(root, plan) {
        let mut histories = history::write(root, &load)?;
        if plan.wants("replay") {
            let mut table = Comparison::new(format!("A standby catches up, {}", load.name));
            for _ in 0..plan.rounds {
                for history in &mut histories {
                    let (wall, cpu) = catch_up(root, history)?;
                    add(&mut table, history, "", wall);
                    add_cpu(&mut table, history, cpu);
                }
            }
            table.print();
            describe(&histories);
        }
        if plan.wants("recovery") {
            let mut table = Comparison::new(format!("Recovery after a crash, {}", load.name));
            for history in &mut histories {
                history.server.kill9();
            }
            for _ in 0..plan.rounds {
                for history in &histories {
                    let recovery = recover(root, history)?;
                    add(&mut table, history, ", start to ready", recovery.ready);
                    add(&mut table, history, ", redo alone", recovery.redo);
                    add_cpu(&mut table, history, recovery.cpu);
                }
            }
            table.print();
            describe(&histories);
        }
    }
    Ok(())
}

fn add(table: &mut Comparison, history: &History, what: &str, wall: Duration) {
    let (side, seconds) = (history.server.side(), wall.as_secs_f64());
    let rate = history.transactions as f64 / seconds;
    table.add(side, &format!("transactions/s{what}"), Aim::AtLeast(4.0), rate);
    table.add(side, &format!("MB/s of WAL{what}"), Aim::Nothing, mb_per_s(history.bytes, wall));
}

fn add_cpu(table: &mut Comparison, history: &History, seconds: f64) {
    let cpu = seconds * 1e6 / history.transactions as f64;
    table.add(history.server.side(), "CPU, us a transaction", Aim::AtMost(0.33), cpu);
}

/// Says what both had to replay: the same transactions, which are not as many bytes for one as for the other.
fn describe(histories: &[History; 2]) {
    let [theirs, ours] = histories;
    let mb = |history: &History| history.bytes as f64 / 1e6;
    println!(
        "\n{} transactions: {:.0} MB of WAL for PostgreSQL, {:.0} MB for walwriter.",
        ours.transactions,
        mb(theirs),
        mb(ours)
    );
}

/// A standby made of the backup streams all that its leader has written since: the time from its start until it is replayed,
/// and the CPU time that it took.
pub fn catch_up(root: &TempRoot, history: &mut History) -> Result<(Duration, f64)> {
    let History { server, backup, end, .. } = history;
    server.turn(|leader| {
        let mut standby = copy_of(root, backup, leader);
        standby.follow(leader, "standby");
        let started = Instant::now();
        standby.start();
        standby.wait_for_replay(*end);
        let wall = started.elapsed();
        eprintln!("    replay {}: {:.2} s", leader.name(), wall.as_secs_f64());
        let cpu = standby.cpu()?;
        standby.kill9();
        discard(&standby)?;
        Ok((wall, cpu))
    })
}

/// How a crashed server came back.
pub struct Recovery {
    /// Until it took connections.
    pub ready: Duration,
    /// What redo took of that, by its own account.
    pub redo: Duration,
    /// CPU seconds until it was ready.
    pub cpu: f64,
}

/// Starts a copy of the crashed server.
pub fn recover(root: &TempRoot, history: &History) -> Result<Recovery> {
    let mut crashed = copy_of(root, &history.server, &history.server);
    let started = Instant::now();
    crashed.start();
    let ready = started.elapsed();
    let cpu = crashed.cpu()?;
    eprintln!("    recovery {}: {:.2} s", crashed.name(), ready.as_secs_f64());
    let redo = wait_for("the log to tell of redo", walship_tests::DEADLINE, || {
        let log = crashed.log();
        let done = log.lines().find(|line| line.contains("redo done at"))?.to_owned();
        let elapsed =
            done.split("elapsed: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
        Some(elapsed.with_context(|| format!("no time in \"{done}\"")))
    })?;
    crashed.kill9();
    discard(&crashed)?;
    // The clock of the log ticks in hundredths of a second.
    let redo = Duration::from_secs_f64(redo.max(0.005));
    Ok(Recovery { ready, redo, cpu })
}

/// A copy of the stopped server `original` that is durable, so that nothing of the copying is left to be done while it is used.
fn copy_of(root: &TempRoot, original: &Server, kind: &Server) -> Server {
    let name = format!("replaying {}", kind.name());
    let directory = root.copy_dir(original.data(), &name);
    rustix::fs::sync();
    kind.in_directory(root, &name, &directory)
}

fn discard(server: &Server) -> Result<()> {
    Ok(std::fs::remove_dir_all(server.data())?)
}
