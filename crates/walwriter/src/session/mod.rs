//! The seam between the server, which knows sockets and messages, and the executor, which knows SQL and the engine.
//!
//! The server is generic over [`Database`] and [`Session`] and calls nothing else of the executor. A session belongs to
//! one connection and is only ever used by the worker thread of that connection, one call at a time; no call may block
//! for longer than about a millisecond, because a worker serves many connections. What takes longer returns
//! [`Step::Yield`] or [`Step::Blocked`] and goes on when called again.
//!
//! Transactions: a session opens an implicit transaction by itself at the first step outside of a block.
//! [`Session::settle`] ends it (at Sync, and at the end of a Query), [`Session::fail`] rolls it back or marks the block
//! as failed. Nothing that a session has written to `out` reaches the client before [`Session::gate`] is passed.

mod description;
#[cfg(test)]
pub(crate) mod double;
mod interrupt;
mod tag;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use replication::error::ServerError;
use wal::Lsn;

pub use crate::protocol::{Arguments, Format, ResultFormats};
pub use crate::sync::Acknowledgement;
pub use description::{Column, Description};
pub use interrupt::{Interrupt, Interrupts};
pub use tag::CommandTag;

/// What a client is told when something fails: severity, SQLSTATE, message, detail, hint, position. Boxed because it is
/// large and rare.
pub type SessionError = Box<ServerError>;

/// What all sessions share: opened once, before the first client comes.
pub trait Database: Send + Sync + 'static {
    /// The state of one connection.
    type Session: Session;

    /// Opens the session of a client that has proved who it is.
    ///
    /// # Errors
    /// What turns the client away: `57P03` while starting up, `3D000` for a database that does not exist, `42704` and
    /// `22023` for settings in the startup packet that do not exist or cannot be.
    fn open_session(&self, opening: Opening) -> Result<Self::Session, SessionError>;

    /// Makes the log durable up to `lsn`. Blocks; called once per round of a worker for everybody who waits. Does not
    /// come back if the sync fails: the process ends.
    fn flush(&self, lsn: Lsn);

    /// Up to where commits have come on their way. Of what is awaited of followers it may move backwards, when others are
    /// asked.
    fn reached(&self, awaited: Awaited) -> Lsn;

    /// Has `waker` woken after each move of [`Database::reached`] that is not a [`Database::flush`]'s. Called once per
    /// worker; wakes in vain are fine.
    fn watch_reached(&self, waker: Waker);

    /// Whether nothing is waited for any more.
    fn is_open(&self, gate: Gate) -> bool {
        self.reached(gate.awaited) >= gate.lsn
    }

    /// Whether this is a standby at the moment (`in_hot_standby`).
    fn in_recovery(&self) -> bool;
}

/// Who opens a session, and how to reach it.
#[derive(Debug)]
pub struct Opening {
    /// The role, which was proved, or claimed where everybody is trusted.
    pub user: String,
    /// The database asked for; the user's name if the client did not say.
    pub database: String,
    /// Settings from the startup packet in the order given: `application_name`, `client_encoding`, `DateStyle`, ... and
    /// those of `options` (`-c name=value`).
    pub settings: Vec<(String, String)>,
    /// Where the client is: its address and port, or `None` on a Unix socket.
    pub peer: Option<std::net::SocketAddr>,
    /// The number that clients know this connection by (`pg_backend_pid()`).
    pub process_id: u32,
    /// Wakes this connection: [`Session::step`] is then called again if it was [`Step::Blocked`]. From any thread.
    pub waker: Waker,
    /// Requests to stop what the session is doing; look at them in every longer loop and when a step begins.
    pub interrupts: Arc<Interrupts>,
}

