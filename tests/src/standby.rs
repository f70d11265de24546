//! Standbys and other copies of a running leader, made with PostgreSQL's own pg_basebackup.

use crate::postgres::Postgres;
use crate::tool::Tool;
use crate::wait::DEADLINE;

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
}
