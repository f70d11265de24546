//! Senders alone: the follower throws everything away.

use anyhow::{Context, Result};
use walship_tests::{DEADLINE, TempRoot, Tool, wait_for};

use crate::discard::Discarder;
use crate::leader::{Leader, TIMELINE};
use crate::measure::Table;

pub fn run(leader: &Leader, root: &TempRoot, rounds: usize) -> Result<()> {
    let archive = leader.archive(root, "served");
    let port_file = root.join("walsender.port");
    let mut process = Tool::ours(root, "walsender")
        .arg("-D")
        .arg(&archive)
        .args(["-p", "0", "--port-file"])
        .arg(&port_file)
        .spawn();
    let port = wait_for("walsender's port", DEADLINE, || {
        assert!(process.is_running(), "walsender ended: {}", process.stderr());
        std::fs::read_to_string(&port_file).ok()?.trim().parse::<u16>().ok()
    });
    let mut table = Table::new("Sender to a discarding client, loopback TCP", "MB/s");
    for _ in 0..rounds {
        let client = Discarder::connect(leader.server.port(), "postgres").context("the leader")?;
        let backend = client.backend_pid;
        table.add("PostgreSQL's walsender", client.drain(leader.start, TIMELINE, leader.bytes(), backend)?);
        let client = Discarder::connect(port, "postgres").context("walsender")?;
        table.add("walsender", client.drain(leader.start, TIMELINE, leader.bytes(), process.pid())?);
    }
    table.print();
    process.terminate().success();
    std::fs::remove_dir_all(archive)?;
    Ok(())
}
