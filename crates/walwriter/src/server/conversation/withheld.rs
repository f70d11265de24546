//! Answers that are not sent yet, because they show commits that could still be lost.
//!
//! Output is made in pieces, and each is held against the gate that the session shows right after it; if the piece ends
//! with an error, against what it showed right before, because the session forgets what a failed statement has read, but
//! the rows before the error, and the error itself (that a key exists, say), tell of it. While a piece is held, nothing
//! more is executed for the client, so there is never more than one gate, and never a piece behind the held one.
//!
//! Who stops a statement does not wait for what it has read: all that its last piece has appended is taken back.
//! Source: `replication/syncrep.c` (`SyncRepWaitForLSN`).

use std::time::Instant;

use replication::error::{ServerError, SqlState};
use wal::Lsn;

use super::{Conversation, Progress};
use crate::protocol::backend;
use crate::session::{Awaited, Gate, GateReason, Interrupt, Session};

/// What a reply waited for that shows what others have committed.
const UNCONFIRMED: &str =
    "The reply shows commits that are not confirmed yet, by a synchronous standby if one is configured.";

/// The piece of output that is held back, and what is not waited for any more.
#[derive(Debug)]
pub(super) struct Withheld {
    /// What the output waits for, and where in it the piece begins that does. Not beyond the end of the output.
    held: Option<(Gate, usize)>,
    /// Where in the output the piece begins that is being made, while one is.
    piece: Option<usize>,
    /// The gate of a transaction that has failed in the piece at hand.
    forgotten: Option<Gate>,
    /// The latest piece of output ended with ReadyForQuery.
    readied: bool,
    /// Own commits up to here are not waited for any more: they have come as far as they had to, or the client cancelled
    /// the wait. Only moves forward.
    settled: Lsn,
}

impl Default for Withheld {
    fn default() -> Self {
        Self { held: None, piece: None, forgotten: None, readied: false, settled: Lsn::INVALID }
    }
}

impl Withheld {
    pub(super) fn begin_piece(&mut self, out: &[u8]) {
        (self.piece, self.readied, self.forgotten) = (Some(out.len()), false, None);
    }

    /// The piece ends with ReadyForQuery.
    pub(super) fn piece_is_ready(&mut self) {
        self.readied = true;
    }

    /// The piece ends with an error: the session forgets the gate that it has shown.
    pub(super) fn piece_fails(&mut self, shown: Option<Gate>) {
        self.forgotten = shown;
    }

    /// Takes back what the piece at hand has appended.
    pub(super) fn take_back_piece(&self, out: &mut Vec<u8>) {
        if let Some(from) = self.piece {
            out.truncate(from);
        }
    }

    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Whether what a gate waits for has come. What a commit waited for once is not asked for again.
    pub(super) fn is_open(&mut self, gate: Gate, reached: &impl Fn(Awaited) -> Lsn) -> bool {
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

    /// Takes the held piece out of the output: it is never sent.
    pub(super) fn cut_off(&mut self, out: &mut Vec<u8>) {
        if let Some((_, from)) = self.held.take() {
            out.truncate(from);
        }
    }
}

impl<S: Session> Conversation<S> {
    /// A piece of work is done: holds back what it has appended if that has to wait.
    pub(super) fn end_piece(&mut self, out: &[u8], reached: &impl Fn(Awaited) -> Lsn) -> Option<Progress> {
        let from = self.withheld.piece.take().filter(|from| out.len() > *from)?;
        let gate = self.closed_gate(reached)?;
        self.withheld.held = Some((gate, from));
        if gate.reason == GateReason::Read {
            self.start_clock();
        }
        Some(Progress::Gated(gate, self.gate_deadline(gate)))
    }

    /// What the piece has to wait for.
    fn closed_gate(&mut self, reached: &impl Fn(Awaited) -> Lsn) -> Option<Gate> {
        if let Some(forgotten) = self.withheld.forgotten
            && !self.withheld.is_open(forgotten, reached)
        {
            return Some(forgotten);
        }
        self.session.gate().filter(|gate| !self.withheld.is_open(*gate, reached))
    }

    /// Tells the client of a setting: before what is held back, because that may come to nothing.
    pub(in crate::server) fn announce(&mut self, out: &mut Vec<u8>, name: &str, value: &str) {
        match &mut self.withheld.held {
            None => backend::parameter_status(out, name, value),
            Some((_, from)) => {
                *from = put_before(out, *from, |out| backend::parameter_status(out, name, value));
            }
        }
    }

    /// What the output waits for has not come with this server's own flush.
    pub(in crate::server) fn stays_withheld(&mut self) {
        let held = self.withheld.held.as_ref();
        if held.is_some_and(|(gate, _)| gate.awaited != Awaited::Flush) {
            self.session.withheld(true);
        }
    }

    /// What the output waited for has come.
    pub(in crate::server) fn gate_opened(&mut self) {
        self.session.withheld(false);
        if let Some((gate, _)) = self.withheld.held.take() {
            self.withheld.pass(gate);
        }
        if self.running.is_none() {
            self.clock.stop();
        }
    }

    /// Until when a gate may stay closed. A statement that has committed is over: its time does not count any more.
    fn gate_deadline(&self, gate: Gate) -> Option<Instant> {
        self.clock.deadline().filter(|_| gate.reason == GateReason::Read)
    }

    /// Whether a gate is still closed. A cancel request opens it: with a warning if the session's own commit waits,
    /// with an error in place of what it has read of others.
    pub(super) fn check_gate(
        &mut self,
        out: &mut Vec<u8>,
        reached: &impl Fn(Awaited) -> Lsn,
    ) -> Option<Progress> {
        let (gate, from) = self.withheld.held?;
        if self.withheld.is_open(gate, reached) {
            self.gate_opened();
            return None;
        }
        if gate.reason == GateReason::Read && self.clock.has_run_out() {
            self.interrupts.raise(Interrupt::StatementTimeout);
        }
        match self.interrupts.pending() {
            None => Some(Progress::Gated(gate, self.gate_deadline(gate))),
            Some(Interrupt::Terminate) => None,
            Some(interrupt) => {
                self.interrupts.forget();
                self.session.withheld(false);
                match gate.reason {
                    GateReason::Commit => {
                        self.withheld.held = None;
                        self.withheld.pass(gate);
                        put_before(out, from, |out| backend::notice(out, &unconfirmed_commit()));
                        None
                    }
                    GateReason::Read => {
                        self.withheld.cut_off(out);
                        // If ReadyForQuery was cut off with the rest, it comes after the error.
                        self.cycle.open |= self.withheld.readied;
                        let error = interrupt.to_error().detail(UNCONFIRMED);
                        Some(self.report(out, &error))
                    }
                }
            }
        }
    }
}

/// What a client is told whose commit is durable here, but not yet where else it should be.
fn unconfirmed_commit() -> ServerError {
    let code = SqlState::new("01000").unwrap_or(SqlState::SUCCESSFUL_COMPLETION);
    let message = "canceling wait for synchronous replication due to user request";
    ServerError::with_severity("WARNING", code, message).detail(
        "The transaction has already committed locally, but might not have been replicated to the standby.",
    )
}

/// Has `append` put messages before those that begin at `from`. Returns where these begin now.
fn put_before(out: &mut Vec<u8>, from: usize, append: impl FnOnce(&mut Vec<u8>)) -> usize {
    let behind = out.split_off(from.min(out.len()));
    append(out);
    let from = out.len();
    out.extend_from_slice(&behind);
    from
}
