//! How fast walwriter is beside PostgreSQL 15: the same pgbench, the same settings, in turns in the same minutes.
//!
//! Run through `scripts/bench engine [SECTION]...`. The tables give medians over the rounds, what they lie between, and the
//! ratio to PostgreSQL's beside what the project aims at. Servers that wait for their turn are stopped where they are.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that goes wrong")]
#![allow(missing_docs, unreachable_pub, dead_code, reason = "a program that shares files with another")]

mod copy;
mod cpu;
mod history;
#[path = "../measuring/limits.rs"]
mod limits;
#[path = "../measuring/measure.rs"]
mod measure;
mod oltp;
mod pgbench;
mod plan;
mod promotion;
mod replay;
mod report;
mod server;
mod session;
mod synchronous;

use std::time::Instant;

use anyhow::Result;
use walship_tests::TempRoot;

use crate::measure::Table;
use crate::plan::Plan;

fn main() -> Result<()> {
    let plan = Plan::of_command_line()?;
    let started = Instant::now();
    if plan.wants("limits") {
        limits(&plan)?;
    }
    if plan.wants("oltp") || plan.wants("synchronous") {
        let root = TempRoot::new("bench-oltp");
        let mut servers = oltp::loaded_pair(&root, &plan)?;
        if plan.wants("oltp") {
            oltp::run(&mut servers, &root, &plan)?;
        }
        if plan.wants("synchronous") {
            synchronous::run(&mut servers, &root, &plan)?;
        }
    }
    if plan.wants("recovery") || plan.wants("replay") {
        replay::run(&TempRoot::new("bench-replay"), &plan)?;
    }
    if plan.wants("promotion") {
        promotion::run(&TempRoot::new("bench-promotion"), &plan)?;
    }
    if plan.wants("copy") {
        copy::run(&TempRoot::new("bench-copy"), &plan)?;
    }
    println!("\nMeasured in {} minutes.", started.elapsed().as_secs().div_ceil(60));
    Ok(())
}

fn limits(plan: &Plan) -> Result<()> {
    let root = TempRoot::new("bench-limits");
    let mut writes = Table::new("What the machine can write", "MB/s");
    let mut syncs = Table::new("How often it can make a block durable", "fdatasync/s");
    for _ in 0..plan.rounds {
        writes.add(
            "limit: sequential write, fdatasync every 16 MiB",
            limits::sequential_write(root.path(), 1 << 30)?,
        );
        syncs.add("limit: 8 KiB overwrite and fdatasync", limits::fdatasync(root.path())?);
    }
    writes.print();
    syncs.print();
    Ok(())
}
