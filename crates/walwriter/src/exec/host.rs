//! What statements can ask of the server they run in, beside the engine: its configuration, its replication, its other
//! sessions. The seam towards whoever puts a server together; each question has an answer for a server without that part.

use std::path::PathBuf;
use std::time::SystemTime;

use wal::Lsn;

use super::{Failure, Result};
use crate::session::Interrupt;

/// A setting of the server's configuration, as `pg_settings` has it.
#[derive(Debug, Clone)]
pub struct ServerSetting {
    /// Its name.
    pub name: String,
    /// Its value as SHOW has it.
    pub value: String,
    /// What it does.
    pub description: String,
    /// `internal`, `postmaster` or `sighup`.
    pub context: &'static str,
    /// `bool`, `string`, `integer`, `real` or `enum`.
    pub kind: &'static str,
}

/// A replication connection, as `pg_stat_replication` has it.
#[derive(Debug, Clone, Default)]
pub struct StandbyStatus {
    /// The number of its connection.
    pub pid: u32,
    /// Its role.
    pub user: String,
    /// What it calls itself.
    pub application_name: String,
    /// Its address; `None` for a Unix socket.
    pub client_addr: Option<String>,
    /// Its port; -1 for a Unix socket.
    pub client_port: Option<i32>,
    /// When it connected.
    pub backend_start: Option<SystemTime>,
    /// `startup`, `backup`, `catchup`, `streaming` or `stopping`.
    pub state: &'static str,
    /// Sent up to here.
    pub sent: Option<Lsn>,
    /// Written there up to here.
    pub write: Option<Lsn>,
    /// Durable there up to here.
    pub flush: Option<Lsn>,
    /// Visible there up to here.
    pub replay: Option<Lsn>,
    /// Microseconds from when it was to be sent to each of the three above.
    pub lags: [Option<i64>; 3],
    /// Its rank among the synchronous ones; 0 if it is none.
    pub sync_priority: i32,
    /// `async`, `potential`, `sync` or `quorum`.
    pub sync_state: &'static str,
    /// When it sent its last reply.
    pub reply_time: Option<SystemTime>,
}

/// A standby's connection to its leader, as `pg_stat_wal_receiver` has it.
#[derive(Debug, Clone, Default)]
pub struct ReceiverStatus {
    /// `starting`, `streaming`, `waiting`, `restarting`, `stopping`.
    pub status: &'static str,
    /// Where it began, and on which timeline.
    pub start: Option<(Lsn, u32)>,
    /// Written up to here.
    pub written: Option<Lsn>,
    /// Durable up to here.
    pub flushed: Option<Lsn>,
    /// The timeline of that.
    pub timeline: Option<u32>,
    /// When the leader sent its last message, by its clock.
    pub last_sent: Option<SystemTime>,
    /// When that arrived.
    pub last_received: Option<SystemTime>,
    /// The leader's end of WAL when last heard of, and when that was.
    pub latest_end: Option<(Lsn, SystemTime)>,
    /// The slot that it uses.
    pub slot: Option<String>,
    /// Where the leader is.
    pub host: Option<String>,
    /// The leader's port.
    pub port: Option<u16>,
    /// The connection string, without passwords.
    pub conninfo: String,
}

/// A replication slot, as `pg_replication_slots` has it.
#[derive(Debug, Clone, Default)]
pub struct SlotStatus {
    /// Its name.
    pub name: String,
    /// The connection that uses it.
    pub active_pid: Option<u32>,
    /// Whether it is gone when its connection ends.
    pub temporary: bool,
    /// The oldest WAL that it keeps.
    pub restart: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<&'static str>,
    /// Bytes of WAL until it may be lost.
    pub safe_wal_size: Option<i64>,
}

/// How far a standby is.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecoveryStatus {
    /// Received and durable up to here.
    pub received: Option<Lsn>,
    /// The time of the last transaction replayed.
    pub last_transaction: Option<SystemTime>,
    /// Whether replay is held.
    pub paused: bool,
}

/// How far a promotion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    /// Asked for, and under way.
    UnderWay,
    /// Writes are taken.
    Done,
}

/// The server around the executor.
pub trait Host: Send + Sync + 'static {
    /// A setting of the configuration, by its name in lower case.
    fn setting(&self, name: &str) -> Option<ServerSetting> {
        self.settings().into_iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
    }

    /// All settings of the configuration.
    fn settings(&self) -> Vec<ServerSetting> {
        Vec::new()
    }

    /// What sessions find instead of the built-in default of a setting of theirs (`statement_timeout`, ...).
    fn session_default(&self, _name: &str) -> Option<String> {
        None
    }

    /// The directory for files that statements need while they run. `None`: they have memory alone.
    fn temporary_files(&self) -> Option<PathBuf> {
        None
    }

    /// When the server started.
    fn started_at(&self) -> SystemTime;

    /// When the configuration was last read.
    fn configured_at(&self) -> SystemTime {
        self.started_at()
    }

    /// Reads the configuration again.
    fn reload(&self) -> bool {
        false
    }

    /// Replication connections.
    fn standbys(&self) -> Vec<StandbyStatus> {
        Vec::new()
    }

    /// The connection to the leader, on a standby that has one.
    fn receiver(&self) -> Option<ReceiverStatus> {
        None
    }

    /// Replication slots.
    fn slots(&self) -> Vec<SlotStatus> {
        Vec::new()
    }

    /// Makes a physical slot, and says from where it keeps WAL.
    ///
    /// # Errors
    /// Names that are taken or cannot be, and a limit that is reached.
    fn create_slot(&self, _name: &str, _reserve: bool) -> Result<Option<Lsn>> {
        Err(Failure::new("0A000", "this server has no replication slots"))
    }

    /// Drops a slot.
    ///
    /// # Errors
    /// `42704` if there is none, `55006` if it is in use.
    fn drop_slot(&self, name: &str) -> Result<()> {
        Err(Failure::new("42704", format!("replication slot \"{name}\" does not exist")))
    }

    /// Interrupts a session; says whether there is one.
    fn interrupt(&self, _pid: u32, _interrupt: Interrupt) -> bool {
        false
    }

    /// How far this standby is; `None` if it is none.
    fn recovery(&self) -> Option<RecoveryStatus> {
        None
    }

    /// Asks for a promotion, or how far one is. Does not block.
    ///
    /// # Errors
    /// `55000` if this is no standby.
    fn promote(&self) -> Result<Promotion> {
        Err(not_a_standby())
    }

    /// Holds replay, or goes on with it.
    ///
    /// # Errors
    /// `55000` if this is no standby.
    fn pause_replay(&self, _pause: bool) -> Result<()> {
        Err(not_a_standby())
    }

    /// Writes a restore point and gives its end.
    ///
    /// # Errors
    /// What the engine says.
    fn create_restore_point(&self, _name: &str) -> Result<Lsn> {
        Err(Failure::new("0A000", "this server makes no restore points"))
    }

    /// Performs a checkpoint and returns when it is done. Called on a thread of its own.
    ///
    /// # Errors
    /// What the engine says.
    fn checkpoint(&self) -> Result<()>;
}

fn not_a_standby() -> Failure {
    Failure::new("55000", "recovery is not in progress")
        .hint("Recovery control functions can only be executed during recovery.")
}
