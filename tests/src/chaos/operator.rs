//! What an operator does after the leader is lost: has a standby catch up from whoever has more, and promotes it. How the
//! others come back is in `rejoin`.

use std::time::{Duration, Instant};

use wal::Lsn;

use super::board::NODES;
use super::cluster::{Cluster, members};
use super::history::{NodeId, Origin};
use super::node::{LIMIT, Position};
use crate::root::last_lines;
use crate::tool::Tool;
use crate::walsender::Walsender;

impl Cluster {
    /// Waits until a standby whose leader is gone has replayed all that it received.
    pub fn settled_position(&mut self, id: NodeId) -> Option<Position> {
        let began = Instant::now();
        loop {
            let position = self.node(id).position();
            if position.is_some_and(|at| at.received == at.replayed)
                || began.elapsed() > Duration::from_secs(2)
            {
                return position;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Has `successor` receive what the other standby or the witness has more than it.
    pub fn catch_up(&mut self, successor: NodeId) {
        let other = self.standbys().into_iter().find(|id| *id != successor).expect("there are two");
        let received =
            |cluster: &mut Self, id| cluster.settled_position(id).map(|at| at.received).unwrap_or_default();
        let (own, others) = (received(self, successor), received(self, other));
        let archived = self.witness.flushed().unwrap_or_default();
        if own >= others.max(archived) {
            return;
        }
        let name = self.nodes[successor.0].name;
        if archived > others {
            let sender = Walsender::start_new(&self.root, self.witness.archive());
            if self.plan.slots {
                sender.command(&format!("CREATE_REPLICATION_SLOT {name} PHYSICAL RESERVE_WAL"));
            }
            self.node(successor).link.point_at(sender.port());
            self.await_received(successor, archived);
            self.node(successor).link.cut();
        } else {
            self.provide_slot_on(other, name);
            let port = self.nodes[other.0].port();
            self.node(successor).link.point_at(port);
            self.await_received(successor, others);
            self.node(successor).link.cut();
        }
    }

    fn await_received(&mut self, id: NodeId, lsn: Lsn) {
        let began = Instant::now();
        while self.node(id).position().is_none_or(|at| at.received < lsn) {
            self.node(id).assert_lives();
            let (at, log) = (self.node(id).position(), self.node(id).log());
            let name = self.nodes[id.0].name;
            assert!(
                began.elapsed() < LIMIT,
                "{name} does not receive up to {lsn}, and is at {at:?}; its log:\n{}",
                last_lines(&log, 12)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether a node that has received up to `received` has everything that was confirmed under the old leader's quorum: no
    /// quorum is without one of those whose WAL it has all of.
    fn has_all_confirmed(&mut self, received: Lsn) -> bool {
        let mut missing = 0;
        for name in members(&self.plan, self.leader) {
            let index = self.nodes.iter().position(|node| node.name == name);
            let at = match index {
                Some(index) => self.nodes[index].position().map(|at| at.received),
                None => self.witness.flushed(),
            };
            let floor = self.floors[index.unwrap_or(NODES)];
            if at.is_none_or(|at| at.max(floor) > received) {
                missing += 1;
            }
        }
        self.plan.quorum > 0 && missing < self.plan.quorum
    }

    /// Promotes a standby; the old leader is gone. Its clients come as soon as it leads. Gives the fork. `interrupted`: it is
    /// killed so many milliseconds after it was asked, and asked again if it is a standby still.
    pub fn promote(&mut self, successor: NodeId, interrupted: Option<u64>) -> Lsn {
        let received = self.settled_position(successor).map(|at| at.received).unwrap_or_default();
        let complete = self.has_all_confirmed(received);
        let data = self.nodes[successor.0].data.clone();
        let root = self.root.clone();
        let promote = || Tool::ours(&root, "walwriter").args(["promote", "-D"]).arg(&data);
        if let Some(millis) = interrupted {
            // Nobody sends it anything meanwhile.
            self.nodes[successor.0].link.cut();
            let asked = promote().spawn();
            std::thread::sleep(Duration::from_millis(millis));
            self.kill(successor);
            asked.wait();
            self.start(successor);
        }
        let leads = self.node(successor).ask("select pg_is_in_recovery()").as_deref() == Some("f");
        if !leads {
            let finished = promote().run_within(LIMIT);
            let log = self.nodes[successor.0].log();
            assert!(finished.code == Some(0), "{finished}\nits log:\n{}", last_lines(&log, 12));
        }
        let (timeline, fork) = newest_timeline(&data.join("pg_wal"));
        let of = self.reign;
        self.crown(successor, timeline, Origin::Promoted { of, fork, complete });
        println!(
            "    {} leads timeline {timeline} from {fork} on; complete: {complete}",
            self.nodes[successor.0].name
        );
        fork
    }
}

/// The newest timeline that a directory of WAL has a history of, and where it forks off.
fn newest_timeline(wal: &std::path::Path) -> (u32, Lsn) {
    let entries = std::fs::read_dir(wal).unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let newest = names.filter(|name| name.ends_with(".history")).max().expect("a history file");
    let text = std::fs::read_to_string(wal.join(&newest)).unwrap();
    let last = text.lines().rfind(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    let fork = last.and_then(|line| line.split_ascii_whitespace().nth(1)).expect("a line of the parent");
    (u32::from_str_radix(&newest[..8], 16).unwrap(), fork.parse().unwrap())
}
