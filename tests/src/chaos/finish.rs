//! The end of a run, when no more faults come: everybody who can follow has everything, all pages are the same, archives are
//! proved, and everything ends when told to.

use std::ops::Range;

use wal::Lsn;

use super::board::Board;
use super::cluster::{Cluster, members};
use super::history::{Attempt, Context, Level, View};
use super::node::LIMIT;
use super::readers;
use crate::tool::Tool;
use crate::wait::wait_for;
use crate::walwriter::Walwriter;

impl Cluster {
    /// After clients and readers have ended.
    pub fn finish(&mut self) {
        self.await_flush();
        self.await_everybody();
        for index in 0..self.nodes.len() {
            let view = self.last_view(index);
            self.board.saw(view);
        }
        let leader = self.leader;
        self.terminate(leader);
        for standby in self.standbys() {
            wait_for("everything received to be replayed", LIMIT, || {
                self.node(standby).position().filter(|at| at.received == at.replayed)
            });
            self.terminate(standby);
        }
        self.compare_pages();
        self.witness.terminate();
        self.prove_archives();
    }

    /// Waits until the leader has flushed what clients did not wait for (`off`): before that it is nobody else's to see.
    fn await_flush(&mut self) {
        let written = wait_for("the leader to answer", LIMIT, || self.lead().inserted());
        wait_for("the leader to flush its log", LIMIT, || {
            self.lead().flushed().filter(|flushed| *flushed >= written)
        });
    }

    /// Every archive is proved, and if no commit counts without the witness, each of those that did is in one.
    fn prove_archives(&mut self) {
        let mut proved = Vec::new();
        for archive in self.witness.archives() {
            let tool = Tool::ours(&self.root, "walreceiver").args(["verify", "-D"]).arg(archive);
            let finished = tool.run_within(LIMIT);
            proved.extend(finished.stdout.lines().filter_map(range));
            if finished.code != Some(0) {
                self.complaints.push(format!("an archive is not proved: {finished}"));
            }
        }
        if !self.plan.witness_counts || self.plan.quorum < members(&self.plan, self.leader).len() {
            return;
        }
        let history = self.board.history();
        let counted = history.attempts.iter().filter(|attempt| attempt.acknowledged().is_some());
        let missing: Vec<_> = counted
            .filter(|attempt| attempt.level >= Level::On)
            .filter(|Attempt { reign, floor, .. }| {
                let timeline = history.reigns[reign.0].timeline;
                let holds = |lsn| proved.iter().any(|(of, held)| *of == timeline && held.contains(&lsn));
                floor.is_some_and(|lsn| !holds(lsn))
            })
            .map(|attempt| (attempt.id, attempt.floor))
            .collect();
        if let Some(first) = missing.first() {
            self.complaints.push(format!(
                "{} transactions that the witness had to have are in none of its archives, {first:?} the first",
                missing.len()
            ));
        }
    }

    /// What a node shows that has everything.
    fn last_view(&mut self, index: usize) -> View {
        let board: &Board = &self.board;
        let node = &self.nodes[index];
        let view = wait_for(&format!("{} to be read", node.name), LIMIT, || {
            let view = readers::view(board, node.id, &mut node.session(LIMIT)?).ok()?;
            (view.context != Context::Unknown).then_some(view)
        });
        View { last: true, ..view }
    }

    /// All three directories have the same pages, and PostgreSQL's tools find nothing wrong with them.
    fn compare_pages(&mut self) {
        let mut servers: Vec<Walwriter> = self
            .nodes
            .iter()
            .map(|node| Walwriter::in_directory(&self.root, node.name, &node.data))
            .collect();
        for server in &mut servers {
            server.assert_sound();
        }
        let leader = &servers[self.leader.0];
        for standby in self.standbys() {
            servers[standby.0].assert_same_pages(leader);
        }
    }
}

/// What a line of `walreceiver verify` says is proved: `timeline 1: 0/100000 to 0/100F68`.
fn range(line: &str) -> Option<(u32, Range<Lsn>)> {
    let (timeline, rest) = line.strip_prefix("timeline ")?.split_once(": ")?;
    let (from, to) = rest.split_once(" to ")?;
    let to = to.split_ascii_whitespace().next()?;
    Some((timeline.parse().ok()?, from.parse().ok()?..to.parse().ok()?))
}
