//! A client that was let in: its messages, executed by its session, as a machine without I/O.
//!
//! [`Conversation::advance`] reads messages from the front of an [`Input`] and appends answers to a buffer until it has
//! to wait for something, and says what for. It goes on in small pieces of work, each of them by one of these: `reading`
//! takes messages off the input, and `copying` those of a COPY; `query` and `extended` are the two protocols in which
//! statements are asked for; `execution` runs their portals; `settling` ends a Query or a Sync; `failure` finds the way
//! back after an error. What each piece has answered is held back by `withheld` for as long as it shows what could still
//! be lost. Source: `tcop/postgres.c` (`PostgresMain`, `exec_simple_query`, `exec_execute_message`).
//!
//! Invariants: what is appended behind a gate that is not open is not sent; at most one portal runs; CopyData is handed
//! on as it arrives, however long the message; a message of any other type is held until it is complete, unless it is
//! passed over.

mod clock;
mod copying;
mod execution;
mod extended;
mod failure;
mod named;
mod query;
mod reading;
mod settling;
mod withheld;

use std::sync::Arc;
use std::time::{Duration, Instant};

use replication::error::{ServerError, SqlState};
use wal::Lsn;

use super::input::Input;
use crate::session::{Awaited, Gate, Interrupt, Interrupts, Session, TransactionStatus};
use clock::StatementClock;
use copying::Copying;
use execution::Running;
use extended::Extended;
use settling::Cycle;
use withheld::Withheld;

/// How much output may wait for a slow reader before nothing more is executed for it.
const OUTPUT_LIMIT: usize = 256 * 1024;

/// Why a conversation does not go on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// For the rest of a message, of at least this size, or for a next one (0).
    Input(usize),
    /// It may go on at once, but others come first.
    Yield,
    /// For the session's waker, at the latest until then.
    Blocked(Option<Instant>),
    /// For a gate to open, at the latest until then; everything appended is held back meanwhile.
    Gated(Gate, Option<Instant>),
    /// For the output to be read.
    Output,
    /// It is over: what has been appended is sent, then the socket is closed.
    Close,
}

pub(super) struct Conversation<S: Session> {
    session: S,
    pub(super) interrupts: Arc<Interrupts>,
    /// How much of a message whose header was read is still to come: handed on if it is CopyData for the running COPY,
    /// passed over if not. Moved by `reading` alone.
    body_left: usize,
    extended: Extended<S>,
    cycle: Cycle<S::Statement>,
    running: Option<Running<S>>,
    clock: StatementClock,
    withheld: Withheld,
}

impl<S: Session> Conversation<S> {
    pub(super) fn new(session: S, interrupts: Arc<Interrupts>) -> Self {
        Self {
            session,
            interrupts,
            body_left: 0,
            extended: Extended::new(),
            cycle: Cycle::new(),
            running: None,
            clock: StatementClock::default(),
            withheld: Withheld::default(),
        }
    }

    /// Goes on until it has to wait.
    pub(super) fn advance(
        &mut self,
        input: &mut Input,
        out: &mut Vec<u8>,
        reached: impl Fn(Awaited) -> Lsn,
    ) -> Progress {
        if let Some(progress) = self.check_gate(out, &reached) {
            return progress;
        }
        loop {
            if self.interrupts.pending() == Some(Interrupt::Terminate) {
                return self.farewell(out, &Interrupt::Terminate.to_error());
            }
            if out.len() > OUTPUT_LIMIT {
                return Progress::Output;
            }
            self.withheld.begin_piece(out);
            let progress = self.advance_once(input, out);
            if progress == Some(Progress::Close) {
                return Progress::Close;
            }
            if let Some(progress) = self.end_piece(out, &reached) {
                return progress;
            }
            if let Some(progress) = progress {
                return progress;
            }
        }
    }

    /// Executes one step or reads one message. `None`: and on.
    fn advance_once(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Option<Progress> {
        match &self.running {
            Some(running) if running.copy == Copying::In => self.read_message(input, out),
            Some(_) => self.run(out),
            None if self.cycle.is_at_end() => self.settle(out),
            None if self.cycle.open => self.next_statement(out),
            None => self.read_message(input, out),
        }
    }

    /// Whether the next thing to do is to read a message.
    pub(super) fn reads_next(&self) -> bool {
        match &self.running {
            Some(running) => running.copy == Copying::In,
            None => !self.cycle.open,
        }
    }

    /// Whether nothing is being executed and no answer is held back.
    fn is_idle(&self) -> bool {
        self.running.is_none() && !self.cycle.open && !self.withheld.is_holding()
    }

    /// After how long without a message the session has to end.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        match self.session.transaction_status() {
            _ if !self.is_idle() => None,
            TransactionStatus::Idle => self.session.idle_session_timeout(),
            _ => self.session.idle_in_transaction_timeout(),
        }
    }

    /// That time has passed.
    pub(super) fn idle_timeout_passed(&mut self, out: &mut Vec<u8>) -> Progress {
        let (code, message) = match self.session.transaction_status() {
            TransactionStatus::Idle => ("57P05", "terminating connection due to idle-session timeout"),
            _ => ("25P03", "terminating connection due to idle-in-transaction timeout"),
        };
        let code = SqlState::new(code).unwrap_or(SqlState::ADMIN_SHUTDOWN);
        self.farewell(out, &ServerError::fatal(code, message))
    }
}
