//! The receiving side of physical streaming as a state machine without I/O.
//!
//! [`ReceiverMachine`] is told what arrived, what was written, what became durable and what time it is; it answers
//! with [`ReceiverAction`]s: statuses to send, when to make WAL durable out of turn, when to end the copy, when to
//! give up on a silent server. It holds no WAL. Source: `HandleCopyStream` in `receivelog.c`, `walreceiver.c`.
//!
//! Invariant, checked after each change: `flushed <= written <= received`, but that what was durable before the stream
//! began may lie beyond what the stream has brought; and no position ever goes back.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use wal::Lsn;

use crate::stream::{Keepalive, PgTimestamp, StandbyStatus};

/// How often a receiver that is held up reports even if statuses are sent on request only: the request may be stuck in
/// what it cannot read. Well below a server's `wal_sender_timeout`.
const HELD_UP_INTERVAL: Duration = Duration::from_secs(10);

/// When the server is told what is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushReports {
    /// Never: flush is 0/0 in every status, so the receiver is no synchronous standby and moves no slot.
    Never,
    /// With the regular statuses, and, after an extra sync, whenever the server asks: enough to move a slot.
    Regularly,
    /// With the regular statuses, by a receiver that makes things durable in its own time, such as segments when they are
    /// whole: a server that asks is told what is durable then. Only the end of the stream calls for a sync.
    AsItComes,
    /// In a status of its own right after each sync: a synchronous standby.
    AtOnce,
}

/// How one stream is to be received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceiverConfig {
    /// The first byte that the server will send.
    pub start: Lsn,
    /// What was replayed before this stream began; `None` where nothing is replayed.
    pub already_applied: Option<Lsn>,
    /// What was durable before this stream began; reported as it is until this stream makes more durable.
    pub already_durable: Lsn,
    /// When to report what is durable.
    pub flush_reports: FlushReports,
    /// The longest time between two statuses; `None`: only when there is another reason to send one.
    pub status_interval: Option<Duration>,
    /// How long the server may be silent before it is given up; it is asked for a sign of life after half of it.
    pub silence_limit: Option<Duration>,
    /// Stop once a byte past this position has been received (`--endpos`).
    pub end_position: Option<Lsn>,
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiverAction {
    /// Send this status; its time is for the sender of it to fill in.
    SendStatus(StandbyStatus),
    /// Make everything written so far durable without delay, and report it through [`ReceiverMachine::flushed`].
    Sync,
    /// Everything received is durable and reported, and no more is wanted: end the copy.
    EndCopy,
    /// The server has been silent for too long: drop the connection.
    GiveUp,
}

/// A server that does not keep to the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// WAL that does not continue what was received before.
    #[error("server sent WAL from {found}, expected {expected}")]
    OutOfOrder {
        /// Where the next byte belongs.
        expected: Lsn,
        /// What the server says its bytes are.
        found: Lsn,
    },
    /// WAL up to a position that does not exist.
    #[error("server sent WAL past the end of the address space, from {0}")]
    AddressSpace(Lsn),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Streaming,
    /// No more is wanted, and what still arrives is dropped; what was received becomes durable and is reported.
    Finishing,
    /// `EndCopy` was given out.
    Ended,
}

/// The receiving side of one stream, from START_REPLICATION's answer to the end of the copy.
#[derive(Debug)]
pub struct ReceiverMachine {
    config: ReceiverConfig,
    phase: Phase,
    /// After the last byte taken from the server; moved by [`Self::wal`].
    received: Lsn,
    /// After the last byte handed to the file system; moved by [`Self::written`], never ahead of `received`.
    written: Lsn,
    /// After the last byte known to be durable; moved by [`Self::flushed`], never ahead of `written` once this stream
    /// has moved it.
    flushed: Lsn,
    /// The end of what was replayed; moved by [`Self::applied`]. `None` where nothing is replayed.
    applied: Option<Lsn>,
    /// The server's end of WAL, by its latest message; may be behind `received`, for messages cross.
    server_end: Lsn,
    /// `written` when the last [`ReceiverAction::Sync`] was given out.
    sync_asked: Lsn,
    /// The next sync is to be reported although flushes are only reported regularly: the server asked.
    report_next_flush: bool,
    status_due: bool,
    last_status: Instant,
    last_heard: Instant,
    pinged: bool,
}

