//! A client that was let in: its messages, executed by its session, as a machine without I/O.
//!
//! [`Conversation::advance`] reads messages from the front of an [`Input`] and appends answers to a buffer until it has
//! to wait for something, and says what for. Source: `tcop/postgres.c` (`PostgresMain`, `exec_simple_query`,
//! `exec_execute_message`), `commands/copyfromparse.c` (`CopyGetData`).
//!
//! Invariants: what is appended behind a gate that is not open is not sent; at most one portal runs; CopyData is handed
//! on as it arrives, however long the message; a message of any other type is held until it is complete, unless it is
//! passed over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use replication::error::{ServerError, SqlState};
use wal::Lsn;

use super::input::Input;
use super::portal::{Named, OpenPortal};
use crate::protocol::{FrontendMessage, backend, peek};
use crate::session::{
    Awaited, CommandTag, Gate, GateReason, Interrupt, Interrupts, Session, SessionError, Settled, Step,
    TransactionStatus,
};

/// How much output may wait for a slow reader before nothing more is executed for it.
pub(super) const OUTPUT_LIMIT: usize = 256 * 1024;
/// How much of a COPY is handed on at once.
const COPY_PIECE: usize = 64 * 1024;

/// What a reply waited for that shows what others have committed.
const UNCONFIRMED: &str =
    "The reply shows commits that are not confirmed yet, by a synchronous standby if one is configured.";

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
    pub(super) session: S,
    pub(super) interrupts: Arc<Interrupts>,
    pub(super) statements: Named<Arc<S::Prepared>>,
    pub(super) portals: Named<OpenPortal<S>>,
    pub(super) running: Option<Running<S>>,
    /// The statements of a Query that are still to be executed.
    pub(super) queue: VecDeque<S::Statement>,
    /// Whether a Query, or a Sync, is being executed: it ends with ReadyForQuery, whatever happens.
    pub(super) in_query: bool,
    /// What the last statement of a Query has done: told once its commit is done.
    pub(super) done: Option<CommandTag>,
    /// The commit at its end has begun, and waits.
    settling: bool,
    /// After an error in the extended protocol: everything is passed over until Sync.
    pub(super) skipping: bool,
    /// How much of a message whose header was read is still to come: handed on if it is CopyData for the running COPY,
    /// passed over if not.
    body_left: usize,
    /// When the statement has taken too long. Set once it has taken longer than one step.
    deadline: Option<Instant>,
    /// What the output waits for, and where the part of it begins that does.
    gate: Option<(Gate, usize)>,
    /// The latest piece of output ended with ReadyForQuery.
    readied: bool,
    /// Own commits up to here are not waited for any more: they have come as far as they had to, or the client cancelled
    /// the wait.
    settled: Lsn,
    pub(super) parameter_types: Vec<u32>,
}

/// The portal that runs.
pub(super) struct Running<S: Session> {
    pub(super) portal: OpenPortal<S>,
    /// The portal's name if it runs because of an Execute; `None` in a Query.
    pub(super) name: Option<Box<str>>,
    pub(super) rows_left: u64,
    pub(super) copy: Copying,
}

/// What a running COPY does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copying {
    /// It is none, or has not begun.
    No,
    /// Waits for data.
    In,
    /// Has data to work on.
    InBusy,
    /// Produces data.
    Out,
}

impl<S: Session> Conversation<S> {
    pub(super) fn new(session: S, interrupts: Arc<Interrupts>) -> Self {
        Self {
            session,
            interrupts,
            statements: Named::new(),
            portals: Named::new(),
            running: None,
            queue: VecDeque::new(),
            in_query: false,
            done: None,
            settling: false,
            skipping: false,
            body_left: 0,
            deadline: None,
            gate: None,
            readied: false,
            settled: Lsn::INVALID,
            parameter_types: Vec::new(),
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
            let before = out.len();
            self.readied = false;
            let progress = self.advance_once(input, out);
            if progress == Some(Progress::Close) {
                return Progress::Close;
            }
            // Every piece of output is held against the gate that the session shows right after it.
            if let Some(gate) = self.session.gate()
                && out.len() > before
                && !self.is_open(gate, &reached)
            {
                self.gate = Some((gate, before));
                if gate.reason == GateReason::Read {
                    self.start_clock();
                }
                return Progress::Gated(gate, self.gate_deadline(gate));
            }
            if let Some(progress) = progress {
                return progress;
            }
        }
    }

