//! The leader that everything is measured against, with WAL lying ready.

use std::path::PathBuf;

use wal::{Lsn, TimelineId};
use walship_tests::{Options, Postgres, TempRoot, Tool, Version};

/// A server holding WAL from `start` to past `end`, kept by the slot `origin`.
pub struct Leader {
    pub server: Postgres,
    /// The start of the segment from which the slot keeps WAL.
    pub start: Lsn,
    /// A segment boundary up to which WAL is complete and beyond which there is more.
    pub end: Lsn,
}

/// The timeline of a leader that was never promoted.
pub const TIMELINE: TimelineId = TimelineId::FIRST;

impl Leader {
    /// Starts a leader and has pgbench write at least `mib` MiB of mixed WAL: bulk loads, full-page images, updates.
    pub fn with_wal(root: &TempRoot, mib: u64) -> Self {
        eprintln!("writing {mib} MiB of WAL");
        let options = Options::default()
            .setting("fsync", "on")
            .setting("shared_buffers", "1GB")
            .setting("max_wal_size", "8GB")
            .setting("synchronous_commit", "off");
        let server = Postgres::start_new(root, "leader", Version::V15, options);
        server.sql("select pg_create_physical_replication_slot('origin', true)");
        let start = server.sql("select restart_lsn from pg_replication_slots").parse::<Lsn>().unwrap();
        let start = wal::SegmentSize::DEFAULT.floor(start);
        server.pgbench(["-i", "-q", "-s", "50"]);
        while server.flush_lsn().bytes_since(start) < mib << 20 {
            server.pgbench(["-n", "-M", "prepared", "-c", "4", "-T", "5"]);
            server.sql("checkpoint");
        }
        let end = wal::SegmentSize::DEFAULT.floor(server.switch_wal());
        // Something in the segments after it, so that receivers see that the end position was passed.
        for _ in 0..2 {
            server.sql("create table if not exists beyond (n int); insert into beyond values (1)");
            server.switch_wal();
        }
        server.sql("checkpoint");
        Self { server, start, end }
    }

    /// The bytes between `start` and `end`.
    pub fn bytes(&self) -> u64 {
        self.end.bytes_since(self.start)
    }

    /// Has one of the receivers fetch all of it into a new directory `name` of `root`; gives the command and the
    /// directory. Each call needs a fresh slot, which begins where `origin` does.
    pub fn receive_into(&self, root: &TempRoot, receiver: Tool, name: &str) -> (Tool, PathBuf) {
        let _ = std::fs::remove_dir_all(root.join(name));
        let directory = root.dir(name);
        self.server.sql(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'run'",
        );
        self.server.sql("select pg_copy_physical_replication_slot('origin', 'run')");
        let tool = receiver
            .args(["-d", &self.server.conninfo(), "-S", "run", "-n", "--endpos", &self.end.to_string(), "-D"])
            .arg(&directory);
        (tool, directory)
    }

    /// Everything up to `end` as an archive that nobody writes to any more, in directory `name`.
    pub fn archive(&self, root: &TempRoot, name: &str) -> PathBuf {
        let receiver = Tool::postgres(root, Version::V15, "pg_receivewal");
        let (tool, directory) = self.receive_into(root, receiver, name);
        tool.run_within(walship_tests::DEADLINE * 5).success();
        for entry in std::fs::read_dir(&directory).unwrap().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "partial") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        directory
    }
}
