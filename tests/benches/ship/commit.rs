//! What a synchronous receiver costs a commit: pgbench's rate with each kind of witness.

use anyhow::{Context, Result};
use walship_tests::{Options, Postgres, Process, TempRoot, Tool, Version, wait_until};

use crate::measure::{Sample, Table};

const UPSERT: &str = "\\set key random(1, 1000000)\n\
    insert into kv values (:key, repeat('x', 100)) on conflict (key) do update set value = excluded.value;\n";

pub fn run(root: &TempRoot, rounds: usize) -> Result<()> {
    let options = Options::default()
        .setting("fsync", "on")
        .setting("shared_buffers", "1GB")
        .setting("max_wal_size", "8GB")
        .setting("max_connections", "120");
    let server = Postgres::start_new(root, "commit-leader", Version::V15, options);
    server.sql("create table kv (key int primary key, value text)");
    server.sql("insert into kv select n, repeat('x', 100) from generate_series(1, 1000000) n");
    let script = root.file("upsert.sql", UPSERT);
    for clients in ["1", "8", "32"] {
        let mut table =
            Table::new(format!("Synchronous commits, {clients} clients, single-row upsert"), "tps");
        for _ in 0..rounds {
            for contender in ["pg_receivewal --synchronous", "walreceiver --synchronous", "no witness"] {
                let witness = start_witness(&server, root, contender);
                let finished = server.pgbench(
                    ["-n", "-M", "prepared", "-T", "4", "-j", "1", "-c", clients, "-f"]
                        .iter()
                        .map(std::ffi::OsStr::new)
                        .chain([script.as_os_str()]),
                );
                let tps = finished.stdout.lines().find_map(|line| line.strip_prefix("tps = "));
                let tps = tps.and_then(|rest| rest.split(' ').next()).context("pgbench printed no tps")?;
                table.add(contender, Sample { rate: tps.parse()?, cpu: None });
                server.sql("alter system set synchronous_standby_names = ''");
                server.reload();
                drop(witness);
            }
        }
        table.print();
    }
    Ok(())
}

/// Starts a receiver and makes commits wait for it; returns when they do.
fn start_witness(server: &Postgres, root: &TempRoot, contender: &str) -> Option<Process> {
    server.sql("checkpoint");
    let program = match contender {
        "no witness" => return None,
        "pg_receivewal --synchronous" => Tool::postgres(root, Version::V15, "pg_receivewal"),
        _ => Tool::ours(root, "walreceiver"),
    };
    let _ = std::fs::remove_dir_all(root.join("witness"));
    let directory = root.dir("witness");
    let conninfo = format!("{} application_name=w", server.conninfo());
    let witness = program.args(["--synchronous", "-d", &conninfo, "-D"]).arg(directory).spawn();
    server.sql("alter system set synchronous_standby_names = 'ANY 1 (w)'");
    server.reload();
    wait_until("the witness to count", || {
        server.sql(
            "select count(*) from pg_stat_replication where application_name = 'w' and sync_state = 'quorum'",
        ) == "1"
    });
    Some(witness)
}
