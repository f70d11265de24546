//! Failover: the leader is killed under load, its standby promoted at once. How long it takes from the call of `promote` to
//! the first write that is accepted.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use walship_tests::TempRoot;

use crate::pgbench;
use crate::plan::Plan;
use crate::report::{Aim, Comparison, Side};
use crate::server::Server;
use crate::session::Session;

/// Promotions a round: of ours so many that five rounds are a hundred.
const OURS: usize = 20;
const THEIRS: usize = 4;
/// What ours are not to exceed, in milliseconds.
const LIMIT: f64 = 50.0;

pub fn run(root: &TempRoot, plan: &Plan) -> Result<()> {
    let mut leaders = Server::pair(root, "failing");
    let mut backups = Vec::new();
    for leader in &mut leaders {
        backups.push(leader.turn(|leader| {
            pgbench::load_accounts(leader, 1);
            leader.sql("create table promoted (n int)");
            Ok(leader.back_up(root, &format!("failing-backup {}", leader.name())))
        })?);
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..plan.rounds {
        for ((leader, backup), times) in leaders.iter_mut().zip(&backups).zip(&mut times) {
            let count = if leader.side() == Side::Ours { OURS } else { THEIRS };
            leader.resume();
            for _ in 0..count {
                let time = fail_over(leader, backup, root)?.as_secs_f64() * 1e3;
                eprintln!("    promotion {}: {time:.1} ms", leader.name());
                times.push(time);
            }
            leader.freeze();
        }
    }
    let title = format!("Promotion: {} of PostgreSQL, {} of walwriter", times[0].len(), times[1].len());
    let mut table = Comparison::new(title);
    for (leader, times) in leaders.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        for (what, share) in [("median", 0.5), ("99th percentile", 0.99), ("longest", 1.0)] {
            let value = times[((times.len() - 1) as f64 * share).round() as usize];
            table.add(
                leader.side(),
                &format!("promote to first write, ms, {what}"),
                Aim::Below(LIMIT),
                value,
            );
        }
    }
    table.print();
    let late = times[1].iter().filter(|&&time| time >= LIMIT).count();
    println!("\n{late} of walwriter's took {LIMIT} ms or longer.");
    Ok(())
}

/// Kills `leader` under load and promotes a standby of it, made of `backup`; then the leader is as before, and the standby gone.
fn fail_over(leader: &mut Server, backup: &Server, root: &TempRoot) -> Result<Duration> {
    let name = format!("promoted {}", leader.name());
    let directory = root.copy_dir(backup.data(), &name);
    let mut standby = leader.in_directory(root, &name, &directory);
    standby.follow(leader, "standby");
    standby.start();
    // At a rate that a standby keeps up with, so that what is measured is not replay.
    let load =
        leader.pgbench_tool(["-n", "-N", "-M", "prepared", "-c", "4", "-R", "2000", "-T", "600"]).spawn();
    standby.wait_for_replay(leader.flush_lsn());
    let mut session = Session::connect(&standby.socket())?;
    let write = "insert into promoted values (1)";
    let refused = session.execute(write)?;
    ensure!(refused.as_deref() == Some("25006"), "a standby answered a write with {refused:?}");
    leader.kill9();
    let promotes = standby.promote_tool(root);
    let started = Instant::now();
    let promotes = promotes.spawn();
    while session.execute(write)?.is_some() {
        thread::sleep(Duration::from_micros(200));
    }
    let time = started.elapsed();
    promotes.wait().success();
    // Its leader is gone, and so it ends by itself.
    load.wait();
    drop(session);
    standby.kill9();
    std::fs::remove_dir_all(&directory)?;
    leader.start();
    Ok(time)
}