impl ReceiverMachine {
    /// A stream that the server has just agreed to; the first action is a status.
    pub fn new(config: ReceiverConfig, now: Instant) -> Self {
        Self {
            config,
            phase: Phase::Streaming,
            received: config.start,
            written: config.start,
            flushed: config.already_durable,
            applied: config.already_applied,
            server_end: Lsn::INVALID,
            sync_asked: config.start,
            report_next_flush: false,
            status_due: true,
            last_status: now,
            last_heard: now,
            pinged: false,
        }
    }

    /// WAL arrived. `Ok(true)`: keep it; `Ok(false)`: the stream is over for us, drop it.
    pub fn wal(
        &mut self,
        start: Lsn,
        len: usize,
        server_end: Lsn,
        now: Instant,
    ) -> Result<bool, ReceiveError> {
        self.heard(now);
        if self.phase != Phase::Streaming {
            return Ok(false);
        }
        if start != self.received {
            return Err(ReceiveError::OutOfOrder { expected: self.received, found: start });
        }
        self.received = start.checked_add(len as u64).ok_or(ReceiveError::AddressSpace(start))?;
        self.server_end = server_end;
        if self.config.end_position.is_some_and(|end| self.received > end) {
            self.stop();
        }
        self.check();
        Ok(true)
    }

    /// A keepalive arrived.
    pub fn keepalive(&mut self, keepalive: Keepalive, now: Instant) {
        self.heard(now);
        self.server_end = keepalive.end;
        if keepalive.reply_requested {
            // Answered at once, for the server may be about to drop us; and again when what it may be waiting for,
            // shutting down, has become durable.
            self.status_due = true;
            let syncs_on_demand = match self.config.flush_reports {
                FlushReports::Regularly | FlushReports::AtOnce => true,
                FlushReports::Never | FlushReports::AsItComes => false,
            };
            self.report_next_flush |= syncs_on_demand && self.flushed < self.written;
        }
    }

    /// Everything before `position` has been handed to the file system.
    ///
    /// Once that is what this side had durable before the stream began, the server hears of it at once: until then it does
    /// not know that what is durable here is what it has sent, and counts nothing of it.
    pub fn written(&mut self, position: Lsn) {
        let before = self.written;
        let unproven = self.written < self.config.already_durable;
        self.written = self.written.max(position).min(self.received);
        let proven = self.written >= self.config.already_durable;
        self.status_due |= unproven && proven && self.config.flush_reports == FlushReports::AtOnce;
        assert!(before <= self.written, "what is written stays so: {before}, not {}", self.written);
        self.check();
    }

    /// What holds whenever nobody is inside a call.
    fn check(&self) {
        let Self { received, written, flushed, sync_asked, .. } = *self;
        let ReceiverConfig { start, already_durable, already_applied, .. } = self.config;
        assert!(start <= received, "the stream begins at {start}, and has brought all before {received}");
        assert!(start <= written, "the stream begins at {start}, and is written up to {written}");
        assert!(written <= received, "nothing is written, {written}, that was not received, {received}");
        assert!(
            flushed <= written.max(already_durable),
            "nothing is durable, {flushed}, that was not written, {written}, or was so before, {already_durable}"
        );
        assert!(
            already_durable <= flushed,
            "what was durable before stays so: {already_durable}, not {flushed}"
        );
        assert!(sync_asked <= written, "a sync is asked for what is written, {written}, not {sync_asked}");
        assert!(already_applied <= self.applied, "what was replayed before stays so");
        let durable = flushed.max(start);
        assert!(
            self.phase != Phase::Ended || received <= durable,
            "the copy ends when all that was received, {received}, is durable, {durable}"
        );
    }

    /// Everything before `position` is durable, and therefore written, whichever of the two is heard of first.
    pub fn flushed(&mut self, position: Lsn) {
        self.written(position);
        let position = position.min(self.written);
        if position <= self.flushed {
            return;
        }
        let beyond = runtime::fault::is_wanted("report as durable what was not written");
        self.flushed = if beyond { Lsn::MAX } else { position };
        self.check();
        self.status_due |= match self.config.flush_reports {
            FlushReports::Never => false,
            FlushReports::Regularly | FlushReports::AsItComes => {
                std::mem::take(&mut self.report_next_flush) || self.phase == Phase::Finishing
            }
            FlushReports::AtOnce => true,
        };
    }

    /// Everything before `position` has been replayed. The server hears of it at once when replay has caught up with what
    /// is durable, which a commit may be waiting for, and with the next status otherwise.
    pub fn applied(&mut self, position: Lsn) {
        if self.applied.is_some_and(|before| position > before) {
            self.applied = Some(position);
            self.check();
            self.status_due |= position >= self.flushed && self.config.flush_reports == FlushReports::AtOnce;
        }
    }

