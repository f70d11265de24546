//! The settings of a session, with what they can be. Source: `utils/misc/guc_tables.c`.

use crate::config::Unit;

/// A setting that sessions have.
#[derive(Debug)]
pub(crate) struct Definition {
    /// As it is shown; found in any case.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    pub(crate) access: Access,
    /// Whether clients are told when it changes (`GUC_REPORT`).
    pub(crate) report: bool,
    pub(crate) description: &'static str,
}

/// What values a setting takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Bool,
    /// Only this value, which is how this server always behaves.
    Fixed(&'static str),
    Integer {
        min: i64,
        max: i64,
        unit: Unit,
    },
    Real,
    Enum(&'static [&'static str]),
    Text,
    Encoding,
    DateStyle,
    TimeZone,
}

/// Who may change a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Every session, for itself.
    User,
    /// The transaction block: `transaction_isolation` and its kin.
    Transaction,
    /// Nobody.
    Internal,
}

impl Kind {
    /// `pg_settings.vartype`.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Integer { .. } => "integer",
            Self::Real => "real",
            Self::Enum(_) => "enum",
            _ => "string",
        }
    }
}

const LEVELS: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"];
const ISOLATION: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];
const MILLISECONDS: Kind = Kind::Integer { min: 0, max: i32::MAX as i64, unit: Unit::Milliseconds };
const KILOBYTES: Kind = Kind::Integer { min: 64, max: i32::MAX as i64, unit: Unit::Kilobytes };

const fn setting(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, access: Access::User, report: false, description }
}

const fn reported(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, access: Access::User, report: true, description }
}

const fn internal(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    report: bool,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, access: Access::Internal, report, description }
}

const fn block(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, access: Access::Transaction, report: false, description }
}

