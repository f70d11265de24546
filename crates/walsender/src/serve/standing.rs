//! What others see of a follower: its entry in the directory's table, its slot, and the log.

use std::time::{Duration, Instant};

use replication::sender::{FollowerState as State, Lags, Positions, SenderMachine};
use replication::waldir::{Follower, FollowerEntry, FollowerState, UnixMicros, WalDir};
use tracing::{debug, error, info, warn};
use wal::{Lsn, TimelineId};

use super::FollowersMoved;
use super::connection::Peer;
use super::slots::SlotInUse;

/// How stale the table may be while a follower catches up.
const INTERVAL: Duration = Duration::from_millis(100);

/// A follower's standing.
#[derive(Debug)]
pub(super) struct Standing {
    peer: String,
    timeline: TimelineId,
    entry: Option<FollowerEntry>,
    slot: Option<SlotInUse>,
    state: Option<State>,
    reported_at: Option<Instant>,
    moved: FollowersMoved,
    ahead: Ahead,
    /// That the slot's position could not be written down has been said.
    slot_is_behind: bool,
}

/// A follower that may claim more than there is.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) application_name: String,
    pub(super) peer: String,
    pub(super) timeline: TimelineId,
    /// Whether the log is received here from elsewhere: then there may be more of it there.
    pub(super) received: bool,
}

impl Ahead {
    /// Says for people that it has the timeline up to `claimed`, of which there is `end` here.
    pub(super) fn say(&self, claimed: Lsn, end: Lsn) {
        let Self { application_name: name, peer, timeline, received } = self;
        if *received {
            warn!(
                "follower \"{name}\" at {peer} has WAL of timeline {timeline} up to {claimed}, which is not here: this \
                 directory's ends at {end}; what it says counts once it has received that from here"
            );
        } else {
            error!(
                "follower \"{name}\" at {peer} has WAL of timeline {timeline} up to {claimed}, but the log of this server ends \
                 at {end}: this server has lost WAL, or was started from an older copy of its directory; what waits for this \
                 follower goes on waiting. To keep what it has, stop this server and promote the follower; to give that up, \
                 provision the follower anew"
            );
        }
    }
}

impl Standing {
    /// Enters a follower that begins to stream. Where the table cannot be written it is served all the same, and where it may
    /// not be, `dir` is `None`.
    pub(super) fn register(
        dir: Option<&WalDir>,
        peer: &Peer,
        slot: Option<SlotInUse>,
        timeline: TimelineId,
        start: Lsn,
        moved: FollowersMoved,
        ahead: Ahead,
    ) -> Self {
        let slot_name = slot.as_ref().map_or("", SlotInUse::name);
        let mut follower = Follower::new(&peer.application_name, &peer.address, slot_name);
        peer.user.clone_into(&mut follower.user);
        follower.timeline = timeline;
        follower.sent = start;
        let entry = dir.and_then(|dir| {
            let entry = FollowerEntry::register(dir, follower);
            entry
                .inspect_err(
                    |error| warn!(peer = %peer.address, %error, "could not enter the follower in the table"),
                )
                .ok()
        });
        Self {
            peer: peer.address.clone(),
            timeline,
            entry,
            slot,
            state: None,
            reported_at: None,
            moved,
            ahead,
            slot_is_behind: false,
        }
    }

    /// Passes on what the follower said, and how far it is. `last` when it goes.
    pub(super) fn report(&mut self, machine: &mut SenderMachine, last: bool) {
        let status = machine.take_status();
        let (positions, state) = (*machine.positions(), machine.state());
        if let Some(status) = &status {
            debug!(peer = %self.peer, write = %status.write, flush = %status.flush, apply = %status.apply, "status");
            self.move_slot(positions.flush);
        }
        if last && let Some(Err(error)) = self.slot.as_mut().map(SlotInUse::flush) {
            warn!(peer = %self.peer, %error, "could not write down the slot's position");
        }
        let now = Instant::now();
        let is_due = self.reported_at.is_none_or(|at| now.duration_since(at) >= INTERVAL);
        if status.is_some() || self.state != Some(state) || is_due || last {
            self.reported_at = Some(now);
            self.enter(&positions, state, status.is_some().then(|| machine.lags()));
        }
        if self.state.replace(state) != Some(state) {
            if let Some(ahead) = positions.ahead {
                self.ahead.say(ahead, positions.limit);
            }
            info!(peer = %self.peer, timeline = %self.timeline, sent = %positions.sent, state = state.as_str(),
                "follower state");
        }
    }

    /// Once, and not with each attempt, it is said that the position cannot be written down: the slot keeps more than it has
    /// to meanwhile, which does no harm to the follower.
    fn move_slot(&mut self, flush: Lsn) {
        let Some(slot) = self.slot.as_mut().filter(|_| flush.is_valid()) else { return };
        let failed = slot.advance(flush, self.timeline).err();
        if let Some(error) = &failed
            && !self.slot_is_behind
        {
            warn!(peer = %self.peer, %error, "could not write down the slot's position, and tries again");
        }
        self.slot_is_behind |= failed.is_some();
    }

    /// `lags` if it has just replied.
    fn enter(&self, positions: &Positions, state: State, lags: Option<Lags>) {
        let Some(entry) = &self.entry else { return };
        entry.update(|follower| {
            follower.state = match state {
                State::CatchUp => FollowerState::Catchup,
                State::Streaming => FollowerState::Streaming,
                State::Stopping => FollowerState::Stopping,
                State::Ahead => FollowerState::Ahead,
            };
            follower.sent = positions.sent;
            // Of one that is ahead nothing counts, and people are to see what it claims.
            let said = if state == State::Ahead { positions.said } else { positions.counted() };
            (follower.write, follower.flush, follower.apply) = (said.write, said.flush, said.apply);
            if let Some(lags) = lags {
                follower.lags = lags;
                follower.last_reply_at = Some(UnixMicros::now());
            }
        });
        self.moved.tell();
    }
}
