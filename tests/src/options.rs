//! How a new PostgreSQL cluster is made.

/// What `initdb` and the first `postgresql.conf` are told. The default is made for tests of replication: 16 MiB segments,
/// `trust` for everybody, ten senders and slots, and no fsync, since no test pulls the plug of the machine.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) initdb: Vec<String>,
    pub(crate) settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        let settings = [
            ("listen_addresses", "127.0.0.1"),
            ("fsync", "off"),
            // Shared memory in files of the data directory, so that a killed server leaves none behind.
            ("dynamic_shared_memory_type", "mmap"),
            ("max_wal_senders", "20"),
            ("max_replication_slots", "20"),
            ("wal_keep_size", "0"),
            ("log_replication_commands", "on"),
            ("log_line_prefix", "%m %a "),
            ("shared_buffers", "64MB"),
            ("autovacuum", "off"),
            ("wal_receiver_status_interval", "1"),
            ("wal_retrieve_retry_interval", "200ms"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { initdb: Vec::new(), settings }
    }
}

impl Options {
    /// PostgreSQL's own settings, fsync and autovacuum included, but for what keeps the server on this machine: for
    /// measuring.
    pub fn of_postgresql() -> Self {
        let settings = [("listen_addresses", "127.0.0.1"), ("dynamic_shared_memory_type", "mmap")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { initdb: Vec::new(), settings }
    }

    /// WAL segments of that many MiB (1 to 1024, a power of two).
    pub fn wal_segment_mib(self, mib: u32) -> Self {
        self.initdb_arg(format!("--wal-segsize={mib}"))
    }

    /// With data checksums.
    pub fn data_checksums(self) -> Self {
        self.initdb_arg("--data-checksums")
    }

    /// Any further option of `initdb`.
    pub fn initdb_arg(mut self, arg: impl Into<String>) -> Self {
        self.initdb.push(arg.into());
        self
    }

    /// A line of `postgresql.conf`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}
