//! How fast WAL and base backups travel, beside PostgreSQL's own tools on the same leader in the same minutes.
//!
//! Run through `scripts/bench ship [SECTION]...`. Contenders take turns in each round; the tables give medians, and
//! ratios to the first contender, which is PostgreSQL's.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that goes wrong")]
#![allow(missing_docs, unreachable_pub, reason = "a program, not a library")]

mod backup;
mod commit;
mod discard;
mod leader;
#[path = "../measuring/limits.rs"]
mod limits;
#[path = "../measuring/measure.rs"]
mod measure;
mod receive;
mod send;
mod verify;

use std::path::Path;

use anyhow::{Result, bail};
use walship_tests::TempRoot;

use crate::leader::Leader;
use crate::measure::Table;

const SECTIONS: [&str; 6] = ["limits", "receive", "send", "backup", "verify", "commit"];

/// What was asked for on the command line.
struct Plan {
    sections: Vec<String>,
    rounds: usize,
    wal_mib: u64,
}

fn plan() -> Result<Plan> {
    let mut plan = Plan { sections: Vec::new(), rounds: 5, wal_mib: 2048 };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<u64>().ok()).ok_or(arg.clone());
        match arg.as_str() {
            "--rounds" => plan.rounds = number().map_err(anyhow::Error::msg)? as usize,
            "--wal-mib" => plan.wal_mib = number().map_err(anyhow::Error::msg)?,
            section if SECTIONS.contains(&section) => plan.sections.push(arg),
            _ => bail!("what is {arg}? Sections: {}; options: --rounds N, --wal-mib N", SECTIONS.join(" ")),
        }
    }
    if plan.sections.is_empty() {
        plan.sections = SECTIONS.map(str::to_owned).to_vec();
    }
    Ok(plan)
}

fn main() -> Result<()> {
    let plan = plan()?;
    let wants = |section: &str| plan.sections.iter().any(|wanted| wanted == section);
    let root = TempRoot::new("bench");
    let memory = TempRoot::below(Path::new("/dev/shm"), "bench");
    if wants("limits") {
        physical_limits(&root, plan.rounds)?;
    }
    if plan.sections.iter().all(|section| section == "limits") {
        return Ok(());
    }
    let leader = Leader::with_wal(&root, plan.wal_mib);
    if wants("receive") {
        receive::run(&leader, &root, "disk", plan.rounds)?;
        receive::run(&leader, &memory, "tmpfs", plan.rounds)?;
    }
    if wants("send") {
        send::run(&leader, &root, plan.rounds)?;
    }
    if wants("verify") {
        verify::archive(&leader, &root, plan.rounds)?;
    }
    if wants("backup") || wants("verify") {
        backup::run(&leader, &root, plan.rounds, wants("backup"))?;
    }
    if wants("commit") {
        commit::run(&root, plan.rounds)?;
    }
    Ok(())
}

fn physical_limits(root: &TempRoot, rounds: usize) -> Result<()> {
    let mut rates = Table::new("What the machine can do", "MB/s");
    let mut syncs = Table::new("How often it can make a block durable", "fdatasync/s");
    for _ in 0..rounds {
        rates.add(
            "limit: sequential write, fdatasync every 16 MiB",
            limits::sequential_write(root.path(), 1 << 30)?,
        );
        rates.add("limit: loopback stream, 128 KiB writes", limits::loopback_stream(4 << 30)?);
        syncs.add("limit: 8 KiB overwrite and fdatasync", limits::fdatasync(root.path())?);
    }
    rates.print();
    syncs.print();
    Ok(())
}
