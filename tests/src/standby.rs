//! Standbys and other copies of a running leader, made with PostgreSQL's own pg_basebackup.

use crate::postgres::Postgres;
use crate::tool::Tool;
use crate::wait::{DEADLINE, wait_until};
use wal::Lsn;

impl Postgres {
    /// A base backup of this server in directory `name` of the root, with the WAL it needs, as a server not yet started.
    #[track_caller]
    pub fn clone_with_pg_basebackup(&self, name: &str) -> Self {
        let data = self.root().dir(name);
        let tool = Tool::postgres(self.root(), self.version(), "pg_basebackup").arg("-D").arg(&data);
        tool.args(["-X", "stream", "-c", "fast", "--no-sync", "-d", &self.conninfo()])
            .run_within(DEADLINE * 5)
            .success();
        Self::in_directory(self.root(), name, self.version(), &data)
    }

    /// Makes this (stopped) server a standby that streams from `primary_conninfo`.
    #[track_caller]
    pub fn follow(&self, primary_conninfo: &str) {
        self.configure("primary_conninfo", primary_conninfo);
        self.append("standby.signal", "");
    }

    /// Waits until a standby has replayed everything up to `lsn`.
    #[track_caller]
    pub fn wait_for_replay(&self, lsn: Lsn) {
        wait_until(&format!("replay of {lsn}"), || {
            self.sql("select coalesce(pg_last_wal_replay_lsn(), '0/0')")
                .parse::<Lsn>()
                .is_ok_and(|replayed| replayed >= lsn)
        });
    }
}
