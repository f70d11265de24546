//! The faults, each with what it takes to be over it.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use wal::Lsn;

use super::board::NODES;
use super::cluster::Cluster;
use super::history::{NodeId, Origin, Silence};
use super::node::{LIMIT, Position};
use super::rejoin::is_loud;
use super::schedule::{Episode, Who};
use super::witness;
use crate::root::last_lines;

fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

impl Cluster {
    /// One of them, from the first blow until everybody follows again and commits get through.
    pub fn perform(&mut self, episode: Episode) {
        match episode {
            Episode::Kill(who, millis) => self.kill_and_start(who, millis),
            Episode::Restart(who, millis) => self.restart(who, millis),
            Episode::Freeze(who, millis) => self.freeze(who, millis),
            Episode::Cut(who, millis, stall) => self.cut(who, millis, stall),
            Episode::KillAll(leader_first) => self.kill_all(leader_first),
            Episode::Checkpoint(who) => self.checkpoint(self.who(who).unwrap_or(self.leader)),
            Episode::Failover { successor, orderly, side, interrupted, restarts } => {
                let successor = self.standby(successor);
                self.lose_leader(orderly, side);
                self.catch_up(successor);
                self.take_over(successor, interrupted, restarts);
            }
            Episode::LessAdvanced { successor, behind, restart_point, restarts } => {
                self.less_advanced(self.standby(successor), behind, restart_point, restarts);
            }
            Episode::OlderLeader(millis) => self.older_leader(millis),
            Episode::OlderStandby(index, millis) => self.older_standby(self.standby(index), millis),
        }
        self.await_everybody();
        self.await_progress();
    }

    fn come_back(&mut self, id: NodeId) {
        if id == self.leader {
            self.resume_reign();
        } else {
            self.start(id);
        }
    }

    fn kill_and_start(&mut self, who: Who, millis: u64) {
        let Some(id) = self.who(who) else {
            self.witness.kill9();
            pause(millis);
            return self.witness.start();
        };
        self.kill(id);
        pause(millis);
        self.come_back(id);
    }

    fn restart(&mut self, who: Who, millis: u64) {
        let Some(id) = self.who(who) else {
            self.witness.terminate();
            pause(millis);
            return self.witness.start();
        };
        self.terminate(id);
        pause(millis);
        self.come_back(id);
    }

    fn freeze(&mut self, who: Who, millis: u64) {
        let process = match self.who(who) {
            Some(id) => self.node(id).process(),
            None => self.witness.process(),
        };
        let process = process.expect("it runs");
        process.signal(Signal::STOP);
        pause(millis);
        process.signal(Signal::CONT);
    }

