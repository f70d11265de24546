//! Two builds of this project beside each other: is the new one slower?
//!
//! Run through `scripts/bench compare OLD_BIN_DIR [ROW]...`. Each row measures the old and the new programs in pairs, one right
//! after the other, the old ones first in every second pair (ABBA), with servers and directories of their own; whoever
//! waits for his turn is stopped where he is. What counts is the median of the pairs' ratios and its 95 % interval
//! (`walship_tests::paired`). The exit status is 1 if all of a row's interval is below the limit.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that goes wrong")]
#![allow(missing_docs, unreachable_pub, dead_code, reason = "a program that shares files with others")]

#[path = "../ship/backup.rs"]
mod backup;
mod builds;
#[path = "../engine/copy.rs"]
mod copy;
#[path = "../engine/cpu.rs"]
mod cpu;
#[path = "../ship/discard.rs"]
mod discard;
#[path = "../engine/history.rs"]
mod history;
#[path = "../ship/leader.rs"]
mod leader;
#[path = "../measuring/limits.rs"]
mod limits;
#[path = "../measuring/measure.rs"]
mod measure;
#[path = "../engine/oltp.rs"]
mod oltp;
mod options;
mod outcome;
#[path = "../engine/pgbench.rs"]
mod pgbench;
#[path = "../engine/plan.rs"]
mod plan;
#[path = "../engine/replay.rs"]
mod replay;
#[path = "../engine/report.rs"]
mod report;
mod rows;
#[path = "../engine/server.rs"]
mod server;
#[path = "../engine/synchronous.rs"]
mod synchronous;
#[path = "../ship/verify.rs"]
mod verify;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::builds::Builds;
use crate::options::Options;
use crate::outcome::Outcome;

fn main() -> Result<ExitCode> {
    let options = Options::of_command_line()?;
    let started = Instant::now();
    let builds = Builds::new(&options.old);
    let mut outcome = Outcome::new(&options);
    rows::measure(&builds, &options, &mut outcome)?;
    outcome.print();
    eprintln!("measured in {} minutes", started.elapsed().as_secs().div_ceil(60));
    Ok(if outcome.is_slower() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
