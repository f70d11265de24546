//! Functions that ask the server, the session, the clock or chance.

use crate::types::Type;

macro_rules! system_functions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal ($($arg:expr),*) -> $result:expr, $stable:literal;)*) => {
        /// A function that [`ServerFunctions`](super::ServerFunctions) performs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum SystemFunction {
            $($(#[$doc])* #[doc = concat!("\n\nIn SQL `", $name, "`.")] $variant,)*
        }

        impl SystemFunction {
            /// All of them; functions with optional arguments appear once for every number of arguments.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in SQL.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The types of its arguments.
            pub fn args(self) -> &'static [Type] {
                match self { $(Self::$variant => &[$($arg),*],)* }
            }

            /// The type of its result.
            pub fn result(self) -> Type {
                match self { $(Self::$variant => $result,)* }
            }

            /// Whether it gives the same for equal arguments within a statement.
            pub fn is_stable(self) -> bool {
                match self { $(Self::$variant => $stable,)* }
            }
        }
    };
}

system_functions! {
    /// Start of the transaction; also `transaction_timestamp()` and `CURRENT_TIMESTAMP`
    Now = "now"() -> Type::Timestamptz, true;
    /// Start of the statement
    StatementTimestamp = "statement_timestamp"() -> Type::Timestamptz, true;
    /// This moment
    ClockTimestamp = "clock_timestamp"() -> Type::Timestamptz, false;
    /// Uniform in [0, 1)
    Random = "random"() -> Type::Float8, false;
    /// A random uuid, version 4
    GenRandomUuid = "gen_random_uuid"() -> Type::Uuid, false;
    /// The server's version in a sentence
    Version = "version"() -> Type::Text, true;
    /// Name of the database
    CurrentDatabase = "current_database"() -> Type::Name, true;
    /// First schema of the search path
    CurrentSchema = "current_schema"() -> Type::Name, true;
    /// Name of the user, also `user` and `current_role`
    CurrentUser = "current_user"() -> Type::Name, true;
    /// Name of the user who connected
    SessionUser = "session_user"() -> Type::Name, true;
    /// Identifies the session for cancel requests
    PgBackendPid = "pg_backend_pid"() -> Type::Int4, true;
    /// Start of the server
    PgPostmasterStartTime = "pg_postmaster_start_time"() -> Type::Timestamptz, true;
    /// When the configuration was read last
    PgConfLoadTime = "pg_conf_load_time"() -> Type::Timestamptz, true;
    /// Reads the configuration again
    PgReloadConf = "pg_reload_conf"() -> Type::Bool, false;
    /// Waits so many seconds
    PgSleep = "pg_sleep"(Type::Float8) -> Type::Void, false;
    /// Value of a setting
    CurrentSetting = "current_setting"(Type::Text) -> Type::Text, true;
    /// Value of a setting, NULL if it is unknown and the second argument true
    CurrentSettingMissing = "current_setting"(Type::Text, Type::Bool) -> Type::Text, true;
    /// Changes a setting, for the transaction only if the third argument is true
    SetConfig = "set_config"(Type::Text, Type::Text, Type::Bool) -> Type::Text, false;
    /// Asks a session to give up its statement
    PgCancelBackend = "pg_cancel_backend"(Type::Int4) -> Type::Bool, false;
    /// Ends a session
    PgTerminateBackend = "pg_terminate_backend"(Type::Int4) -> Type::Bool, false;
    /// Whether this is a standby
    PgIsInRecovery = "pg_is_in_recovery"() -> Type::Bool, true;
    /// End of the WAL written to the operating system
    PgCurrentWalLsn = "pg_current_wal_lsn"() -> Type::PgLsn, false;
    /// End of the WAL made so far
    PgCurrentWalInsertLsn = "pg_current_wal_insert_lsn"() -> Type::PgLsn, false;
    /// End of the WAL that is durable
    PgCurrentWalFlushLsn = "pg_current_wal_flush_lsn"() -> Type::PgLsn, false;
    /// Standby: end of the WAL received and synced
    PgLastWalReceiveLsn = "pg_last_wal_receive_lsn"() -> Type::PgLsn, false;
    /// Standby: end of the WAL replayed
    PgLastWalReplayLsn = "pg_last_wal_replay_lsn"() -> Type::PgLsn, false;
    /// Standby: time of the last transaction replayed
    PgLastXactReplayTimestamp = "pg_last_xact_replay_timestamp"() -> Type::Timestamptz, false;
    /// Standby: becomes a leader and waits for that for a minute
    PgPromote = "pg_promote"() -> Type::Bool, false;
    /// Standby: becomes a leader; whether to wait and how many seconds
    PgPromoteWait = "pg_promote"(Type::Bool, Type::Int4) -> Type::Bool, false;
    /// Standby: becomes a leader; whether to wait
    PgPromoteNoWait = "pg_promote"(Type::Bool) -> Type::Bool, false;
    /// Ends the current segment
    PgSwitchWal = "pg_switch_wal"() -> Type::PgLsn, false;
    /// Writes a named restore point
    PgCreateRestorePoint = "pg_create_restore_point"(Type::Text) -> Type::PgLsn, false;
    /// Name of the segment that holds an LSN
    PgWalfileName = "pg_walfile_name"(Type::PgLsn) -> Type::Text, false;
    /// Standby: holds replay
    PgWalReplayPause = "pg_wal_replay_pause"() -> Type::Void, false;
    /// Standby: goes on with replay
    PgWalReplayResume = "pg_wal_replay_resume"() -> Type::Void, false;
    /// Standby: whether replay is held
    PgIsWalReplayPaused = "pg_is_wal_replay_paused"() -> Type::Bool, false;
    /// Makes a physical slot (the text of its record)
    PgCreatePhysicalSlot = "pg_create_physical_replication_slot"(Type::Name) -> Type::Text, false;
    /// Makes a physical slot; whether to reserve WAL at once
    PgCreatePhysicalSlotReserve = "pg_create_physical_replication_slot"(Type::Name, Type::Bool) -> Type::Text, false;
    /// Drops a slot
    PgDropReplicationSlot = "pg_drop_replication_slot"(Type::Name) -> Type::Void, false;
    /// Bytes of a table's tree, by its name
    PgRelationSize = "pg_relation_size"(Type::Text) -> Type::Int8, false;
    /// Bytes of a table's tree, by its name
    PgTotalRelationSize = "pg_total_relation_size"(Type::Text) -> Type::Int8, false;
    /// Bytes of a table's tree, by its name
    PgTableSize = "pg_table_size"(Type::Text) -> Type::Int8, false;
    /// Bytes of the database, by its name
    PgDatabaseSize = "pg_database_size"(Type::Name) -> Type::Int8, false;
    /// Takes an advisory lock
    PgAdvisoryLock = "pg_advisory_lock"(Type::Int8) -> Type::Void, false;
    /// Takes an advisory lock if it is free
    PgTryAdvisoryLock = "pg_try_advisory_lock"(Type::Int8) -> Type::Bool, false;
    /// Gives an advisory lock back
    PgAdvisoryUnlock = "pg_advisory_unlock"(Type::Int8) -> Type::Bool, false;
    /// Takes an advisory lock until the end of the transaction
    PgAdvisoryXactLock = "pg_advisory_xact_lock"(Type::Int8) -> Type::Void, false;
    /// Address of the client
    InetClientAddr = "inet_client_addr"() -> Type::Text, true;
    /// Port of the client
    InetClientPort = "inet_client_port"() -> Type::Int4, true;
    /// Address of the server
    InetServerAddr = "inet_server_addr"() -> Type::Text, true;
    /// Port of the server
    InetServerPort = "inet_server_port"() -> Type::Int4, true;
    /// `format_type` of a type by its OID and modifier
    FormatType = "format_type"(Type::Oid, Type::Int4) -> Type::Text, true;
    /// Name of a user by OID
    PgGetUserbyid = "pg_get_userbyid"(Type::Oid) -> Type::Name, true;
    /// Name of an encoding
    PgEncodingToChar = "pg_encoding_to_char"(Type::Int4) -> Type::Name, true;
    /// Whether a relation is found without its schema
    PgTableIsVisible = "pg_table_is_visible"(Type::Oid) -> Type::Bool, true;
    /// The next number of a `serial` column, by its table's OID and its position; not for clients to call
    NextSerial = "nextval"(Type::Oid, Type::Int2) -> Type::Int8, false;
    /// The current transaction's id
    TxidCurrent = "txid_current"() -> Type::Int8, false;
    /// The current transaction's id if it has one
    PgCurrentXactIdIfAssigned = "txid_current_if_assigned"() -> Type::Int8, false;
}