    /// Whether the next thing to do is to read a message.
    pub(super) fn reads_next(&self) -> bool {
        match &self.running {
            Some(running) => running.copy == Copying::In,
            None => !self.in_query,
        }
    }

    /// Whether what a gate waits for has come. What a commit waited for once is not asked for again.
    fn is_open(&mut self, gate: Gate, reached: &impl Fn(Awaited) -> Lsn) -> bool {
        if gate.reason == GateReason::Commit && gate.lsn <= self.settled {
            return true;
        }
        let is_open = reached(gate.awaited) >= gate.lsn;
        if is_open {
            self.pass(gate);
        }
        is_open
    }

    fn pass(&mut self, gate: Gate) {
        if gate.reason == GateReason::Commit {
            self.settled = self.settled.max(gate.lsn);
        }
    }

    /// What the output waited for has come.
    pub(super) fn gate_opened(&mut self) {
        if let Some((gate, _)) = self.gate.take() {
            self.pass(gate);
        }
        if self.running.is_none() {
            self.deadline = None;
        }
    }

    /// Until when a gate may stay closed. A statement that has committed is over: its time does not count any more.
    fn gate_deadline(&self, gate: Gate) -> Option<Instant> {
        self.deadline.filter(|_| gate.reason == GateReason::Read)
    }

    /// Whether nothing is being executed and nothing is half received.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && !self.in_query && self.gate.is_none()
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

    /// The last message of a connection.
    fn farewell(&mut self, out: &mut Vec<u8>, error: &ServerError) -> Progress {
        if let Some((_, from)) = self.gate.take() {
            out.truncate(from);
        }
        self.running = None;
        self.session.fail();
        backend::error(out, error);
        Progress::Close
    }

