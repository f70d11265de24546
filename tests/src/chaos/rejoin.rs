//! How the others come back after a promotion: they are pointed at the new leader, and those that cannot follow are rebuilt.
//!
//! Who can follow is decided here by the rules, before anybody tries: a directory whose pages are past the fork cannot, one
//! whose log ends before it can. What was received past the fork and not replayed may be given up or not.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use wal::Lsn;

use super::board::{NODES, Role};
use super::cluster::Cluster;
use super::history::{NodeId, Silence};
use super::node::{LIMIT, Position};
use super::witness;
use crate::failure::lsns_in;
use crate::root::last_lines;
use crate::wait::wait_for;

/// How long a follower that must not follow is watched.
const WATCHED: Duration = Duration::from_millis(1200);

/// What a follower has to do with a new leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expected {
    /// It follows.
    Follows,
    /// It refuses, and says so.
    Refuses,
    /// Either is right.
    Either,
}

impl Expected {
    fn of(position: Option<Position>, fork: Lsn) -> Self {
        match position {
            Some(Position { replayed, .. }) if replayed > fork => Self::Refuses,
            Some(Position { received, .. }) if received <= fork => Self::Follows,
            _ => Self::Either,
        }
    }
}

impl Cluster {
    /// Brings everybody back after a promotion: those that can follow do, the others refuse and are rebuilt. The old leader
    /// is down, and is started as a standby.
    pub fn rejoin_all(
        &mut self,
        old: NodeId,
        fork: Lsn,
        old_end: Lsn,
        before: [Option<Position>; NODES],
        archived: Option<Lsn>,
        restarts: u64,
    ) {
        let from = self.board.now();
        for id in self.standbys() {
            let name = self.nodes[id.0].name;
            self.provide_slot(name);
        }
        self.provide_slot(witness::NAME);
        let at = Position { received: old_end, replayed: old_end };
        let expected = |cluster: &Self, id: NodeId| {
            let position = if id == old { Some(at) } else { before[id.0] };
            let expected = Expected::of(position, fork);
            println!("    {}: {position:?}: {expected:?}", cluster.nodes[id.0].name);
            expected
        };
        let mut order = self.standbys();
        order.sort_by_key(|id| *id == old);
        let expected = order.map(|id| (id, expected(self, id)));
        let by_witness = match archived {
            Some(archived) if archived <= fork => Expected::Follows,
            _ => Expected::Either,
        };
        println!("    witness: {archived:?}: {by_witness:?}");
        self.root.file(self.nodes[old.0].data.join("standby.signal"), "");
        let mut can_confirm = usize::from(self.plan.witness_counts && by_witness != Expected::Refuses);
        can_confirm += expected.iter().filter(|(_, expected)| *expected != Expected::Refuses).count();
        // As long as those that must refuse are not rebuilt, nobody else can confirm.
        let mut silent = can_confirm < self.plan.quorum;
        for (id, expected) in expected {
            let follows = self.rejoin(id, expected, (id != old).then_some(fork), restarts);
            // One that follows after all, when it is started again, may have confirmed since.
            if std::mem::take(&mut silent) && !follows {
                let (reign, until) = (self.reign, self.board.now());
                let because = "too few of its followers were of its history";
                self.board.silence(Silence { reign, from, until, because });
            }
            if !follows {
                self.rebuild(id);
            }
        }
        self.rejoin_witness(by_witness);
        self.await_everybody();
    }

    /// Has a node follow the leader, or refuse, and refuse again when it is started again: a standby (for which the fork is
    /// given) that had what is past the fork in memory alone, and not on its pages, may follow then. Says whether it follows.
    fn rejoin(&mut self, id: NodeId, expected: Expected, fork: Option<Lsn>, restarts: u64) -> bool {
        let name = self.nodes[id.0].name;
        for life in 0..=restarts {
            let in_memory = |fork| life > 0 && self.nodes[id.0].minimum_recovery() <= fork;
            let expected = match expected {
                Expected::Refuses if fork.is_some_and(in_memory) => Expected::Either,
                expected => expected,
            };
            if self.node(id).process().is_none()
                && let Err(log) = self.try_start(id)
            {
                self.assert_refusal(name, expected, &log);
                continue;
            }
            match expected {
                Expected::Follows => {
                    self.await_following(name);
                    return true;
                }
                Expected::Either => return self.follows_or_says_why(name),
                Expected::Refuses => self.watch_refusal(id),
            }
            if life < restarts {
                self.publish(id, Role::Down);
                let signal = if life % 2 == 0 { Signal::TERM } else { Signal::KILL };
                self.node(id).end_who_may_have_ended(signal);
            }
        }
        false
    }

    /// Whether a server has ended by itself; it counts as stopped then. Gives its log.
    pub(super) fn has_ended(&mut self, id: NodeId) -> Option<String> {
        let log = self.nodes[id.0].log();
        if self.node(id).process().is_none_or(|process| process.is_running()) {
            return None;
        }
        self.publish(id, Role::Down);
        self.node(id).forget();
        Some(log)
    }

