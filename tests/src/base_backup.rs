//! Base backups: the load they are taken under, unpacking archives, and what makes a directory a good backup.

use std::path::{Path, PathBuf};

use wal::Lsn;

use crate::postgres::Postgres;
use crate::process::{Finished, Process};
use crate::root::TempRoot;
use crate::server::Shutdown;
use crate::tool::Tool;
use crate::version::Version;
use crate::wait::wait_until;

/// `basebackup` of that server into that directory, after an immediate checkpoint, to be given more options or started.
#[track_caller]
pub fn basebackup(server: &Postgres, directory: &Path) -> Tool {
    let tool = Tool::ours(server.root(), "basebackup").arg("-D").arg(directory);
    tool.args(["-c", "fast", "-d", &server.conninfo()])
}

/// `pg_basebackup` with the same options.
#[track_caller]
pub fn pg_basebackup(server: &Postgres, directory: &Path) -> Tool {
    let tool = Tool::postgres(server.root(), server.version(), "pg_basebackup").arg("-D").arg(directory);
    tool.args(["-c", "fast", "-d", &server.conninfo()])
}

/// `basebackup verify` of that directory, to be given more options or started.
#[track_caller]
pub fn verify(root: &TempRoot, directory: &Path) -> Tool {
    Tool::ours(root, "basebackup").arg("verify").arg(directory)
}

/// `pg_verifybackup` of that directory; `None` if the version came without it.
#[track_caller]
pub fn pg_verifybackup(root: &TempRoot, version: Version, directory: &Path) -> Option<Tool> {
    version.find_program("pg_verifybackup")?;
    Some(Tool::postgres(root, version, "pg_verifybackup").arg(directory))
}

/// Insists that a data directory is a backup that both verifiers accept, given those options.
#[track_caller]
pub fn assert_verifies(root: &TempRoot, version: Version, directory: &Path, options: &[&str]) {
    let ours = verify(root, directory).args(options).succeed();
    assert_eq!(ours, "backup successfully verified\n");
    if let Some(theirs) = pg_verifybackup(root, version, directory) {
        theirs.args(options).run().success();
    }
}

/// The WAL that a backup's manifest says it needs.
#[track_caller]
pub fn wal_range(directory: &Path) -> (Lsn, Lsn) {
    let manifest = std::fs::read(directory.join("backup_manifest")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let lsn = |name: &str| manifest["WAL-Ranges"][0][name].as_str().unwrap().parse().unwrap();
    (lsn("Start-LSN"), lsn("End-LSN"))
}

/// pgbench on a server until it is dropped, without a pause.
pub struct Load<'a> {
    server: &'a Postgres,
    process: Process,
}

impl<'a> Load<'a> {
    /// Fills pgbench's tables and starts its transactions; gives the load once some are committed.
    #[track_caller]
    pub fn start(server: &'a Postgres) -> Self {
        server.pgbench(["-i", "-q", "-s", "1"]);
        let process = server.pgbench_tool(["-n", "-c", "2", "-R", "300", "-T", "3600"]).spawn();
        let load = Self { server, process };
        wait_until("transactions to be committed", || load.committed() > 0);
        load
    }

    /// How many transactions are committed.
    #[track_caller]
    pub fn committed(&self) -> u64 {
        count_transactions(self.server)
    }

    /// Runs a backup to its successful end, and insists that transactions were committed meanwhile. Gives how many
    /// there were before, which the backup has to have all of, and what the program said.
    #[track_caller]
    pub fn during(&self, backup: Tool) -> (u64, Finished) {
        let before = self.committed();
        let finished = backup.run().success();
        wait_until("transactions to be committed during the backup", || self.committed() > before);
        (before, finished)
    }

    /// Ends it, and insists that it has run until now.
    #[track_caller]
    pub fn stop(mut self) {
        assert!(self.process.is_running(), "pgbench has ended: {}", self.process.stderr());
        self.process.interrupt();
    }
}

#[track_caller]
fn count_transactions(server: &Postgres) -> u64 {
    server.sql("select count(*) from pgbench_history").parse().unwrap()
}

/// Insists that a running server has whole transactions of pgbench alone, and at least so many, in tables and indexes
/// that can be read from end to end.
#[track_caller]
pub fn assert_consistent(server: &Postgres, transactions: u64) {
    let sums = server.sql(
        "select count(*), sum(abalance) - (select sum(delta) from pgbench_history),
            sum(abalance) - (select sum(tbalance) from pgbench_tellers),
            sum(abalance) - (select sum(bbalance) from pgbench_branches) from pgbench_accounts",
    );
    assert_eq!(sums, "100000|0|0|0");
    let by_index = "set enable_seqscan = off; set enable_bitmapscan = off;
        select count(*) from pgbench_accounts where aid > 0";
    assert_eq!(server.sql(by_index), "100000");
    let found = count_transactions(server);
    assert!(found >= transactions, "{found} transactions of at least {transactions}");
}

/// Starts a server from a backup, insists on [`assert_consistent`], stops it, and removes the backup.
#[track_caller]
pub fn assert_starts(leader: &Postgres, directory: &Path, transactions: u64) {
    let mut server = Postgres::in_directory(leader.root(), "restored", leader.version(), directory);
    server.start();
    assert_consistent(&server, transactions);
    server.stop(Shutdown::Immediate);
    drop(server);
    std::fs::remove_dir_all(directory).unwrap();
}

/// Unpacks a backup's archives, compressed or not, with the system's tar into a new data directory. A tablespace's goes
/// to directory `NAME-OID` beside it.
#[track_caller]
pub fn unpack(root: &TempRoot, archives: &Path, name: &str) -> PathBuf {
    let data = root.dir(name);
    let mut names: Vec<_> = std::fs::read_dir(archives)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "backup_manifest")
        .collect();
    // The main archive first: it makes the directories that the others go into.
    names.sort_by_key(|name| !name.starts_with("base.tar"));
    for file in names {
        let target = match file.split('.').next().unwrap() {
            "base" => data.clone(),
            "pg_wal" => data.join("pg_wal"),
            oid => {
                let place = root.dir(format!("{name}-{oid}"));
                std::os::unix::fs::symlink(&place, data.join("pg_tblspc").join(oid)).unwrap();
                place
            }
        };
        let filter: &[&str] = match file.rsplit('.').next().unwrap() {
            "gz" => &["-I", "gzip"],
            "lz4" => &["-I", "lz4"],
            "zst" => &["-I", "zstd"],
            _ => &[],
        };
        let tar = Tool::new(root, "tar", "tar").args(filter).arg("-xf").arg(archives.join(&file));
        tar.arg("-C").arg(target).succeed();
    }
    let manifest = archives.join("backup_manifest");
    if manifest.exists() {
        root.file(data.join("backup_manifest"), std::fs::read(manifest).unwrap());
    }
    data
}
