//! Transactions: pgbench's scripts and a single-row upsert, at several numbers of clients, with prepared statements.

use anyhow::Result;
use walship_tests::TempRoot;

use crate::limits;
use crate::pgbench::{self, Run, Script};
use crate::plan::Plan;
use crate::report::{Aim, Comparison, Side};
use crate::server::Server;

/// Two servers with the tables that the scripts are for.
pub fn loaded_pair(root: &TempRoot, plan: &Plan) -> Result<[Server; 2]> {
    let mut servers = Server::pair(root, "oltp");
    for server in &mut servers {
        eprintln!("loading {}", server.name());
        server.turn(|server| {
            pgbench::load_accounts(server, plan.scale);
            pgbench::load_keys(server, root);
            server.sql("checkpoint");
            Ok(())
        })?;
    }
    Ok(servers)
}

pub fn run(servers: &mut [Server; 2], root: &TempRoot, plan: &Plan) -> Result<()> {
    println!(
        "\nA checkpoint before each run of {} s, so full-page images are much of what is logged.",
        plan.seconds
    );
    let scripts = [
        Script::upsert(root),
        Script::builtin("simple-update"),
        Script::builtin("tpcb-like"),
        Script::builtin("select-only"),
    ];
    for script in scripts {
        // Files and memory are as they will be in the rounds.
        for server in servers.iter_mut() {
            let clients = plan.clients.iter().copied().max().unwrap_or(1);
            server.turn(|server| pgbench::run(server, &script, clients, plan.seconds))?;
        }
        let mut table = Comparison::new(format!("{}, prepared", script.name));
        let mut floor = Vec::new();
        for &clients in &plan.clients {
            for _ in 0..plan.rounds {
                floor.push(limits::fdatasync(root.path())?.rate);
                for server in servers.iter_mut() {
                    let run = server.turn(|server| pgbench::run(server, &script, clients, plan.seconds))?;
                    add(&mut table, server.side(), &script, clients, "", &run);
                }
            }
        }
        table.print();
        print_floor(&floor);
    }
    Ok(())
}

/// Adds the rows of one run; `label` tells apart those with the same number of clients.
pub fn add(table: &mut Comparison, side: Side, script: &Script, clients: u32, label: &str, run: &Run) {
    let mut row = |what: &str, aim: Aim, value: f64| {
        table.add(side, &format!("{clients} clients{label}, {what}"), aim, value);
    };
    row("transactions/s", script.aim(clients), run.tps);
    row("server CPU, us a transaction", Aim::AtMost(0.33), run.cpu);
    if script.writes {
        row("WAL, bytes a transaction", Aim::AtMost(0.5), run.wal);
    }
}

/// Prints how often the machine could make a block durable in the same minutes.
pub fn print_floor(rates: &[f64]) {
    let low = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let high = rates.iter().copied().fold(0.0, f64::max);
    let median = crate::measure::median(rates);
    println!(
        "\nThe disk meanwhile: {median:.0} ({low:.0}-{high:.0}) overwrites of 8 KiB with fdatasync a second."
    );
}
