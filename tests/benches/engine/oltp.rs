//! Transactions: pgbench's scripts and a single-row upsert, at several numbers of clients, with prepared statements.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use walship_tests::TempRoot;

use crate::Plan;
use crate::measure::median;
use crate::server::Server;

/// Rows of the table that is upserted into.
const KEYS: u32 = 1_000_000;

struct Script {
    name: &'static str,
    arguments: Vec<String>,
}

/// What one run of pgbench came to.
#[derive(Default)]
struct Runs {
    tps: Vec<f64>,
    server_us: Vec<f64>,
    wal_bytes: Vec<f64>,
}

pub fn run(servers: &[Server; 2], root: &TempRoot, plan: &Plan) -> Result<()> {
    for server in servers {
        server.pgbench(["-i", "-q", "-s", &plan.scale.to_string()]);
        server.sql("create table kv (key int primary key, value text)");
        let copy = server.psql(["-XAtq", "-c", "copy kv from stdin"]);
        let rows: String =
            (1..=KEYS).map(|key| format!("{key}\t{}\n", "x".repeat(100))).collect::<Vec<_>>().concat();
        copy.stdin(rows).run().success();
        server.sql("checkpoint");
    }
    let upsert = root.file(
        "upsert.sql",
        format!(
            "\\set key random(1, {KEYS})\n\
             \\set version random(100000000, 999999999)\n\
             insert into kv values (:key, repeat('y', 91) || :version) on conflict (key) do update set value = excluded.value;\n"
        ),
    );
    for script in scripts(upsert) {
        println!("\n### {}, prepared\n", script.name);
        println!(
            "| clients | contender | tps | min-max | ratio | server us/txn | ratio | WAL bytes/txn | ratio |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for &clients in &plan.clients {
            compare(servers, &script, clients, plan)?;
        }
    }
    Ok(())
}

fn scripts(upsert: PathBuf) -> Vec<Script> {
    let builtin = |name| Script { name, arguments: vec!["-b".to_owned(), name.to_owned()] };
    let upsert = vec!["-f".to_owned(), upsert.display().to_string()];
    vec![
        Script { name: "upsert", arguments: upsert },
        builtin("simple-update"),
        builtin("tpcb-like"),
        builtin("select-only"),
    ]
}

fn compare(servers: &[Server; 2], script: &Script, clients: u32, plan: &Plan) -> Result<()> {
    let mut results: BTreeMap<&str, Runs> = BTreeMap::new();
    for _ in 0..plan.rounds {
        for server in servers {
            let runs = results.entry(server.name()).or_default();
            server.sql("checkpoint");
            let (cpu, lsn) = (server.cpu()?, server.insert_lsn());
            let (clients, seconds) = (clients.to_string(), plan.seconds.to_string());
            let fixed = ["-n", "-M", "prepared", "-j", "2", "-c", &clients, "-T", &seconds];
            let arguments = fixed.into_iter().chain(script.arguments.iter().map(String::as_str));
            let printed = server.pgbench(arguments).stdout;
            let number = |prefix: &str| -> Result<f64> {
                let line = printed.lines().find_map(|line| line.strip_prefix(prefix));
                let word = line.and_then(|rest| rest.split([' ', '/']).next());
                word.and_then(|word| word.parse().ok())
                    .with_context(|| format!("no \"{prefix}\" in {printed}"))
            };
            let transactions = number("number of transactions actually processed: ")?;
            runs.tps.push(number("tps = ")?);
            runs.server_us.push((server.cpu()? - cpu) * 1e6 / transactions);
            runs.wal_bytes.push(server.insert_lsn().bytes_since(lsn) as f64 / transactions);
            eprintln!("    {} {clients} {}: {:.0} tps", script.name, server.name(), runs.tps.last().unwrap());
        }
    }
    let base = &results[servers[0].name()];
    let (tps, cpu, wal) = (median(&base.tps), median(&base.server_us), median(&base.wal_bytes));
    for server in servers {
        let runs = &results[server.name()];
        let low = runs.tps.iter().copied().fold(f64::INFINITY, f64::min);
        let high = runs.tps.iter().copied().fold(0.0, f64::max);
        println!(
            "| {clients} | {} | {:.0} | {low:.0}-{high:.0} | {:.2} | {:.1} | {:.2} | {:.0} | {:.2} |",
            server.name(),
            median(&runs.tps),
            median(&runs.tps) / tps,
            median(&runs.server_us),
            median(&runs.server_us) / cpu,
            median(&runs.wal_bytes),
            median(&runs.wal_bytes) / wal.max(1.0),
        );
    }
    Ok(())
}
