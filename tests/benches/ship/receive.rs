//! Catch-up: a receiver fetching everything a leader has.

use anyhow::Result;
use walship_tests::{TempRoot, Tool, Version};

use crate::leader::Leader;
use crate::measure::{Table, timed};

/// Measures receivers writing into a directory of `root`, which lies on what `place` says.
pub fn run(leader: &Leader, root: &TempRoot, place: &str, rounds: usize) -> Result<()> {
    let mut table =
        Table::new(format!("Receiver catch-up to {place}, {} MB of WAL", leader.bytes() / 1_000_000), "MB/s");
    for _ in 0..rounds {
        for (contender, extra) in [("", &[][..]), (" --synchronous", &["--synchronous"][..])] {
            let theirs = Tool::postgres(root, Version::V15, "pg_receivewal").args(extra);
            let (tool, _) = leader.receive_into(root, theirs, "received");
            table.add(&format!("pg_receivewal{contender}"), timed(tool).rate(leader.bytes()));
            let ours = Tool::ours(root, "walreceiver").args(extra);
            let (tool, _) = leader.receive_into(root, ours, "received");
            table.add(&format!("walreceiver{contender}"), timed(tool).rate(leader.bytes()));
        }
    }
    let _ = std::fs::remove_dir_all(root.join("received"));
    table.print();
    Ok(())
}
