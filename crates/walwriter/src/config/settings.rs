//! Every setting there is.

use super::Unit;
use super::value::{Kind, Value};
use crate::settings::{VERSION, VERSION_NUMBER};

/// When a setting takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// When the server starts.
    Start,
    /// When the files are read again (SIGHUP).
    Reload,
    /// For each new session, which may change it for itself.
    Session,
    /// Never: it says what is.
    Internal,
}

/// A setting.
#[derive(Debug)]
pub struct Definition {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The value as it would be written in a file.
    pub default: &'static str,
    /// When it takes effect.
    pub context: Context,
    /// What it is for.
    pub description: &'static str,
}

impl Definition {
    pub(super) fn default_value(&self) -> Value {
        // A test holds every default against its kind.
        self.kind.parse(self.default).unwrap_or_else(|_| Value::Text(self.default.to_owned()))
    }
}

/// The setting called `name`, in any case.
pub fn definition(name: &str) -> Option<&'static Definition> {
    let name = name.to_ascii_lowercase();
    let found = DEFINITIONS.binary_search_by(|definition| definition.name.cmp(&name)).ok()?;
    DEFINITIONS.get(found)
}

/// All settings, by name.
pub fn definitions() -> &'static [Definition] {
    DEFINITIONS
}

const INT_MAX: i64 = i32::MAX as i64;
const COUNT: Kind = number(0, 262_143, Unit::None);
const MILLISECONDS: Kind = number(0, INT_MAX, Unit::Milliseconds);
const MEGABYTES: Kind = number(0, INT_MAX, Unit::Megabytes);

const fn number(min: i64, max: i64, unit: Unit) -> Kind {
    Kind::Integer { min, max, unit }
}

const fn at(
    context: Context,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, context, description }
}

use Context::{Internal, Reload, Session, Start};
use Kind::{Bool, Choice, Fraction, Octal, Text};

const ISOLATION: Kind = Choice(&["serializable", "repeatable read", "read committed", "read uncommitted"]);
const LEVELS: Kind = Choice(&["debug", "info", "notice", "warning", "error", "log", "fatal", "panic"]);

