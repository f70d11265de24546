//! The processes of a run together: who leads, who follows whom, starting and stopping, and waiting until they follow.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wal::Lsn;

use super::board::{Board, NODES, Role};
use super::history::{NodeId, Origin, Reign, ReignId};
use super::node::{LIMIT, Node};
use super::schedule::{Plan, Who};
use super::witness::{self, Witness};
use super::workload;
use crate::process::Finished;
use crate::root::{TempRoot, last_lines};
use crate::tool::Tool;
use crate::version::Version;
use crate::wait::wait_for;

const NAMES: [&str; NODES] = ["a", "b", "c"];
const SYNCHRONOUS: &str = "synchronous_standby_names";
/// What each account begins with.
pub const BALANCE: i64 = 1000;

/// The cluster of a run.
pub struct Cluster {
    /// Where it lives.
    pub root: TempRoot,
    /// What is done with it.
    pub plan: Plan,
    /// What clients know of it.
    pub board: Arc<Board>,
    /// The servers.
    pub nodes: Vec<Node>,
    /// The witness.
    pub witness: Witness,
    /// Who leads.
    pub leader: NodeId,
    /// The reign.
    pub reign: ReignId,
    /// What a follower may have acknowledged with a directory that it has not any more: servers, then the witness.
    pub floors: [Lsn; NODES + 1],
    /// What was wrong and did not keep the run from going on.
    pub complaints: Vec<String>,
}

impl Cluster {
    /// A leader with its tables, two standbys and a witness, all streaming.
    pub fn new(root: &TempRoot, plan: &Plan, board: &Arc<Board>) -> Self {
        let node = |index: usize| Node::new(root, NodeId(index), NAMES[index], settings(plan, index));
        let mut cluster = Self {
            root: root.clone(),
            plan: plan.clone(),
            board: Arc::clone(board),
            nodes: (0..NODES).map(node).collect(),
            witness: Witness::new(root, plan.slots),
            leader: NodeId(0),
            reign: ReignId(0),
            floors: [Lsn::default(); NODES + 1],
            complaints: Vec::new(),
        };
        cluster.found();
        cluster
    }

    fn found(&mut self) {
        let data = self.root.dir(NAMES[0]);
        let init = Tool::ours(&self.root, "walwriter").args(["init", "--wal-segsize", "1", "-D"]);
        init.arg(&data).succeed();
        // Nobody could confirm anything yet.
        let settings = std::mem::take(&mut self.nodes[0].settings);
        self.nodes[0].settings = settings.iter().filter(|(name, _)| name != SYNCHRONOUS).cloned().collect();
        self.start(NodeId(0));
        let setup = workload::setup(self.plan.clients, BALANCE);
        let mut session = self.nodes[0].session(LIMIT).expect("the leader lets clients in");
        session.run(&setup).expect("tables");
        self.terminate(NodeId(0));
        self.nodes[0].settings = settings;
        self.start(NodeId(0));
        self.crown(NodeId(0), 1, Origin::Founded);
        for standby in [NodeId(1), NodeId(2)] {
            self.copy_leader(standby);
            self.start(standby);
        }
        self.provide_slot(witness::NAME);
        self.witness.start();
        self.await_everybody();
    }

    /// One of the two that do not lead.
    pub fn standby(&self, index: usize) -> NodeId {
        self.standbys()[index]
    }

    /// Those that do not lead.
    pub fn standbys(&self) -> [NodeId; 2] {
        match self.leader.0 {
            0 => [NodeId(1), NodeId(2)],
            1 => [NodeId(0), NodeId(2)],
            _ => [NodeId(0), NodeId(1)],
        }
    }

