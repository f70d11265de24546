//! The replication command language: what a client sends in a simple Query on a replication connection.
//!
//! Owns the grammar of PostgreSQL 15 to 18 (`replication/repl_gram.y`, `replication/repl_scanner.l`): keywords are
//! upper case, unquoted identifiers are folded to lower case, everything else is a plain value. [`parse`] and
//! `Display` are inverse to each other. What a command means is decided by whoever executes it; names and options
//! are only checked here where PostgreSQL's grammar itself checks them.

mod display;
mod lexer;
mod options;
mod parser;
#[cfg(test)]
mod tests;

use wal::{Lsn, TimelineId};

use crate::error::{ServerError, SqlState};

pub use options::{
    CreateSlotOptions, OptionValue, ReplicationOption, SlotNameError, SnapshotAction, validate_slot_name,
};
pub use parser::parse;

/// One command of the replication language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicationCommand {
    /// `IDENTIFY_SYSTEM`
    IdentifySystem,
    /// `SHOW name`: one configuration value. Dotted names are joined.
    Show(String),
    /// `TIMELINE_HISTORY n`
    TimelineHistory(TimelineId),
    /// `CREATE_REPLICATION_SLOT`
    CreateReplicationSlot {
        /// The slot's name as given; [`validate_slot_name`] says whether it can be one.
        name: String,
        /// Whether the slot ends with the connection.
        temporary: bool,
        /// Physical, or logical with its output plugin.
        kind: SlotKind,
        /// Options in the order given; the old keywords are translated into the options of PostgreSQL 15.
        options: Vec<ReplicationOption>,
    },
    /// `READ_REPLICATION_SLOT name`
    ReadReplicationSlot(String),
    /// `DROP_REPLICATION_SLOT name [WAIT]`
    DropReplicationSlot {
        /// The slot's name.
        name: String,
        /// Whether to wait until the slot is no longer in use, instead of failing.
        wait: bool,
    },
    /// `ALTER_REPLICATION_SLOT name (options)`, since PostgreSQL 17.
    AlterReplicationSlot {
        /// The slot's name.
        name: String,
        /// Options in the order given; at least one.
        options: Vec<ReplicationOption>,
    },
    /// `START_REPLICATION [SLOT name] [PHYSICAL] X/X [TIMELINE n]`
    StartPhysical {
        /// The slot whose position this stream moves.
        slot: Option<String>,
        /// The first byte wanted. Need not be the start of a record.
        start: Lsn,
        /// The timeline wanted; the server's own if absent.
        timeline: Option<TimelineId>,
    },
    /// `START_REPLICATION SLOT name LOGICAL X/X [(options)]`
    StartLogical {
        /// The slot to decode from.
        slot: String,
        /// Where to start.
        start: Lsn,
        /// Options of the output plugin: names and texts.
        options: Vec<(String, Option<String>)>,
    },
    /// `BASE_BACKUP [(options)]`
    BaseBackup {
        /// Options in the order given.
        options: Vec<ReplicationOption>,
    },
    /// `UPLOAD_MANIFEST`, since PostgreSQL 17.
    UploadManifest,
}

/// What a slot is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotKind {
    /// Keeps the position of a physical follower.
    Physical,
    /// Decodes through the named output plugin.
    Logical(String),
}

/// A command that is not one, with the text and SQLSTATE that PostgreSQL answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// The SQLSTATE.
    pub code: SqlState,
    /// PostgreSQL's message.
    pub message: String,
}

impl CommandError {
    fn syntax(message: impl Into<String>) -> Self {
        Self { code: SqlState::SYNTAX_ERROR, message: message.into() }
    }
}

impl From<CommandError> for ServerError {
    fn from(error: CommandError) -> Self {
        Self::error(error.code, error.message)
    }
}
