//! The machine itself.

use std::time::{Duration, Instant};

use wal::Lsn;

use super::lag::LagTracker;
use super::{
    Action, Chunk, CloseReason, Finish, FollowerState, Lags, Positions, SenderConfig, TimelineSwitch,
};
use crate::error::{ServerError, SqlState};
use crate::frame::Frame;
use crate::stream::{ClientPayload, HotStandbyFeedback, PayloadError, StandbyStatus};

/// Pages are 8 KiB; messages are cut there, except at the end of what may be sent.
const PAGE: u64 = 8192;

/// One follower's stream.
#[derive(Debug)]
pub struct SenderMachine {
    config: SenderConfig,
    positions: Positions,
    /// Set when the timeline being sent is known to end; `positions.limit` is then that end.
    switch: Option<TimelineSwitch>,
    /// When the follower was last heard, or the stream began.
    last_heard: Instant,
    /// A keepalive that asks for an answer is on its way: the follower is not asked twice.
    asked: bool,
    /// The follower asked for a keepalive.
    owes_keepalive: bool,
    copy_done_sent: bool,
    copy_done_received: bool,
    /// The server stops.
    stopping: bool,
    caught_up_once: bool,
    finish: Option<Finish>,
    /// The follower's last status that nobody has taken yet.
    status: Option<StandbyStatus>,
    lag: LagTracker,
    feedback: Option<HotStandbyFeedback>,
}

impl SenderMachine {
    /// A stream that begins at `start`, of a log that is durable up to `limit`.
    pub fn new(config: SenderConfig, start: Lsn, limit: Lsn, now: Instant) -> Self {
        Self {
            config,
            positions: Positions::new(start, limit),
            switch: None,
            last_heard: now,
            asked: false,
            owes_keepalive: false,
            copy_done_sent: false,
            copy_done_received: false,
            stopping: false,
            caught_up_once: false,
            finish: None,
            status: None,
            lag: LagTracker::default(),
            feedback: None,
        }
    }

    /// The log is durable up to `limit`. Going back is ignored, as is anything once the end is fixed.
    pub fn set_limit(&mut self, limit: Lsn) {
        if self.switch.is_none() && !self.stopping {
            assert!(!self.copy_done_sent || self.copy_done_received, "a timeline that goes on has no end");
            self.positions.limit = self.positions.limit.max(limit);
        }
    }

    /// The timeline being sent ends, or turned out to have ended. What was sent beyond its end, the head of a record
    /// that never got finished, stays sent.
    pub fn end_timeline(&mut self, switch: TimelineSwitch) {
        self.switch = Some(switch);
        self.positions.limit = switch.at;
    }

    /// The server stops: whatever is durable now still goes out, and nothing after it.
    pub fn shut_down(&mut self) {
        self.stopping = true;
    }

    /// `chunk` went to the socket as a whole.
    pub fn sent(&mut self, chunk: &Chunk) {
        assert_eq!(chunk.start, self.positions.sent, "WAL is sent in order and without gaps");
        assert!(chunk.length > 0, "a chunk has WAL in it");
        let Positions { limit, .. } = self.positions;
        assert!(
            chunk.end() <= limit || self.switch.is_some(),
            "nothing is sent, {}, that is not durable, {limit}, or was on a timeline that has ended since",
            chunk.end()
        );
        assert!(!self.copy_done_sent, "no WAL follows the end of the copy");
        self.positions.sent = chunk.end();
    }

    /// A complete message of the follower. `false` if it was the last one that belongs to the stream: what the
    /// follower sent after it is for command mode.
    pub fn receive(&mut self, frame: &Frame, now: Instant) -> bool {
        self.last_heard = now;
        self.asked = false;
        match frame.tag {
            b'd' => self.receive_payload(&frame.body, now),
            b'c' => self.copy_done_received = true,
            b'X' => self.close(CloseReason::Terminated),
            other => self.refuse_type(other),
        }
        !self.copy_done_received && self.finish.is_none()
    }

    /// The follower sent a message type that has no place in a stream.
    pub fn refuse_type(&mut self, tag: u8) {
        self.refuse(format!("invalid standby message type \"{}\"", tag.escape_ascii()));
    }

    /// The follower sent something that cannot be read at all; `message` is the answer it gets.
    pub fn refuse(&mut self, message: String) {
        let error = ServerError::fatal(SqlState::PROTOCOL_VIOLATION, message);
        self.close(CloseReason::Protocol(Box::new(error)));
    }

    /// The follower closed its end of the connection.
    pub fn disconnected(&mut self) {
        self.close(CloseReason::Terminated);
    }

    fn close(&mut self, reason: CloseReason) {
        self.finish.get_or_insert(Finish::Close(reason));
    }

    fn receive_payload(&mut self, body: &[u8], now: Instant) {
        match ClientPayload::decode(body) {
            Ok(ClientPayload::Status(status)) => {
                self.positions.take(&status, self.switch.is_none());
                self.lag.reported(&self.positions, now);
                self.owes_keepalive |= status.reply_requested;
                self.status = Some(status);
            }
            Ok(ClientPayload::HotStandbyFeedback(feedback)) => self.feedback = Some(feedback),
            Err(PayloadError::UnknownType(kind)) => self.close(CloseReason::UnknownPayload(kind)),
            Err(error) => self.refuse(error.to_string()),
        }
    }