    /// A node.
    pub fn node(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    /// The leading node.
    pub fn lead(&mut self) -> &mut Node {
        self.node(self.leader)
    }

    /// The server in that role; `None` for the witness.
    pub fn who(&self, who: Who) -> Option<NodeId> {
        match who {
            Who::Leader => Some(self.leader),
            Who::Standby(index) => Some(self.standby(index)),
            Who::Witness => None,
        }
    }

    /// A reign begins: clients may come.
    pub fn crown(&mut self, node: NodeId, timeline: u32, origin: Origin) {
        self.publish(node, Role::Down);
        self.leader = node;
        let quorum = self.plan.quorum;
        self.reign = self.board.crown(Reign { node, timeline, quorum, origin });
        self.point_followers();
    }

    /// Sends all followers to the leader; those that have it already go on as they are.
    pub fn point_followers(&mut self) {
        let (port, reign) = (self.lead().port(), self.reign);
        for standby in self.standbys() {
            self.node(standby).link.point_at(port);
            self.board.change(standby, |place| {
                if let Role::Follower(of) = &mut place.role {
                    *of = Some(reign);
                }
            });
        }
        self.witness.link.point_at(port);
    }

    /// The timeline of the reign.
    pub fn timeline(&self) -> u32 {
        self.board.reign(self.reign).timeline
    }

    /// Tells everybody what a node is now.
    pub fn publish(&mut self, id: NodeId, role: Role) {
        let (port, door) = (self.nodes[id.0].port(), self.nodes[id.0].door.port());
        self.board.change(id, |place| (place.port, place.door, place.role) = (port, door, role));
    }

    /// Starts a node that has to come up.
    #[track_caller]
    pub fn start(&mut self, id: NodeId) {
        if let Err(log) = self.try_start(id) {
            panic!("node {} does not start:\n{}", NAMES[id.0], last_lines(&log, 25));
        }
    }

    /// Starts a node, as a follower for all that clients know; the log if it ends.
    pub fn try_start(&mut self, id: NodeId) -> Result<(), String> {
        self.node(id).start()?;
        self.board.change(id, |place| place.life += 1);
        let reign = self.reign;
        self.publish(id, Role::Follower((id != self.leader).then_some(reign)));
        Ok(())
    }

    /// SIGKILL to a server.
    pub fn kill(&mut self, id: NodeId) {
        self.publish(id, Role::Down);
        self.node(id).kill9();
    }

    /// SIGTERM to a server, which has to end in good order.
    pub fn terminate(&mut self, id: NodeId) -> Option<Finished> {
        self.publish(id, Role::Down);
        self.node(id).terminate()
    }

    /// Starts the leader where it was: its next reign.
    pub fn resume_reign(&mut self) {
        let (leader, of) = (self.leader, self.reign);
        self.start(leader);
        let timeline = self.timeline();
        self.crown(leader, timeline, Origin::Restarted { of });
    }

    /// Makes a slot on the leader, if followers have slots and it is not there.
    pub fn provide_slot(&mut self, name: &str) {
        let leader = self.leader;
        self.provide_slot_on(leader, name);
    }

    /// Makes a slot on that server, likewise.
    pub fn provide_slot_on(&mut self, node: NodeId, name: &str) {
        if !self.plan.slots {
            return;
        }
        let Some(mut session) = self.node(node).session(LIMIT / 4) else { return };
        let there = format!("select count(*) from pg_replication_slots where slot_name = '{name}'");
        if session.value(&there).ok().flatten().as_deref() == Some("0") {
            let made = session.run(&format!("select pg_create_physical_replication_slot('{name}', true)"));
            assert!(made.is_ok(), "slot {name}: {made:?}");
        }
    }

    /// A base backup of the leader as the (new) directory of `id`, which does not run.
    #[track_caller]
    pub fn copy_leader(&mut self, id: NodeId) {
        self.provide_slot(NAMES[id.0]);
        let leader = format!("host=127.0.0.1 port={} user=postgres", self.lead().port());
        let data = self.nodes[id.0].data.clone();
        if data.exists() {
            std::fs::remove_dir_all(&data).unwrap();
        }
        let data = self.root.dir(data);
        let tool =
            Tool::ours(&self.root, "basebackup").args(["-d", &leader, "-c", "fast", "-X", "stream", "-R"]);
        let tool = if self.plan.slots { tool.args(["-S", NAMES[id.0]]) } else { tool };
        tool.arg("-D").arg(&data).run_within(LIMIT).success();
        self.board.change(id, |place| place.generation += 1);
    }

    /// What the leader says of a follower: its state, and up to where it has flushed.
    pub fn seen_by_leader(&mut self, name: &str) -> Option<(String, Lsn)> {
        let rows = self.lead().session(Duration::from_secs(5))?.run(&format!(
            "select state, flush_lsn from pg_stat_replication where application_name = '{name}'"
        ));
        let rows = rows.ok()?.into_iter().next()?;
        // A connection that was cut may be listed beside the one in its place.
        let row = rows.into_iter().max_by_key(|row| row[0].as_deref() == Some("streaming"))?;
        Some((row[0].clone()?, row[1].clone().unwrap_or_default().parse().unwrap_or_default()))
    }

    /// Waits until a follower streams and has all that the leader has now.
    #[track_caller]
    pub fn await_following(&mut self, name: &str) {
        self.lead().assert_lives();
        let flushed = wait_for("the leader to answer", LIMIT, || self.lead().flushed());
        let began = std::time::Instant::now();
        let mut seen = None;
        while began.elapsed() < LIMIT {
            seen = self.seen_by_leader(name);
            if seen.as_ref().is_some_and(|(state, lsn)| state == "streaming" && *lsn >= flushed) {
                return;
            }
            self.assert_lives(name);
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = self.log_of(name);
        panic!(
            "{name} does not follow up to {flushed}; its leader says {seen:?}; its log:\n{}",
            last_lines(&log, 12)
        );
    }

    /// [`Cluster::await_following`] for everybody.
    #[track_caller]
    pub fn await_everybody(&mut self) {
        for standby in self.standbys() {
            self.await_following(NAMES[standby.0]);
        }
        self.await_following(witness::NAME);
    }

    #[track_caller]
    fn assert_lives(&mut self, name: &str) {
        match NAMES.iter().position(|known| *known == name) {
            Some(index) => self.nodes[index].assert_lives(),
            None => {
                let log = self.witness.log();
                assert!(self.witness.runs(), "the witness ended by itself:\n{}", last_lines(&log, 12));
            }
        }
    }

    /// What a follower has logged in this life.
    pub fn log_of(&self, name: &str) -> String {
        NAMES
            .iter()
            .position(|known| *known == name)
            .map_or_else(|| self.witness.log(), |index| self.nodes[index].log())
    }

    /// Waits until clients get commits through.
    #[track_caller]
    pub fn await_progress(&mut self) {
        let before = self.board.acknowledged();
        let began = std::time::Instant::now();
        while self.board.acknowledged() < before + 10 {
            for node in &mut self.nodes {
                node.assert_lives();
            }
            if began.elapsed() > LIMIT {
                let logs: String = self
                    .nodes
                    .iter()
                    .map(|node| format!("{}:\n{}\n", node.name, last_lines(&node.log(), 6)))
                    .collect();
                panic!("no commit gets through\n{logs}witness:\n{}", last_lines(&self.witness.log(), 6));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The settings of node `index`.
fn settings(plan: &Plan, index: usize) -> Vec<(String, String)> {
    let fixed = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", "none"),
        ("checkpoint_timeout", "30s"),
        ("wal_retrieve_retry_interval", "100ms"),
        ("wal_receiver_status_interval", "1s"),
        ("wal_receiver_timeout", "4s"),
        ("wal_sender_timeout", "4s"),
    ];
    let mut all: Vec<(String, String)> =
        fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    all.extend(plan.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let (name, value) =
        if plan.slots { ("primary_slot_name", NAMES[index]) } else { ("wal_keep_size", "1GB") };
    all.push((name.to_owned(), value.to_owned()));
    if plan.quorum > 0 {
        let method = if plan.any { "ANY" } else { "FIRST" };
        let names = members(plan, NodeId(index)).join(", ");
        all.push((SYNCHRONOUS.to_owned(), format!("{method} {} ({names})", plan.quorum)));
    }
    all
}

/// Whom commits of a leader wait for.
pub fn members(plan: &Plan, leader: NodeId) -> Vec<&'static str> {
    let mut names: Vec<_> = (0..NODES).filter(|index| *index != leader.0).map(|index| NAMES[index]).collect();
    if plan.witness_counts {
        names.push(witness::NAME);
    }
    names
}

/// What PostgreSQL's pg_waldump takes for the end of a directory's WAL of that timeline.
#[track_caller]
pub fn end_of_log(root: &TempRoot, directory: &Path, timeline: u32, from: Lsn) -> Lsn {
    let dump = Tool::postgres(root, Version::V15, "pg_waldump").arg("-p").arg(directory);
    let dump = dump.args(["-t", &timeline.to_string(), "-s", &from.to_string()]).run_within(LIMIT);
    let records = crate::receiver::listed(&dump.stdout);
    let size = wal::SegmentSize::new(1 << 20).expect("a segment size");
    records.last().map_or(from, |last| last.end(size))
}
