//! Bulk COPY into a new table with a primary key, and one without.

use std::time::Instant;

use anyhow::Result;

use crate::Plan;
use crate::measure::{Sample, Table, mb_per_s};
use crate::server::Server;

const ROWS: u32 = 1_000_000;

pub fn run(servers: &[Server; 2], plan: &Plan) -> Result<()> {
    let rows: String = (1..=ROWS).map(|key| format!("{key}\t{:0100}\n", key)).collect::<Vec<_>>().concat();
    for (kind, columns) in
        [("with a primary key", "key int primary key, value text"), ("without a key", "key int, value text")]
    {
        let mut table = Table::new(format!("COPY of {ROWS} rows of 100 bytes into a table {kind}"), "MB/s");
        for _ in 0..plan.rounds {
            for server in servers {
                server.sql(&format!("create table bulk ({columns})"));
                let copy = server.psql(["-XAtq", "-c", "copy bulk from stdin"]).stdin(rows.clone());
                let (started, cpu) = (Instant::now(), server.cpu()?);
                copy.run().success();
                let rate = mb_per_s(rows.len() as u64, started.elapsed());
                table.add(server.name(), Sample { rate, cpu: Some(server.cpu()? - cpu) });
                server.sql("drop table bulk");
                server.sql("checkpoint");
            }
        }
        table.print();
    }
    Ok(())
}
