//! Base backups, plain and tar, and their verification.

use std::path::Path;

use anyhow::Result;
use walship_tests::{TempRoot, Tool, Version};

use crate::leader::Leader;
use crate::measure::{Table, timed};
use crate::verify;

/// Takes backups with both programs in turn, then verifies one; prints the backups' tables if `wanted`.
pub fn run(leader: &Leader, root: &TempRoot, rounds: usize, wanted: bool) -> Result<()> {
    let take = |program: Tool, format: &str| {
        let _ = std::fs::remove_dir_all(root.join("backup"));
        let tool =
            program.args(["-d", &leader.server.conninfo(), "-c", "fast", "-X", "stream", "-F", format]);
        timed(tool.arg("-D").arg(root.join("backup")))
    };
    let theirs = || Tool::postgres(root, Version::V15, "pg_basebackup");
    let ours = || Tool::ours(root, "basebackup");
    if wanted {
        take(theirs(), "p");
        let size = tree_size(&root.join("backup"))?;
        for (format, name) in [("p", "plain"), ("t", "tar")] {
            let mut table =
                Table::new(format!("Base backup, {name}, {} MB, -X stream", size / 1_000_000), "MB/s");
            for _ in 0..rounds {
                table.add("pg_basebackup", take(theirs(), format).rate(size));
                table.add("basebackup", take(ours(), format).rate(size));
            }
            table.print();
        }
    }
    take(ours(), "p");
    verify::backup(root, &root.join("backup"), tree_size(&root.join("backup"))?, rounds)?;
    std::fs::remove_dir_all(root.join("backup"))?;
    Ok(())
}

pub fn tree_size(directory: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size += if metadata.is_dir() { tree_size(&entry.path())? } else { metadata.len() };
    }
    Ok(size)
}