    /// Whether a gate is still closed. A cancel request opens it: with a warning if the session's own commit waits,
    /// with an error in place of what it has read of others.
    fn check_gate(&mut self, out: &mut Vec<u8>, reached: &impl Fn(Awaited) -> Lsn) -> Option<Progress> {
        let (gate, from) = self.gate?;
        if self.is_open(gate, reached) {
            self.gate_opened();
            return None;
        }
        let deadline = self.gate_deadline(gate);
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.interrupts.raise(Interrupt::StatementTimeout);
        }
        match self.interrupts.pending() {
            None => Some(Progress::Gated(gate, deadline)),
            Some(Interrupt::Terminate) => None,
            Some(interrupt) => {
                self.gate = None;
                self.interrupts.forget();
                match gate.reason {
                    GateReason::Commit => {
                        self.pass(gate);
                        warn_unconfirmed(out, from);
                    }
                    GateReason::Read => {
                        out.truncate(from);
                        // If ReadyForQuery was cut off with the rest, it comes after the error.
                        self.in_query |= self.readied;
                        let error = interrupt.to_error().detail(UNCONFIRMED);
                        return Some(self.report(out, &error));
                    }
                }
                None
            }
        }
    }

    /// Executes one step or reads one message. `None`: and on.
    fn advance_once(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Option<Progress> {
        match &self.running {
            Some(running) if running.copy == Copying::In => self.read_message(input, out),
            Some(_) => self.run(out),
            None if self.in_query && self.queue.is_empty() => self.settle(out),
            None if self.in_query => self.next_statement(out),
            None => self.read_message(input, out),
        }
    }

    fn read_message(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Option<Progress> {
        if self.body_left > 0 {
            return self.read_piece(input, out);
        }
        let pending = input.pending();
        let frame = match peek(pending) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Some(Progress::Input(0)),
            Err(error) => {
                let error = ServerError::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string());
                return Some(self.farewell(out, &error));
            }
        };
        let passed_over = self.skipping && !matches!(frame.tag, b'S' | b'X');
        if frame.tag == b'd' || passed_over {
            self.body_left = frame.body_size();
            input.consume(frame.size - frame.body_size());
            return None;
        }
        let Some(body) = frame.body(pending) else { return Some(Progress::Input(frame.size)) };
        let progress = match FrontendMessage::decode(frame.tag, body) {
            Ok(message) if self.running.is_some() => self.during_copy(frame.tag, message, out),
            Ok(message) => self.handle(message, out),
            Err(error) => {
                self.in_query = frame.tag == b'Q';
                let error = ServerError::error(super::messages::code_of(error), error.to_string());
                self.report_and_go_on(out, &error)
            }
        };
        input.consume(frame.size);
        progress
    }

    /// A piece of a message whose header was read: of CopyData, or of something that is passed over.
    fn read_piece(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Option<Progress> {
        let pending = input.pending();
        let length = pending.len().min(self.body_left).min(COPY_PIECE);
        let Some(piece) = pending.get(..length).filter(|piece| !piece.is_empty()) else {
            return Some(Progress::Input(0));
        };
        let mut failed = None;
        if let Some(running) = &mut self.running
            && let Some(execution) = &mut running.portal.execution
        {
            match self.session.copy_data(execution, piece) {
                Ok(Step::CopyIn(_)) => {}
                Ok(_) => running.copy = Copying::InBusy,
                Err(error) => failed = Some(error),
            }
        }
        self.body_left -= length;
        input.consume(length);
        failed.and_then(|error| self.report_and_go_on(out, &error))
    }

    /// A message while a COPY waits for data.
    fn during_copy(&mut self, tag: u8, message: FrontendMessage<'_>, out: &mut Vec<u8>) -> Option<Progress> {
        match message {
            FrontendMessage::CopyDone => {
                let running = self.running.as_mut()?;
                running.copy = Copying::InBusy;
                let done = self.session.copy_done(running.portal.execution.as_mut()?);
                done.err().and_then(|error| self.report_and_go_on(out, &error))
            }
            FrontendMessage::CopyFail(reason) => {
                let message = format!("COPY from stdin failed: {reason}");
                self.report_and_go_on(out, &super::portal::error("57014", message))
            }
            // Sent by clients that do not know yet that this is a COPY.
            FrontendMessage::Flush | FrontendMessage::Sync => None,
            FrontendMessage::Terminate => Some(Progress::Close),
            _ => {
                let message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
                self.report_and_go_on(out, &ServerError::error(SqlState::PROTOCOL_VIOLATION, message))
            }
        }
    }

    /// Executes a step of what runs.
    fn run(&mut self, out: &mut Vec<u8>) -> Option<Progress> {
        if let Err(error) = self.check_interrupts() {
            return self.report_and_go_on(out, &error);
        }
        let committing = self.session.is_committing();
        let running = self.running.as_mut()?;
        let Some(execution) = &mut running.portal.execution else {
            // A portal that has run to its end returns no more rows.
            return self.complete(CommandTag::Rows("SELECT", 0), out);
        };
        match self.session.step(execution, out, &mut running.rows_left) {
            Ok(Step::Done(_)) if self.interrupts.pending() == Some(Interrupt::Terminate) => {
                // It may have been the statement itself that has asked for it, and that is to know no success.
                return Some(self.farewell(out, &Interrupt::Terminate.to_error()));
            }
            Ok(Step::Done(tag)) => {
                running.portal.execution = None;
                if committing {
                    // What came meanwhile came too late.
                    self.interrupts.forget();
                }
                return self.complete(tag, out);
            }
            Ok(Step::Suspended) => {
                self.put_back();
                backend::portal_suspended(out);
            }
            Ok(Step::Yield) => {
                self.start_clock();
                return Some(Progress::Yield);
            }
            Ok(Step::Blocked { until }) => {
                self.start_clock();
                return Some(Progress::Blocked(earliest(until, self.deadline)));
            }
            Ok(Step::CopyIn(format)) => {
                if running.copy == Copying::No {
                    backend::copy_in_response(out, format);
                }
                running.copy = Copying::In;
            }
            Ok(Step::CopyOut(format)) => {
                if running.copy == Copying::No {
                    backend::copy_out_response(out, format);
                }
                running.copy = Copying::Out;
            }
            Err(error) => return self.report_and_go_on(out, &error),
        }
        None
    }

    /// The running portal has run to its end.
    fn complete(&mut self, tag: CommandTag, out: &mut Vec<u8>) -> Option<Progress> {
        let running = self.running.take()?;
        self.deadline = None;
        if running.copy == Copying::Out {
            backend::copy_done(out);
        }
        if let Some(name) = &running.name {
            backend::command_complete(out, tag);
            self.portals.put(name, running.portal);
            return None;
        }
        if self.queue.is_empty() {
            // The commit comes before the client is told that the command is complete, because it may fail.
            self.done = Some(tag);
            return self.settle(out);
        }
        backend::command_complete(out, tag);
        None
    }

    /// The end of a Query, or a Sync: commits what is not in a block, and says that it is ready for more.
    pub(super) fn settle(&mut self, out: &mut Vec<u8>) -> Option<Progress> {
        // What comes when everything is done but the commit is too late, unless that has to wait.
        let interrupted = if self.settling { self.check_interrupts() } else { Ok(()) };
        let committing = self.session.is_committing();
        let settled = interrupted.and_then(|()| self.session.settle(out));
        match settled {
            Ok(Settled::Done) if committing => self.interrupts.forget(),
            Ok(Settled::Done) => {}
            Ok(Settled::Blocked) => {
                self.settling = true;
                self.start_clock();
                return Some(Progress::Blocked(self.deadline));
            }
            Err(error) => return self.report_and_go_on(out, &error),
        }
        self.settling = false;
        self.deadline = None;
        if let Some(tag) = self.done.take() {
            backend::command_complete(out, tag);
        }
        self.in_query = false;
        self.ready(out);
        None
    }

    /// An error if what is being done is to be stopped.
    fn check_interrupts(&mut self) -> Result<(), SessionError> {
        if self.session.is_committing() {
            return Ok(());
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.interrupts.raise(Interrupt::StatementTimeout);
        }
        self.interrupts.check()
    }

    fn put_back(&mut self) {
        self.deadline = None;
        if let Some(Running { portal, name: Some(name), .. }) = self.running.take() {
            self.portals.put(&name, portal);
        }
    }

    fn start_clock(&mut self) {
        if self.deadline.is_none()
            && let Some(timeout) = self.session.statement_timeout()
        {
            self.deadline = Instant::now().checked_add(timeout);
        }
    }

    /// Sends an error, and takes the state to where the protocol goes on after it.
    pub(super) fn report(&mut self, out: &mut Vec<u8>, error: &ServerError) -> Progress {
        self.running = None;
        (self.done, self.settling) = (None, false);
        self.deadline = None;
        self.queue.clear();
        if error.is_fatal() {
            return self.farewell(out, error);
        }
        self.session.fail();
        self.interrupts.forget();
        backend::error(out, error);
        if std::mem::take(&mut self.in_query) {
            self.ready(out);
        } else {
            self.skipping = true;
        }
        Progress::Yield
    }

    /// [`Conversation::report`], and on with the next message unless the connection is over.
    pub(super) fn report_and_go_on(&mut self, out: &mut Vec<u8>, error: &ServerError) -> Option<Progress> {
        Some(self.report(out, error)).filter(|progress| *progress == Progress::Close)
    }

    /// ReadyForQuery, and what comes with it.
    pub(super) fn ready(&mut self, out: &mut Vec<u8>) {
        self.session.report_settings(false, &mut |name, value| backend::parameter_status(out, name, value));
        let status = self.session.transaction_status();
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        backend::ready_for_query(out, status);
        self.readied = true;
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Puts a warning before the reply of a commit that is durable here, but not yet where else it should be.
fn warn_unconfirmed(out: &mut Vec<u8>, from: usize) {
    let reply = out.split_off(from.min(out.len()));
    let code = SqlState::new("01000").unwrap_or(SqlState::SUCCESSFUL_COMPLETION);
    let message = "canceling wait for synchronous replication due to user request";
    let warning = ServerError::with_severity("WARNING", code, message).detail(
        "The transaction has already committed locally, but might not have been replicated to the standby.",
    );
    backend::notice(out, &warning);
    out.extend_from_slice(&reply);
}
