//! Chaos: a leader, two standbys and a witness as real processes, clients that write and readers that read, faults drawn from
//! a seed, and a checker that says whether what was seen is what the rules allow.
//!
//! | file | |
//! |---|---|
//! | `schedule` | what is done in a run, drawn from its seed alone |
//! | `history` | what happened, as data |
//! | `lineage`, `checker` | what had to be so, by the rules; without any process |
//! | `board` | who leads at the moment, shared by all threads of a run |
//! | `session`, `workload`, `readers` | the clients |
//! | `node`, `witness`, `cluster` | the processes, their directories and the links between them |
//! | `operator` | what an operator does: has a standby catch up, and promotes it |
//! | `rejoin` | the others point at the new leader; who cannot follow refuses, and is rebuilt |
//! | `episodes` | the faults |
//! | `finish` | the end: everybody who can follow has it all, pages are the same, archives verify |
//!
//! Real processes do not repeat themselves: a seed repeats what is done and in which order, not every coincidence.

pub mod checker;
pub mod history;
pub mod lineage;

pub mod board;
pub mod cluster;
mod episodes;
mod finish;
pub mod node;
mod operator;
pub mod readers;
mod rejoin;
pub mod schedule;
pub mod session;
pub mod witness;
pub mod workload;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use board::{Board, NODES};
use cluster::{BALANCE, Cluster};
use history::NodeId;
use schedule::Plan;

use crate::random::Random;
use crate::root::TempRoot;

/// Ends clients and readers, however the run ends.
struct StopAtEnd<'a>(&'a Board);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Does what that seed decides, and judges it.
///
/// # Panics
/// If anything was seen that must not be; the directory is kept if `WALSHIP_TESTS_KEEP` is set.
pub fn run(seed: u64) {
    let (plan, began) = (Plan::of(seed), Instant::now());
    print!("{plan}");
    let root = TempRoot::new(&format!("chaos-{seed}"));
    let board = Arc::new(Board::new(BALANCE));
    let mut cluster = Cluster::new(&root, &plan, &board);
    let ended = catch_unwind(AssertUnwindSafe(|| with_clients(&mut cluster)));
    let history = board.history();
    let mut found: Vec<String> = checker::check(&history).iter().map(ToString::to_string).collect();
    found.append(&mut cluster.complaints);
    found.extend(panics_in_logs(&root));
    println!(
        "seed {seed}: {} transactions acknowledged of {}, {} views, {} reigns, {:.1} s",
        board.acknowledged(),
        history.attempts.len(),
        history.views.len(),
        history.reigns.len(),
        began.elapsed().as_secs_f64()
    );
    for violation in &found {
        println!("seed {seed}: VIOLATION: {violation}");
    }
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
    assert!(found.is_empty(), "seed {seed}: {} violations:\n{}", found.len(), found.join("\n"));
}

fn with_clients(cluster: &mut Cluster) {
    let board = Arc::clone(&cluster.board);
    let Plan { seed, clients, mix, .. } = cluster.plan;
    std::thread::scope(|scope| {
        let stop = StopAtEnd(&board);
        for number in 0..clients {
            let random = Random::seeded(seed.wrapping_mul(1000) + u64::from(number));
            let client = workload::Client { number, random, mix, board: Arc::clone(&board) };
            scope.spawn(move || client.run());
        }
        for node in (0..NODES).map(NodeId) {
            let board = &board;
            scope.spawn(move || readers::run(board, node));
        }
        cluster.await_progress();
        for (number, episode) in cluster.plan.episodes.clone().into_iter().enumerate() {
            println!("  {:.1} s: {}. {episode:?}", board.now() as f64 / 1e6, number + 1);
            cluster.perform(episode);
        }
        drop(stop);
    });
    cluster.finish();
}

/// Panics that any of the processes ended by, or lived through.
fn panics_in_logs(root: &TempRoot) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("log")).unwrap().flatten();
    let logs = entries.map(|entry| entry.path());
    let text = |path: &std::path::PathBuf| {
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    };
    let panicked = logs.filter_map(|path| {
        let text = text(&path);
        let line = text.lines().find(|line| line.contains("panicked at"))?;
        Some(format!("{}: {line}", path.display()))
    });
    panicked.collect()
}
