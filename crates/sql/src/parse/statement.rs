//! What a text says, before any name in it is looked up.

use sqlparser::ast;

use crate::copy::CopyOptions;

/// One statement of a query text.
#[derive(Clone, Debug)]
pub struct ParsedStatement {
    /// The statement's own text, without the semicolon
    pub text: String,
    /// Characters of the query text in front of it, to be added to positions in errors
    pub offset: u32,
    /// What it says
    pub kind: Statement,
    /// Line and column where it begins in the query text
    pub(crate) start: (u64, u64),
}

/// The statements there are.
#[derive(Clone, Debug)]
pub enum Statement {
    /// SELECT, INSERT, UPDATE, DELETE, CREATE TABLE as the parser read them
    Sql(Box<ast::Statement>),
    /// COPY
    Copy(Box<CopyStatement>),
    /// DROP TABLE
    DropTables {
        /// IF EXISTS
        if_exists: bool,
        /// Which
        names: Vec<Name>,
    },
    /// TRUNCATE
    Truncate {
        /// Which
        names: Vec<Name>,
        /// RESTART IDENTITY
        restart: bool,
    },
    /// ALTER TABLE ... ADD [CONSTRAINT name] PRIMARY KEY (columns)
    AddPrimaryKey {
        /// IF EXISTS
        if_exists: bool,
        /// The table
        table: Name,
        /// The constraint's name
        constraint: Option<String>,
        /// The key's columns
        columns: Vec<String>,
    },
    /// VACUUM and ANALYZE of tables, which must exist
    Maintain {
        /// The command's tag
        tag: &'static str,
        /// Which; all if empty
        names: Vec<Name>,
    },
    /// All that the planner passes on
    Utility(Utility),
}

/// A table's name with the schema in front of it, both folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The schema
    pub schema: Option<String>,
    /// The table
    pub name: String,
}

/// COPY.
#[derive(Clone, Debug)]
pub struct CopyStatement {
    /// A table with columns (all if empty), or a query
    pub source: CopySource,
    /// FROM STDIN rather than TO STDOUT
    pub from: bool,
    /// How the data is written
    pub options: CopyOptions,
}

/// What is copied.
#[derive(Clone, Debug)]
pub enum CopySource {
    /// A table, columns of it
    Table(Name, Vec<String>),
    /// A query
    Query(Box<ast::Statement>),
}

/// Isolation levels; READ UNCOMMITTED is read committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Every statement has a snapshot of its own
    ReadCommitted,
    /// One snapshot for the transaction
    RepeatableRead,
    /// As if one after the other
    Serializable,
}

/// What a transaction is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TransactionModes {
    /// ISOLATION LEVEL
    pub isolation: Option<IsolationLevel>,
    /// READ ONLY (true), READ WRITE (false)
    pub read_only: Option<bool>,
    /// \[NOT\] DEFERRABLE
    pub deferrable: Option<bool>,
}

/// Statements about the session and the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Utility {
    /// Nothing but blanks and comments
    Empty,
    /// BEGIN, START TRANSACTION; true = the latter, which has a tag of its own
    Begin(TransactionModes, bool),
    /// COMMIT, END; AND CHAIN
    Commit {
        /// AND CHAIN
        chain: bool,
    },
    /// ROLLBACK, ABORT; AND CHAIN
    Rollback {
        /// AND CHAIN
        chain: bool,
    },
    /// SAVEPOINT
    Savepoint(String),
    /// ROLLBACK TO
    RollbackTo(String),
    /// RELEASE
    Release(String),
    /// SET TRANSACTION
    SetTransaction(TransactionModes),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION
    SetCharacteristics(TransactionModes),
    /// SET
    Set {
        /// The setting, folded (`timezone`, `session_authorization` and `role` for their own syntax)
        name: String,
        /// The value, several separated by `, `; `None` = DEFAULT
        value: Option<String>,
        /// LOCAL
        local: bool,
    },
    /// SHOW; `all` for SHOW ALL
    Show(String),
    /// RESET; `all` for RESET ALL
    Reset(String),
    /// DISCARD ALL, PLANS, TEMP, SEQUENCES, folded
    Discard(String),
    /// CHECKPOINT
    Checkpoint,
    /// PREPARE name (types) AS statement: names of the types, the statement's text
    Prepare(String, Vec<String>, String),
    /// EXECUTE name (arguments): texts of the arguments' expressions
    Execute(String, Vec<String>),
    /// DEALLOCATE; `None` = ALL
    Deallocate(Option<String>),
    /// Something without an effect here; its tag (VACUUM, ANALYZE, ...)
    NoEffect(&'static str),
}

impl Utility {
    /// The tag of CommandComplete.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Empty => "",
            Self::Begin(_, false) => "BEGIN",
            Self::Begin(_, true) => "START TRANSACTION",
            Self::Commit { .. } => "COMMIT",
            Self::Rollback { .. } | Self::RollbackTo(_) => "ROLLBACK",
            Self::Savepoint(_) => "SAVEPOINT",
            Self::Release(_) => "RELEASE",
            Self::SetTransaction(_) | Self::SetCharacteristics(_) | Self::Set { .. } => "SET",
            Self::Show(_) => "SHOW",
            Self::Reset(_) => "RESET",
            Self::Discard(what) if what == "all" => "DISCARD ALL",
            Self::Discard(what) if what == "plans" => "DISCARD PLANS",
            Self::Discard(what) if what == "sequences" => "DISCARD SEQUENCES",
            Self::Discard(_) => "DISCARD TEMP",
            Self::Checkpoint => "CHECKPOINT",
            Self::Prepare(..) => "PREPARE",
            Self::Execute(..) => "EXECUTE",
            Self::Deallocate(Some(_)) => "DEALLOCATE",
            Self::Deallocate(None) => "DEALLOCATE ALL",
            Self::NoEffect(tag) => tag,
        }
    }
}