/// In the order of their names.
#[rustfmt::skip]
static DEFINITIONS: &[Definition] = &[
    at(Start, "authentication_timeout", number(1, 600, Unit::Seconds), "1min", "How long a client may take to be let in."),
    at(Internal, "block_size", number(8192, 8192, Unit::None), "8192", "The size of a page."),
    at(Start, "checkpoint_completion_target", Fraction, "0.9", "The part of the time between checkpoints over which one is spread."),
    at(Start, "checkpoint_timeout", number(30, 86_400, Unit::Seconds), "5min", "The longest time between checkpoints."),
    at(Session, "client_min_messages", LEVELS, "notice", "The least message that clients are told."),
    at(Start, "cluster_name", Text, "", "What this server calls itself to its leader."),
    at(Reload, "create_primary_slot", Bool, "off", "Whether a standby has its leader create primary_slot_name when that is missing."),
    at(Internal, "data_checksums", Bool, "on", "Whether pages carry checksums."),
    at(Session, "datestyle", Text, "ISO, MDY", "How dates are written."),
    at(Session, "default_transaction_isolation", ISOLATION, "read committed", "The isolation of new transactions."),
    at(Session, "default_transaction_read_only", Bool, "off", "Whether new transactions only read."),
    at(Session, "extra_float_digits", number(-15, 3, Unit::None), "1", "Digits of floating-point numbers."),
    at(Start, "fsync", Choice(&["on"]), "on", "Whether files are synced; they always are."),
    at(Start, "full_page_writes", Bool, "on", "Whether a page's first change after a checkpoint logs all of it."),
    at(Start, "hot_standby", Bool, "on", "Whether a standby can be read from."),
    at(Session, "idle_in_transaction_session_timeout", MILLISECONDS, "0", "How long a transaction may be idle."),
    at(Session, "idle_session_timeout", MILLISECONDS, "0", "How long a session may be idle outside of a transaction."),
    at(Internal, "in_hot_standby", Bool, "off", "Whether this is a standby."),
    at(Start, "insecure_listen_anywhere", Bool, "off", "Whether to listen where other hosts can connect even without passwords."),
    at(Internal, "integer_datetimes", Bool, "on", "Whether times are whole numbers."),
    at(Start, "listen_addresses", Text, "localhost", "Host names and addresses to listen on; * is all of them."),
    at(Session, "lock_timeout", MILLISECONDS, "0", "How long a statement may wait for a lock."),
    at(Reload, "log_min_messages", LEVELS, "info", "The least message in the log, unless -v or RUST_LOG says it."),
    at(Start, "max_connections", number(1, 262_143, Unit::None), "100", "How many sessions there may be."),
    at(Start, "max_replication_slots", COUNT, "10", "How many replication slots there may be."),
    at(Reload, "max_slot_wal_keep_size", number(-1, INT_MAX, Unit::Megabytes), "-1", "How much WAL slots may hold back; -1: any."),
    at(Start, "max_transaction_size", number(1024, INT_MAX, Unit::Kilobytes), "1GB", "How much one transaction may write; its commit may take twice as much memory on top of that."),
    at(Start, "max_wal_senders", COUNT, "10", "How many followers may be connected."),
    at(Start, "max_wal_size", number(2, INT_MAX, Unit::Megabytes), "1GB", "How much WAL makes a checkpoint due."),
    at(Start, "min_wal_size", number(2, INT_MAX, Unit::Megabytes), "80MB", "How much WAL is kept for using its files again."),
    at(Start, "password_file", Text, "", "Users and their passwords, name:password; empty: everybody is trusted."),
    at(Start, "port", number(0, 65_535, Unit::None), "5432", "The port; 0 lets the system choose."),
    at(Reload, "primary_conninfo", Text, "", "A standby's leader."),
    at(Reload, "primary_slot_name", Text, "", "A standby's slot at its leader."),
    at(Reload, "restore_command", Text, "", "Fetches a WAL file (%f) from an archive to a path (%p)."),
    at(Session, "search_path", Text, "\"$user\", public", "Where tables are looked for."),
    at(Internal, "server_encoding", Text, "UTF8", "The encoding of texts."),
    at(Internal, "server_version", Text, VERSION, "The version that clients are told."),
    at(Internal, "server_version_num", Text, VERSION_NUMBER, "The same as a number."),
    at(Start, "shared_buffers", number(16, INT_MAX, Unit::Blocks), "128MB", "Memory for pages."),
    at(Session, "statement_timeout", MILLISECONDS, "0", "How long a statement may take."),
    at(Session, "synchronous_commit", Choice(&["on", "off", "local", "remote_write", "remote_apply"]), "on", "What a commit waits for; the default also decides when others see it."),
    at(Reload, "synchronous_standby_names", Text, "", "Followers that commits wait for."),
    at(Session, "timezone", Text, "UTC", "The time zone of times."),
    at(Start, "unix_socket_directories", Text, "", "Directories of Unix sockets; empty: /var/run/postgresql if it can be written, else /tmp; none: no sockets."),
    at(Start, "unix_socket_permissions", Octal, "0777", "The permissions of Unix sockets."),
    at(Start, "version_memory", number(1024, INT_MAX, Unit::Kilobytes), "64MB", "Memory for old versions of pages, which snapshots read."),
    at(Internal, "wal_block_size", number(8192, 8192, Unit::None), "8192", "The size of a page of WAL."),
    at(Start, "wal_buffers", number(-1, 262_143, Unit::Blocks), "16MB", "Memory for WAL that is not written yet."),
    at(Start, "wal_compression", Choice(&["on", "off", "lz4", "zstd", "pglz"]), "lz4", "How full-page images are compressed."),
    at(Start, "wal_keep_size", MEGABYTES, "0", "How much WAL is kept for followers."),
    at(Start, "wal_level", Choice(&["replica"]), "replica", "What is in the WAL."),
    at(Reload, "wal_receiver_status_interval", number(0, INT_MAX / 1000, Unit::Seconds), "10s", "How often a standby tells its leader where it is."),
    at(Reload, "wal_receiver_timeout", MILLISECONDS, "1min", "After how long a silence a standby gives its leader up."),
    at(Reload, "wal_retrieve_retry_interval", number(1, INT_MAX, Unit::Milliseconds), "5s", "How long a standby waits before it looks for WAL again."),
    at(Internal, "wal_segment_size", number(1, 1024, Unit::Megabytes), "16MB", "The size of WAL files; chosen by init."),
    at(Start, "wal_sender_timeout", MILLISECONDS, "1min", "After how long a silence a follower is dropped."),
    at(Start, "wal_writer_delay", number(1, 10_000, Unit::Milliseconds), "200ms", "After how long WAL that nobody waits for is flushed at the latest."),
    at(Start, "worker_threads", number(0, 1024, Unit::None), "0", "Threads that serve clients; 0: one per processor, 8 at most."),
];
