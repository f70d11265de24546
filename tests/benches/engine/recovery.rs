//! Crash recovery: how fast the WAL of upserts is replayed after a kill, from the start of the process to its readiness.

use std::time::Instant;

use anyhow::Result;
use walship_tests::TempRoot;

use crate::Plan;
use crate::measure::{Sample, Table, mb_per_s};
use crate::server::Server;

pub fn run(servers: &mut [Server; 2], root: &TempRoot, plan: &Plan) -> Result<()> {
    let script = root.file(
        "recovery.sql",
        "\\set key random(1, 1000000)\n\
         \\set version random(100000000, 999999999)\n\
         insert into recovered values (:key, repeat('z', 91) || :version) on conflict (key) do update set value = excluded.value;\n",
    );
    let mut bytes = Table::new("Crash recovery of upserts", "MB/s of WAL");
    let mut transactions = Table::new("Crash recovery of upserts", "transactions/s");
    for server in servers.iter() {
        server.sql("create table if not exists recovered (key int primary key, value text)");
    }
    for _ in 0..plan.rounds.min(3) {
        for server in servers.iter_mut() {
            server.sql("checkpoint");
            let from = server.insert_lsn();
            let count = (u64::from(plan.seconds) * 20_000).to_string();
            let script = script.display().to_string();
            server.pgbench(["-n", "-M", "prepared", "-j", "2", "-c", "8", "-t", &count, "-f", &script]);
            let wal = server.insert_lsn().bytes_since(from);
            server.kill9();
            let started = Instant::now();
            server.start();
            let wall = started.elapsed();
            bytes.add(server.name(), Sample { rate: mb_per_s(wal, wall), cpu: None });
            let rate = 8.0 * count.parse::<f64>()? / wall.as_secs_f64();
            transactions.add(server.name(), Sample { rate, cpu: None });
        }
    }
    bytes.print();
    transactions.print();
    Ok(())
}