    fn cut(&mut self, who: Who, millis: u64, stall: bool) {
        let link = match who {
            Who::Leader => &self.nodes[self.leader.0].door,
            Who::Standby(index) => &self.nodes[self.standby(index).0].link,
            Who::Witness => &self.witness.link,
        };
        if stall {
            link.stall();
            pause(millis);
            return link.mend();
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(millis) {
            link.cut();
            pause(30);
            link.mend();
            pause(120);
        }
    }

    fn kill_all(&mut self, leader_first: bool) {
        let mut order = vec![self.leader];
        order.extend(self.standbys());
        for id in &order {
            self.kill(*id);
        }
        self.witness.kill9();
        if !leader_first {
            order.reverse();
        }
        for id in order {
            self.come_back(id);
        }
        self.witness.start();
    }

    fn checkpoint(&mut self, id: NodeId) {
        if let Some(mut session) = self.node(id).session(LIMIT) {
            let done = session.run("checkpoint");
            assert!(done.is_ok(), "checkpoint: {done:?}");
        }
    }

    /// Where everybody is who follows.
    fn positions(&mut self) -> ([Option<Position>; NODES], Option<Lsn>) {
        let mut positions = [None; NODES];
        for id in self.standbys() {
            positions[id.0] = self.settled_position(id);
        }
        (positions, self.witness.flushed())
    }

    /// The end of the log of the leader, which is gone.
    fn end_of_reign(&mut self) -> Lsn {
        let (leader, timeline) = (self.leader, self.timeline());
        let from = match self.board.reign(self.reign).origin {
            Origin::Promoted { fork, .. } => fork,
            _ => Lsn::default(),
        };
        self.node(leader).end_of_log(timeline, from)
    }

    /// The leader goes, in order or not, while one of the others is cut off, maybe.
    fn lose_leader(&mut self, orderly: bool, side: Option<Who>) {
        match side {
            Some(Who::Standby(index)) => self.nodes[self.standby(index).0].link.cut(),
            Some(_) => self.witness.link.cut(),
            None => {}
        }
        if side.is_some() {
            pause(150);
        }
        if orderly {
            self.terminate(self.leader);
        } else {
            self.kill(self.leader);
        }
    }

    fn less_advanced(&mut self, successor: NodeId, behind: u64, restart_point: bool, restarts: u64) {
        self.node(successor).link.cut();
        pause(behind);
        // Ahead of it, if commits still get through.
        let cut_off = self.node(successor).position().unwrap_or_default().received;
        let began = Instant::now();
        while self.lead().flushed().is_none_or(|flushed| flushed < cut_off.saturating_add(4096))
            && began.elapsed() < Duration::from_secs(3)
        {
            pause(20);
        }
        if restart_point {
            for id in [self.leader, self.standby(0), self.standby(1)] {
                self.checkpoint(id);
            }
            pause(100);
        }
        self.kill(self.leader);
        self.take_over(successor, None, restarts);
    }

    /// The leader is gone; `successor` is promoted as it is, and everybody else follows it, or is rebuilt.
    fn take_over(&mut self, successor: NodeId, interrupted: Option<u64>, restarts: u64) {
        let old = self.leader;
        let old_end = self.end_of_reign();
        let (positions, archived) = self.positions();
        let fork = self.promote(successor, interrupted);
        for node in &self.nodes {
            node.link.mend();
        }
        self.witness.link.mend();
        println!("    the old leader {} ends at {old_end}", self.nodes[old.0].name);
        self.rejoin_all(old, fork, old_end, positions, archived, restarts);
    }

    fn older_leader(&mut self, millis: u64) {
        let leader = self.leader;
        self.terminate(leader);
        let (end, of) = (self.end_of_reign(), self.reign);
        let (data, kept) = (self.nodes[leader.0].data.clone(), self.root.join("kept"));
        let older = self.root.copy_dir(&data, "older");
        self.resume_reign();
        self.await_ahead(end.saturating_add(16 << 10));

        self.kill(leader);
        std::fs::rename(&data, &kept).unwrap();
        std::fs::rename(&older, &data).unwrap();
        self.board.change(leader, |place| place.generation += 1);
        let before = [0, 1, 2].map(|index: usize| self.nodes[index].log().len());
        self.start(leader);
        let (timeline, right) = (self.timeline(), self.reign);
        self.crown(leader, timeline, Origin::OlderCopy { of, end });
        let from = self.board.now();
        for standby in self.standbys() {
            self.board.change(standby, |place| place.role = super::board::Role::Follower(None));
        }
        pause(millis);
        self.shouted(leader, before);
        if self.plan.quorum > 0 {
            let (reign, until) = (self.reign, self.board.now());
            self.board.silence(Silence {
                reign,
                from,
                until,
                because: "all followers were of another history",
            });
        }

        self.kill(leader);
        std::fs::remove_dir_all(&data).unwrap();
        std::fs::rename(&kept, &data).unwrap();
        self.board.change(leader, |place| place.generation += 1);
        self.reign = right;
        self.resume_reign();
        self.start_who_refused();
    }

    /// Nobody has to go on with a leader whose WAL differs from his own; whoever ended has said why.
    fn start_who_refused(&mut self) {
        for standby in self.standbys() {
            if let Some(log) = self.has_ended(standby) {
                assert!(is_loud(&log), "a standby ended by itself:\n{}", last_lines(&log, 12));
                self.start(standby);
            }
        }
        if !self.witness.runs() {
            let log = self.witness.log();
            assert!(is_loud(&log), "the witness ended by itself:\n{}", last_lines(&log, 12));
            self.witness.start();
        }
    }

    /// A leader that has lost WAL says so when a follower asks for more than it has; once its log is the longer one again it
    /// cannot know, and the followers say whose WAL differs from theirs. `before`: how much these had logged.
    fn shouted(&mut self, leader: NodeId, before: [usize; NODES]) {
        let loud = |cluster: &Self| {
            let new = |id: NodeId| cluster.nodes[id.0].log().get(before[id.0]..).is_some_and(is_loud);
            is_loud(&cluster.nodes[leader.0].log()) || cluster.standbys().into_iter().all(new)
        };
        let began = Instant::now();
        while !loud(self) && began.elapsed() < Duration::from_secs(5) {
            pause(50);
        }
        if !loud(self) {
            let log = self.nodes[leader.0].log();
            self.complaints.push(format!(
                "the leader {} has an older log than its followers, and neither it nor they say anything:\n{}",
                self.nodes[leader.0].name,
                last_lines(&log, 5)
            ));
        }
    }

    /// Waits until all followers are past that.
    fn await_ahead(&mut self, lsn: Lsn) {
        for standby in self.standbys() {
            let name = self.nodes[standby.0].name;
            self.await_follower_past(name, lsn);
        }
        self.await_follower_past(witness::NAME, lsn);
    }

    fn await_follower_past(&mut self, name: &str, lsn: Lsn) {
        crate::wait::wait_for(&format!("{name} to be past {lsn}"), LIMIT, || {
            self.seen_by_leader(name).filter(|(_, flushed)| *flushed > lsn)
        });
    }

    fn older_standby(&mut self, id: NodeId, millis: u64) {
        self.kill(id);
        let data = self.nodes[id.0].data.clone();
        let older = self.root.copy_dir(&data, "older");
        self.start(id);
        pause(millis);
        self.forget_acknowledged(id.0);
        self.kill(id);
        std::fs::remove_dir_all(&data).unwrap();
        std::fs::rename(&older, &data).unwrap();
        self.board.change(id, |place| place.generation += 1);
        self.start(id);
        // Its slot may have let go of what it needs now; then it says so.
        if self.plan.slots {
            let name = self.nodes[id.0].name;
            if !self.follows_or_says_why(name) {
                self.rebuild(id);
            }
        }
    }
}