    #[track_caller]
    fn assert_refusal(&mut self, name: &str, expected: Expected, log: &str) {
        assert!(
            expected != Expected::Follows,
            "{name} could follow, and does not start:\n{}",
            last_lines(log, 12)
        );
        if !is_loud(log) {
            self.complaints
                .push(format!("{name} does not start and does not say why:\n{}", last_lines(log, 6)));
        }
    }

    /// Watches a node that is past the fork: it never streams, and says why.
    fn watch_refusal(&mut self, id: NodeId) {
        let name = self.nodes[id.0].name;
        let began = Instant::now();
        // What it says of a connection that is just being cut is not about the new leader.
        let mut streams_since = None;
        while began.elapsed() < WATCHED || !is_loud(&self.nodes[id.0].log()) && began.elapsed() < LIMIT / 4 {
            if let Some(log) = self.has_ended(id) {
                return self.assert_refusal(name, Expected::Refuses, &log);
            }
            let status = self.node(id).ask("select status from pg_stat_wal_receiver");
            let by_leader = self.seen_by_leader(name).map(|(state, _)| state);
            streams_since = match status.as_deref() {
                Some("streaming") => streams_since.or_else(|| Some(Instant::now())),
                _ => None,
            };
            let for_long = streams_since.is_some_and(|since| since.elapsed() > WATCHED / 2);
            if for_long || by_leader.as_deref() == Some("streaming") {
                let log = self.nodes[id.0].log();
                self.complaints.push(format!(
                    "{name} is past the fork and streams: {status:?}, by its leader {by_leader:?}; its log:\n{}",
                    last_lines(&log, 6)
                ));
                return;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        let log = self.nodes[id.0].log();
        if !is_loud(&log) {
            self.complaints
                .push(format!("{name} is past the fork and says nothing:\n{}", last_lines(&log, 6)));
        }
        if let Some(rows) = self.node(id).ask("select count(*) from entry") {
            self.complaints.push(format!(
                "{name} is past the fork, has said so, and lets {rows} rows be read:\n{}",
                last_lines(&log, 6)
            ));
        }
    }

    /// Waits until a node follows, or has said why not and does not after a while.
    pub fn follows_or_says_why(&mut self, name: &str) -> bool {
        let flushed = wait_for("the leader to answer", LIMIT, || self.lead().flushed());
        let began = Instant::now();
        loop {
            let seen = self.seen_by_leader(name);
            if seen.is_some_and(|(state, lsn)| state == "streaming" && lsn >= flushed) {
                return true;
            }
            let ended = self.nodes.iter().find(|node| node.name == name).map(|node| node.id);
            if let Some(log) = ended.and_then(|id| self.has_ended(id)) {
                self.assert_refusal(name, Expected::Either, &log);
                return false;
            }
            let log = self.log_of(name);
            if is_loud(&log) && began.elapsed() > WATCHED * 2 {
                return false;
            }
            assert!(
                began.elapsed() < LIMIT,
                "{name} neither follows nor says why:\n{}",
                last_lines(&log, 12)
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// A base backup in the place of a directory that cannot follow.
    pub fn rebuild(&mut self, id: NodeId) {
        println!("    {} is rebuilt", self.nodes[id.0].name);
        self.forget_acknowledged(id.0);
        self.publish(id, Role::Down);
        self.node(id).end_who_may_have_ended(Signal::TERM);
        self.copy_leader(id);
        self.start(id);
        self.await_following(self.nodes[id.0].name);
    }

    /// What a follower acknowledged up to now may be nowhere but in the directory that is taken from it.
    pub fn forget_acknowledged(&mut self, follower: usize) {
        let flushed = wait_for("the leader to answer", LIMIT, || self.lead().flushed());
        self.floors[follower] = self.floors[follower].max(flushed);
    }

    /// Has the witness follow the leader, with an empty archive if the old one is of another history.
    fn rejoin_witness(&mut self, expected: Expected) {
        if self.witness.runs() && expected != Expected::Follows && !self.follows_or_says_why(witness::NAME) {
            self.witness.terminate();
        }
        if !self.witness.runs() {
            let log = self.witness.log();
            assert!(
                expected != Expected::Follows,
                "the witness could follow, and ended:\n{}",
                last_lines(&log, 12)
            );
            println!("    the witness begins a new archive: {}", last_lines(&log, 1).trim());
            self.forget_acknowledged(NODES);
            self.witness.new_archive();
            self.witness.start();
        }
        self.await_following(witness::NAME);
    }
}

/// Whether a log says that something is wrong, and where.
pub(super) fn is_loud(log: &str) -> bool {
    let wrong =
        |line: &&str| line.contains(" ERROR ") || line.contains(" WARN ") || line.contains(": error: ");
    log.lines().filter(wrong).any(|line| !lsns_in(line).is_empty())
}