/// One connection's state: transaction, settings, and whatever prepared statements and portals need.
///
/// Dropping a session rolls back what it has open.
pub trait Session: Send + 'static {
    /// One statement of a text, syntactically right, and nothing more known about it.
    type Statement: Send;
    /// A statement analysed: kept by the server under a name, and bound again and again.
    type Prepared: Send + Sync;
    /// One execution of a statement: its arguments, and where it has got to.
    type Portal: Send;

    /// Takes the text of a Query apart. None at all is an empty query.
    ///
    /// # Errors
    /// Syntax errors anywhere in the text, with their position in it.
    fn parse(&mut self, text: &str, statements: &mut VecDeque<Self::Statement>) -> Result<(), SessionError>;

    /// Analyses a statement of a Query, once those before it have been executed.
    ///
    /// # Errors
    /// Unknown names, types that do not fit; `25P02` in a failed block, unless it ends the block.
    fn analyse(&mut self, statement: Self::Statement) -> Result<Arc<Self::Prepared>, SessionError>;

    /// Parses and analyses the one statement of a Parse message. `parameter_types` are OIDs, 0 where they are to be
    /// inferred, and may be fewer than the statement has.
    ///
    /// # Errors
    /// As [`Session::parse`] and [`Session::analyse`]; `42601` for more than one statement.
    fn prepare(&mut self, text: &str, parameter_types: &[u32]) -> Result<Arc<Self::Prepared>, SessionError>;

    /// What Describe tells of a statement.
    fn describe(prepared: &Self::Prepared) -> &Description;

    /// Gives a statement its arguments. The server has checked that there are as many as it has parameters.
    ///
    /// # Errors
    /// Arguments that are no values of their types (`22P02`, `22P03`, ...); `25P02` in a failed block.
    fn bind(
        &mut self,
        prepared: &Arc<Self::Prepared>,
        arguments: Arguments<'_>,
        results: &ResultFormats,
    ) -> Result<Self::Portal, SessionError>;

    /// Executes a portal, or goes on with it. DataRow, CopyData and NoticeResponse messages are appended to `out`;
    /// everything else (RowDescription, CommandComplete, CopyOutResponse, ...) is the server's. At most `rows_left`
    /// rows are produced, and each is subtracted from it; `u64::MAX` is no limit.
    ///
    /// # Errors
    /// The statement's. The server sends it and calls [`Session::fail`].
    fn step(
        &mut self,
        portal: &mut Self::Portal,
        out: &mut Vec<u8>,
        rows_left: &mut u64,
    ) -> Result<Step, SessionError>;

    /// Takes bytes of a COPY that returned [`Step::CopyIn`]: any piece of the stream, cut anywhere. Everything is
    /// taken. [`Step::CopyIn`]: wants more. [`Step::Yield`], [`Step::Blocked`]: call [`Session::step`] until that
    /// returns [`Step::CopyIn`] before giving more.
    ///
    /// # Errors
    /// Data that does not fit; the rest of the stream is passed over by the server.
    fn copy_data(&mut self, portal: &mut Self::Portal, data: &[u8]) -> Result<Step, SessionError>;

    /// The stream is complete: go on with [`Session::step`] until it is done.
    ///
    /// # Errors
    /// A stream that ends in the middle of something.
    fn copy_done(&mut self, portal: &mut Self::Portal) -> Result<(), SessionError>;

    /// Commits the implicit transaction, if one is open; nothing inside of a block. [`Settled::Blocked`]: the commit waits,
    /// or takes long; to be called again when the session's waker is woken.
    ///
    /// # Errors
    /// Those of commit; the transaction is rolled back then.
    fn settle(&mut self, out: &mut Vec<u8>) -> Result<Settled, SessionError>;

    /// Whether a commit is under way that can no longer be stopped: interrupts wait until it is over.
    fn is_committing(&self) -> bool {
        false
    }

    /// An error was sent: rolls back the implicit transaction, or marks the block as failed. A gate for what was read
    /// may be gone with it: the server has looked at it before, because the error may tell of what was read.
    fn fail(&mut self);

    /// What must have happened before the output so far may be sent. `None` if it shows nothing that could be lost.
    /// Stays until something later replaces it; the server compares it with [`Database::reached`].
    fn gate(&self) -> Option<Gate>;

    /// Its output is held back until synchronous followers have acknowledged what it shows, or (false) is not any more.
    fn withheld(&mut self, _withheld: bool) {}

    /// What ReadyForQuery says.
    fn transaction_status(&self) -> TransactionStatus;

    /// Tells the settings that clients want to hear about (`GUC_REPORT`): all of them when the session begins,
    /// afterwards those that changed since the last call. Called before every ReadyForQuery, so cheap without changes.
    fn report_settings(&mut self, all: bool, report: &mut dyn FnMut(&str, &str));

    /// How long a statement may take (`statement_timeout`); the server interrupts it then.
    fn statement_timeout(&self) -> Option<std::time::Duration> {
        None
    }

    /// How long a block may stay open without a statement (`idle_in_transaction_session_timeout`).
    fn idle_in_transaction_timeout(&self) -> Option<std::time::Duration> {
        None
    }

    /// How long a session outside of a block may stay without a statement (`idle_session_timeout`).
    fn idle_session_timeout(&self) -> Option<std::time::Duration> {
        None
    }
}

/// How far a portal has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Finished.
    Done(CommandTag),
    /// As many rows as were asked for; there may be more.
    Suspended,
    /// A time slice (about 1 ms) is used up, or 64 KiB of output are produced: to be called again.
    Yield,
    /// Something has to happen first, and wakes the session's waker: a row lock that somebody else holds, work that
    /// another thread does. To be called again then, at the latest at `until`.
    Blocked {
        /// When to call again even if nothing has happened (`pg_sleep`, `lock_timeout`).
        until: Option<Instant>,
    },
    /// A COPY that wants data: once at its beginning, and after each piece.
    CopyIn(CopyFormat),
    /// A COPY that will produce data: once at its beginning, to be called again at once.
    CopyOut(CopyFormat),
}

/// How far [`Session::settle`] has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// No implicit transaction is open.
    Done,
    /// Something has to happen first, and wakes the session's waker.
    Blocked,
}

/// What CopyInResponse and CopyOutResponse say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFormat {
    /// Of the whole and of each column.
    pub format: Format,
    /// The number of columns.
    pub columns: u16,
}

/// What a reply has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// [`Database::reached`] must be here.
    pub lsn: Lsn,
    /// With what.
    pub awaited: Awaited,
    /// What waits for it.
    pub reason: GateReason,
}

/// How far a commit must have come before somebody is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// It is durable here.
    Flush,
    /// It is, and the synchronous followers have acknowledged it like this. Where there are none, that is all.
    Followers(Acknowledgement),
    /// Everybody sees it: it is confirmed, as the server's configuration asks for.
    Visibility,
}

/// Why a reply waits, which decides what a cancel request does to the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateReason {
    /// The session committed. If the wait is cancelled, the reply is sent with a warning: the commit stays.
    Commit,
    /// The reply shows rows of others that are not confirmed yet. If the wait is cancelled, it is replaced by an error.
    Read,
}

/// The state of the transaction block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No block.
    Idle,
    /// In a block.
    InBlock,
    /// In a block that failed: everything is refused until it ends.
    Failed,
}

impl TransactionStatus {
    /// As ReadyForQuery has it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InBlock => b'T',
            Self::Failed => b'E',
        }
    }
}