    /// What to do next. Call it again after doing it; call it only when everything that the follower has sent so far
    /// has been passed to [`receive`](Self::receive), or a follower that did answer may be taken for a silent one.
    pub fn next(&mut self, now: Instant) -> Action {
        if let Some(finish) = &self.finish {
            return Action::Finish(finish.clone());
        }
        let silence = now.saturating_duration_since(self.last_heard);
        if let Some(action) = self.too_silent(silence) {
            return action;
        }
        if let Some(action) = self.copy_done() {
            return action;
        }
        if !self.copy_done_sent {
            if self.owes_keepalive {
                return self.keepalive(false);
            }
            if self.config.timeout.is_some_and(|timeout| !self.asked && silence >= timeout / 2) {
                return self.keepalive(true);
            }
            if let Some(chunk) = self.chunk() {
                self.lag.sending(chunk.server_end, now);
                return Action::Send(chunk);
            }
            self.caught_up_once = true;
            if let Some(action) = self.drained() {
                return action;
            }
        }
        Action::Wait(self.patience(silence))
    }

    /// What to do while the socket does not take the rest of the last message: wait, or give up.
    pub fn next_while_sending(&mut self, now: Instant) -> Action {
        if let Some(finish) = &self.finish {
            return Action::Finish(finish.clone());
        }
        let silence = now.saturating_duration_since(self.last_heard);
        let patience = self.config.timeout.map(|timeout| timeout.saturating_sub(silence));
        self.too_silent(silence).unwrap_or(Action::Wait(patience))
    }

    fn too_silent(&mut self, silence: Duration) -> Option<Action> {
        if self.config.timeout.is_none_or(|timeout| silence < timeout) {
            return None;
        }
        self.close(CloseReason::Timeout);
        Some(Action::Finish(Finish::Close(CloseReason::Timeout)))
    }

    /// The end of the copy, if one side or the timeline wants it.
    fn copy_done(&mut self) -> Option<Action> {
        let timeline_is_sent = self.switch.is_some_and(|switch| self.positions.sent >= switch.at);
        if (self.copy_done_received || timeline_is_sent) && !self.copy_done_sent {
            assert!(self.finish.is_none(), "a copy ends once");
            self.copy_done_sent = true;
            return Some(Action::CopyDone);
        }
        if self.copy_done_received && self.copy_done_sent {
            let finish = Finish::CommandMode(self.switch);
            self.finish = Some(finish.clone());
            return Some(Action::Finish(finish));
        }
        None
    }

    /// Once the server stops and everything is sent: wait for the follower to have it, then end.
    fn drained(&mut self) -> Option<Action> {
        if !self.stopping {
            None
        } else if self.positions.replicated() >= self.positions.sent {
            self.finish = Some(Finish::ServerShutdown);
            self.finish.clone().map(Action::Finish)
        } else if self.asked {
            None
        } else {
            Some(self.keepalive(true))
        }
    }

    fn keepalive(&mut self, reply_requested: bool) -> Action {
        assert!(!self.copy_done_sent, "no keepalive follows the end of the copy");
        self.owes_keepalive = false;
        self.asked |= reply_requested;
        Action::Keepalive { end: self.positions.sent, reply_requested }
    }

    /// The next bytes: as many as a message takes, cut at a page unless it reaches the limit.
    fn chunk(&self) -> Option<Chunk> {
        let Positions { sent, limit, .. } = self.positions;
        if sent >= limit {
            return None;
        }
        let most = u64::from(self.config.max_chunk).max(PAGE);
        let end = match sent.checked_add(most) {
            Some(end) if end < limit => Lsn::new(end.as_u64() - end.as_u64() % PAGE),
            _ => limit,
        };
        let end = if runtime::fault::is_wanted("send what is not durable") { Lsn::MAX } else { end };
        assert!(
            sent < end && end <= limit,
            "a chunk lies between what is sent, {sent}, and what is durable, {limit}"
        );
        assert!(
            end == limit || end.as_u64().is_multiple_of(PAGE),
            "a chunk ends with a page or with what is durable"
        );
        assert!(end.bytes_since(sent) <= most, "a chunk is no longer than a message");
        let length = u32::try_from(end.bytes_since(sent)).ok()?;
        Some(Chunk { start: sent, length, server_end: limit })
    }

    /// How long until the follower must be asked, or has been silent for too long.
    fn patience(&self, silence: Duration) -> Option<Duration> {
        let timeout = self.config.timeout?;
        let until = if self.asked || self.copy_done_sent { timeout } else { timeout / 2 };
        Some(until.saturating_sub(silence))
    }

    /// Where everything is.
    pub const fn positions(&self) -> &Positions {
        &self.positions
    }

    /// How far behind the follower is, as time, by its last status.
    pub const fn lags(&self) -> Lags {
        self.lag.lags()
    }

    /// How far the follower is on its way.
    pub const fn state(&self) -> FollowerState {
        if self.positions.ahead.is_some() {
            FollowerState::Ahead
        } else if self.stopping {
            FollowerState::Stopping
        } else if self.caught_up_once {
            FollowerState::Streaming
        } else {
            FollowerState::CatchUp
        }
    }

    /// The follower's last status, once.
    pub const fn take_status(&mut self) -> Option<StandbyStatus> {
        self.status.take()
    }

    /// The follower's last hot standby feedback, once. It holds back nothing here; it is worth showing.
    pub const fn take_feedback(&mut self) -> Option<HotStandbyFeedback> {
        self.feedback.take()
    }
}