    /// The stream is to end in good order: everything received is made durable and reported first.
    pub fn stop(&mut self) {
        if self.phase == Phase::Streaming {
            self.phase = Phase::Finishing;
            self.status_due = true;
            // The end depends on this one: it is asked for whatever became of an earlier one.
            self.sync_asked = self.flushed.max(self.config.start).min(self.written);
        }
    }

    /// Reading was held up on our side (a full disk queue); that is not the server's silence.
    pub fn reading_was_held_up(&mut self, now: Instant) {
        self.last_heard = self.last_heard.max(now);
    }

    /// What is to be done now; to be called until it has nothing more.
    pub fn poll(&mut self, now: Instant) -> Option<ReceiverAction> {
        if self.phase == Phase::Ended {
            return None;
        }
        if let Some(limit) = self.config.silence_limit {
            let silence = now.saturating_duration_since(self.last_heard);
            if silence >= limit {
                return Some(ReceiverAction::GiveUp);
            }
            if silence >= limit / 2 && !self.pinged {
                self.pinged = true;
                return Some(ReceiverAction::SendStatus(self.status(now, true)));
            }
        }
        let elapsed = now.saturating_duration_since(self.last_status);
        if self.status_due || self.config.status_interval.is_some_and(|interval| elapsed >= interval) {
            return Some(ReceiverAction::SendStatus(self.status(now, false)));
        }
        let durable = self.flushed.max(self.config.start);
        let sync_wanted = self.phase == Phase::Finishing || self.report_next_flush;
        if sync_wanted && durable < self.written && self.sync_asked < self.written {
            assert!(self.sync_asked < self.written, "a sync is asked for once");
            self.sync_asked = self.written;
            return Some(ReceiverAction::Sync);
        }
        if self.phase == Phase::Finishing && durable >= self.received {
            self.phase = Phase::Ended;
            self.check();
            return Some(ReceiverAction::EndCopy);
        }
        None
    }

    /// Whether a status is due, whenever [`Self::poll`] or [`Self::status_due`] is called next.
    pub const fn is_status_due(&self) -> bool {
        self.status_due
    }

    /// The status that has become due by what was reported since the last poll, for whoever reported it to send at
    /// once; everything else is left to [`Self::poll`].
    pub fn status_due(&mut self, now: Instant) -> Option<StandbyStatus> {
        if self.phase == Phase::Ended || !self.status_due {
            return None;
        }
        Some(self.status(now, false))
    }

    /// The status that the interval calls for, for a receiver that is held up by its own disk and must not fall silent.
    pub fn interval_status(&mut self, now: Instant) -> Option<StandbyStatus> {
        let interval = self.config.status_interval.unwrap_or(HELD_UP_INTERVAL);
        let due = now.saturating_duration_since(self.last_status) >= interval;
        (due && self.phase != Phase::Ended).then(|| self.status(now, false))
    }

    /// Whether the stream is coming to its end, so that what was reported has to be followed by a poll.
    pub fn is_finishing(&self) -> bool {
        self.phase == Phase::Finishing
    }

    /// When [`Self::poll`] may have something without anything happening before.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.phase == Phase::Ended {
            return None;
        }
        let status = self.config.status_interval.map(|interval| self.last_status + interval);
        let silence = self
            .config
            .silence_limit
            .map(|limit| if self.pinged { self.last_heard + limit } else { self.last_heard + limit / 2 });
        [status, silence].into_iter().flatten().min()
    }

    /// After the last byte taken from the server.
    pub const fn received(&self) -> Lsn {
        self.received
    }

    /// How many bytes the server has, as far as it said, that have not been received.
    pub const fn behind(&self) -> u64 {
        self.server_end.bytes_since(self.received)
    }

    /// Whether [`ReceiverAction::EndCopy`] has been given out.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    fn heard(&mut self, now: Instant) {
        self.last_heard = self.last_heard.max(now);
        self.pinged = false;
    }

    fn reports_flush(&self) -> bool {
        self.config.flush_reports != FlushReports::Never
    }

    fn status(&mut self, now: Instant, reply_requested: bool) -> StandbyStatus {
        self.check();
        self.status_due = false;
        self.last_status = now;
        StandbyStatus {
            write: self.written,
            flush: if self.reports_flush() { self.flushed } else { Lsn::INVALID },
            apply: self.applied.unwrap_or(Lsn::INVALID),
            time: PgTimestamp::default(),
            reply_requested,
        }
    }
}
