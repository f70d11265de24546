//! Requests to a session to stop what it is doing.

use std::sync::atomic::{AtomicU8, Ordering};

use replication::error::{ServerError, SqlState};

use super::SessionError;

/// Why a statement is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Interrupt {
    /// Its client asked for it (CancelRequest, `pg_cancel_backend`).
    Cancel = 1,
    /// `statement_timeout` has passed.
    StatementTimeout = 2,
    /// The session ends: the server stops, or an administrator ended it.
    Terminate = 3,
}

impl Interrupt {
    /// What the client is told.
    pub fn to_error(self) -> SessionError {
        let cancelled = SqlState::new("57014").unwrap_or(SqlState::INTERNAL_ERROR);
        Box::new(match self {
            Self::Cancel => ServerError::error(cancelled, "canceling statement due to user request"),
            Self::StatementTimeout => {
                ServerError::error(cancelled, "canceling statement due to statement timeout")
            }
            Self::Terminate => ServerError::fatal(
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection due to administrator command",
            ),
        })
    }
}

/// One session's pending interrupt. Set from any thread, cleared by the server when a statement begins.
#[derive(Debug, Default)]
pub struct Interrupts(AtomicU8);

impl Interrupts {
    /// Asks the session to stop; the stronger of two requests counts. Wake the session too.
    pub fn raise(&self, interrupt: Interrupt) {
        self.0.fetch_max(interrupt as u8, Ordering::AcqRel);
    }

    /// What is pending.
    pub fn pending(&self) -> Option<Interrupt> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Interrupt::Cancel),
            2 => Some(Interrupt::StatementTimeout),
            _ => Some(Interrupt::Terminate),
        }
    }

    /// An error if something is pending: for the executor's loops.
    ///
    /// # Errors
    /// [`Interrupt::to_error`] of what is pending.
    pub fn check(&self) -> Result<(), SessionError> {
        match self.pending() {
            None => Ok(()),
            Some(interrupt) => Err(interrupt.to_error()),
        }
    }

    /// Forgets a request that came too late for what it was meant for; never the end of the session.
    pub fn forget(&self) {
        let _terminated = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |pending| {
            (pending != 0 && pending != Interrupt::Terminate as u8).then_some(0)
        });
    }
}