/// Every setting of a session, by name.
pub(crate) static DEFINITIONS: &[Definition] = &[
    reported("application_name", Kind::Text, "", "Name of the application, for views of the sessions."),
    setting(
        "backslash_quote",
        Kind::Enum(&["safe_encoding", "on", "off"]),
        "safe_encoding",
        "Whether \"\\'\" is allowed.",
    ),
    internal("block_size", Kind::Text, "8192", false, "Size of a page in bytes."),
    setting("bytea_output", Kind::Fixed("hex"), "hex", "How bytea is shown."),
    setting("check_function_bodies", Kind::Bool, "on", "Accepted, without effect."),
    reported("client_encoding", Kind::Encoding, "UTF8", "The client's character set."),
    setting("client_min_messages", Kind::Enum(LEVELS), "notice", "The least message sent to the client."),
    internal("data_checksums", Kind::Bool, "on", false, "Whether pages have checksums."),
    reported("DateStyle", Kind::DateStyle, "ISO, MDY", "How dates are shown."),
    setting("default_tablespace", Kind::Text, "", "Accepted, without effect."),
    setting("default_table_access_method", Kind::Text, "heap", "Accepted, without effect."),
    setting("default_transaction_deferrable", Kind::Bool, "off", "Accepted, without effect."),
    setting(
        "default_transaction_isolation",
        Kind::Enum(ISOLATION),
        "read committed",
        "The isolation of new transactions.",
    ),
    reported("default_transaction_read_only", Kind::Bool, "off", "Whether new transactions are read-only."),
    setting("enable_hashagg", Kind::Bool, "on", "Accepted, without effect."),
    setting("enable_hashjoin", Kind::Bool, "on", "Accepted, without effect."),
    setting("enable_indexscan", Kind::Bool, "on", "Accepted, without effect."),
    setting("enable_mergejoin", Kind::Bool, "on", "Accepted, without effect."),
    setting("enable_nestloop", Kind::Bool, "on", "Accepted, without effect."),
    setting("enable_seqscan", Kind::Bool, "on", "Accepted, without effect."),
    setting("enable_sort", Kind::Bool, "on", "Accepted, without effect."),
    setting("escape_string_warning", Kind::Bool, "on", "Accepted, without effect."),
    setting(
        "extra_float_digits",
        Kind::Integer { min: -15, max: 3, unit: Unit::None },
        "1",
        "Accepted: floating-point numbers are always shown with all digits that matter.",
    ),
    setting("geqo", Kind::Bool, "on", "Accepted, without effect."),
    setting("idle_in_transaction_session_timeout", MILLISECONDS, "0", "Ends sessions idle in a transaction."),
    setting("idle_session_timeout", MILLISECONDS, "0", "Ends sessions idle outside of a transaction."),
    internal("in_hot_standby", Kind::Bool, "off", true, "Whether this is a standby."),
    internal("integer_datetimes", Kind::Bool, "on", true, "Whether times are integers."),
    reported("IntervalStyle", Kind::Fixed("postgres"), "postgres", "How intervals are shown."),
    internal("is_superuser", Kind::Bool, "on", true, "Whether the user is a superuser."),
    setting("jit", Kind::Bool, "off", "Accepted, without effect."),
    internal("lc_collate", Kind::Text, "C", false, "The order of texts."),
    internal("lc_ctype", Kind::Text, "C", false, "What is a letter."),
    setting("lc_messages", Kind::Text, "C", "Accepted, without effect."),
    setting("lc_monetary", Kind::Text, "C", "Accepted, without effect."),
    setting("lc_numeric", Kind::Text, "C", "Accepted, without effect."),
    setting("lc_time", Kind::Text, "C", "Accepted, without effect."),
    setting("lock_timeout", MILLISECONDS, "0", "How long a statement waits for a lock."),
    setting(
        "maintenance_work_mem",
        KILOBYTES,
        "262144",
        "Memory for sorting the rows of a table that gets a primary key.",
    ),
    internal("max_identifier_length", Kind::Text, "63", false, "The longest name in bytes."),
    internal("max_index_keys", Kind::Text, "1600", false, "The most columns of a key."),
    setting("password_encryption", Kind::Text, "scram-sha-256", "Accepted, without effect."),
    setting(
        "plan_cache_mode",
        Kind::Enum(&["auto", "force_generic_plan", "force_custom_plan"]),
        "auto",
        "Accepted, without effect.",
    ),
    setting("random_page_cost", Kind::Real, "4", "Accepted, without effect."),
    setting("row_security", Kind::Bool, "on", "Accepted, without effect."),
    setting("search_path", Kind::Text, "\"$user\", public", "Accepted: there is one schema for tables."),
    internal("server_encoding", Kind::Text, "UTF8", true, "The server's character set."),
    internal(
        "server_version",
        Kind::Text,
        super::value::VERSION,
        true,
        "The PostgreSQL this server is like.",
    ),
    internal("server_version_num", Kind::Text, super::value::VERSION_NUMBER, false, "The same as a number."),
    internal("session_authorization", Kind::Text, "", true, "The user."),
    setting(
        "session_replication_role",
        Kind::Enum(&["origin", "replica", "local"]),
        "origin",
        "Accepted, without effect.",
    ),
    reported("standard_conforming_strings", Kind::Fixed("on"), "on", "Backslashes in strings are ordinary."),
    setting("statement_timeout", MILLISECONDS, "0", "How long a statement may take."),
    setting(
        "synchronous_commit",
        Kind::Enum(&["local", "remote_write", "remote_apply", "on", "off"]),
        "on",
        "What the client waits for when it commits.",
    ),
    setting("synchronize_seqscans", Kind::Bool, "on", "Accepted, without effect."),
    reported("TimeZone", Kind::TimeZone, "UTC", "Always UTC."),
    block("transaction_deferrable", Kind::Bool, "off", "Accepted, without effect."),
    block(
        "transaction_isolation",
        Kind::Enum(ISOLATION),
        "read committed",
        "The isolation of the transaction.",
    ),
    block("transaction_read_only", Kind::Bool, "off", "Whether the transaction is read-only."),
    internal("wal_block_size", Kind::Text, "8192", false, "Size of a page of WAL in bytes."),
    setting("work_mem", KILOBYTES, "65536", "Memory for sorting and grouping in one statement."),
    setting("xmloption", Kind::Enum(&["content", "document"]), "content", "Accepted, without effect."),
];

/// The setting of this name, in any case; `TIME ZONE` is `timezone` here.
pub(crate) fn find(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.name.eq_ignore_ascii_case(name))
}
