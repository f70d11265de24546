//! How fast walwriter is beside PostgreSQL 15: the same pgbench, the same settings, in turns in the same minutes.
//!
//! Run through `scripts/bench engine [SECTION]...`. The tables give medians over the rounds and ratios to PostgreSQL's.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that goes wrong")]
#![allow(missing_docs, unreachable_pub, dead_code, reason = "a program that shares files with another")]

mod copy;
#[path = "../measuring/limits.rs"]
mod limits;
#[path = "../measuring/measure.rs"]
mod measure;
mod oltp;
mod recovery;
mod server;

use anyhow::{Result, bail};
use walship_tests::TempRoot;

use crate::measure::Table;
use crate::server::Server;

const SECTIONS: [&str; 4] = ["limits", "oltp", "copy", "recovery"];

/// What was asked for on the command line.
pub struct Plan {
    sections: Vec<String>,
    pub rounds: usize,
    /// How long each pgbench runs.
    pub seconds: u32,
    /// pgbench's scale.
    pub scale: u32,
    pub clients: Vec<u32>,
}

fn plan() -> Result<Plan> {
    let clients = vec![1, 8, 32, 64];
    let mut plan = Plan { sections: Vec::new(), rounds: 5, seconds: 5, scale: 64, clients };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| anyhow::anyhow!("{arg} needs a value"));
        match arg.as_str() {
            "--rounds" => plan.rounds = value()?.parse()?,
            "--seconds" => plan.seconds = value()?.parse()?,
            "--scale" => plan.scale = value()?.parse()?,
            "--clients" => {
                plan.clients = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            section if SECTIONS.contains(&section) => plan.sections.push(arg),
            _ => bail!(
                "what is {arg}? Sections: {}; options: --rounds N, --seconds N, --scale N, --clients N,N",
                SECTIONS.join(" ")
            ),
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
    let root = TempRoot::new("bench-engine");
    if wants("limits") {
        let mut syncs = Table::new("How often the machine can make a block durable", "fdatasync/s");
        for _ in 0..plan.rounds {
            syncs.add("limit: 8 KiB overwrite and fdatasync", limits::fdatasync(root.path())?);
        }
        syncs.print();
    }
    if plan.sections.iter().all(|section| section == "limits") {
        return Ok(());
    }
    let mut servers = [Server::postgres(&root), Server::walwriter(&root)];
    if wants("copy") {
        copy::run(&servers, &plan)?;
    }
    if wants("oltp") {
        oltp::run(&servers, &root, &plan)?;
    }
    if wants("recovery") {
        recovery::run(&mut servers, &root, &plan)?;
    }
    Ok(())
}
