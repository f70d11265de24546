//! Proving what lies there: an archive, record by record, and a base backup, file by file.

use std::path::Path;

use anyhow::Result;
use walship_tests::{TempRoot, Tool, Version};

use crate::leader::Leader;
use crate::measure::{Table, timed};

pub fn archive(leader: &Leader, root: &TempRoot, rounds: usize) -> Result<()> {
    let directory = leader.archive(root, "verified");
    let mut table = Table::new(format!("Verifying an archive of {} MB", leader.bytes() / 1_000_000), "MB/s");
    for _ in 0..rounds {
        let waldump = Tool::postgres(root, Version::V15, "pg_waldump").arg("-q").arg("-p").arg(&directory);
        let waldump = waldump.args(["-s", &leader.start.to_string(), "-e", &leader.end.to_string()]);
        table.add("pg_waldump -q", timed(waldump).rate(leader.bytes()));
        for (contender, jobs) in
            [("walreceiver verify, one core", "1"), ("walreceiver verify, two cores", "2")]
        {
            let verify =
                Tool::ours(root, "walreceiver").args(["verify", "--full", "-j", jobs, "-D"]).arg(&directory);
            table.add(contender, timed(verify).rate(leader.bytes()));
        }
    }
    let again = Tool::ours(root, "walreceiver").args(["verify", "-D"]).arg(&directory);
    table.add("walreceiver verify, second run", timed(again).rate(leader.bytes()));
    table.print();
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

pub fn backup(root: &TempRoot, directory: &Path, size: u64, rounds: usize) -> Result<()> {
    let mut table = Table::new(format!("Verifying a base backup of {} MB", size / 1_000_000), "MB/s");
    for _ in 0..rounds {
        let theirs = Tool::postgres(root, Version::V15, "pg_verifybackup").arg(directory);
        // It runs pg_waldump, which it looks for beside itself.
        table.add("pg_verifybackup", timed(theirs).rate(size));
        for (contender, jobs) in [("basebackup verify, one core", "1"), ("basebackup verify, two cores", "2")]
        {
            let ours = Tool::ours(root, "basebackup").args(["verify", "-j", jobs]).arg(directory);
            table.add(contender, timed(ours).rate(size));
        }
    }
    table.print();
    Ok(())
}
