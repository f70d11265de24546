//! Transactions whose commits wait for a synchronous standby: PostgreSQL's for PostgreSQL's leader; for ours ours, and
//! a walreceiver alone.

use anyhow::Result;
use wal::Lsn;
use walship_tests::receiver::walreceiver;
use walship_tests::{Process, TempRoot, wait_until};

use crate::pgbench::{self, Run, Script};
use crate::plan::Plan;
use crate::report::{Aim, Comparison};
use crate::server::Server;
use crate::{limits, oltp};

/// Who acknowledges a leader's commits. Frozen, as its leader is, between their turns.
enum Follower {
    Standby(Server),
    Receiver(Process),
}

/// A leader's index, and a follower of it.
pub struct Pair {
    leader: usize,
    follower: Follower,
    application: &'static str,
    /// What tells its rows from those of the leader's other follower.
    label: &'static str,
}

pub fn run(servers: &mut [Server; 2], root: &TempRoot, plan: &Plan) -> Result<()> {
    let mut pairs =
        [standby_of(servers, 0, root)?, standby_of(servers, 1, root)?, receiver_of(servers, 1, root)?];
    let scripts = [Script::upsert(root), Script::builtin("simple-update"), Script::builtin("tpcb-like")];
    for script in scripts {
        let most = plan.clients.iter().copied().max().unwrap_or(1);
        for pair in &mut pairs {
            pair.turn(servers, &script, most, plan.seconds)?;
        }
        let mut table = Comparison::new(format!("{}, prepared, with a synchronous standby", script.name));
        let mut floor = Vec::new();
        for &clients in &plan.clients {
            for _ in 0..plan.rounds {
                floor.push(limits::fdatasync(root.path())?.rate);
                for pair in &mut pairs {
                    let (run, cpu) = pair.turn(servers, &script, clients, plan.seconds)?;
                    pair.add(&mut table, servers, &script, clients, &run, cpu);
                }
            }
        }
        table.print();
        oltp::print_floor(&floor);
    }
    Ok(())
}

/// A synchronous standby of the leader of that number.
pub fn standby_of(servers: &mut [Server; 2], leader: usize, root: &TempRoot) -> Result<Pair> {
    let standby = servers[leader].turn(|leader| {
        let name = format!("standby of {}", leader.name());
        let mut standby = leader.back_up(root, &name);
        standby.follow(leader, "standby");
        standby.start();
        standby.freeze();
        Ok(standby)
    })?;
    Ok(Pair { leader, follower: Follower::Standby(standby), application: "standby", label: "" })
}

fn receiver_of(servers: &mut [Server; 2], leader: usize, root: &TempRoot) -> Result<Pair> {
    let receiver = servers[leader].turn(|leader| {
        let conninfo = format!("{} application_name=receiver", leader.conninfo());
        let tool = walreceiver(root, &conninfo, &root.dir("received")).arg("--synchronous");
        let mut receiver = tool.spawn();
        wait_until("the receiver to stream", || {
            leader.sql("select count(*) from pg_stat_replication where application_name = 'receiver'") == "1"
        });
        receiver.freeze();
        Ok(receiver)
    })?;
    let label = " (walreceiver)";
    Ok(Pair { leader, follower: Follower::Receiver(receiver), application: "receiver", label })
}

impl Pair {
    /// Runs `script` while commits wait for the follower. Beside what it came to, the follower's CPU time in microseconds a
    /// transaction.
    pub fn turn(
        &mut self,
        servers: &mut [Server; 2],
        script: &Script,
        clients: u32,
        seconds: u32,
    ) -> Result<(Run, f64)> {
        let Self { leader, follower, application, .. } = self;
        servers[*leader].turn(|leader| {
            follower.resume();
            wait_for_commits(leader, &format!("FIRST 1 ({application})"));
            let flushed = leader.flush_lsn();
            wait_until("the follower to be synchronous", || {
                let state = leader.sql(&format!(
                    "select sync_state, flush_lsn from pg_stat_replication where application_name = '{application}'"
                ));
                let flush = state.strip_prefix("sync|").and_then(|flush| flush.parse::<Lsn>().ok());
                flush.is_some_and(|flush| flush >= flushed)
            });
            follower.catch_up(leader);
            let cpu = follower.cpu()?;
            let run = pgbench::run(leader, script, clients, seconds)?;
            follower.catch_up(leader);
            let cpu = follower.cpu()? - cpu;
            wait_for_commits(leader, "");
            follower.freeze();
            Ok((run, cpu))
        })
        .map(|(run, cpu)| {
            let transactions = run.transactions;
            (run, cpu * 1e6 / transactions)
        })
    }

    fn add(
        &self,
        table: &mut Comparison,
        servers: &[Server; 2],
        script: &Script,
        clients: u32,
        run: &Run,
        cpu: f64,
    ) {
        let side = servers[self.leader].side();
        // What both of our followers are held against is PostgreSQL's standby.
        let labels: &[&str] = if self.leader == 0 { &["", " (walreceiver)"] } else { &[self.label] };
        for label in labels {
            oltp::add(table, side, script, clients, label, run);
            let what = format!("{clients} clients{label}, standby's CPU, us a transaction");
            table.add(side, &what, Aim::Nothing, cpu);
        }
    }
}

/// Makes commits wait for whom `names` says.
fn wait_for_commits(leader: &Server, names: &str) {
    leader.configure("synchronous_standby_names", names);
    leader.sql("select pg_reload_conf()");
    wait_until("the new setting", || leader.sql("show synchronous_standby_names") == names);
}

impl Follower {
    fn freeze(&mut self) {
        match self {
            Self::Standby(server) => server.freeze(),
            Self::Receiver(process) => process.freeze(),
        }
    }

    fn resume(&mut self) {
        match self {
            Self::Standby(server) => server.resume(),
            Self::Receiver(process) => process.resume(),
        }
    }

    /// Waits until it is where the leader is: a standby with its replay too.
    fn catch_up(&self, leader: &Server) {
        if let Self::Standby(server) = self {
            server.wait_for_replay(leader.flush_lsn());
        }
    }

    fn cpu(&mut self) -> Result<f64> {
        match self {
            Self::Standby(server) => server.cpu(),
            Self::Receiver(process) => crate::cpu::cpu_of_server(process.pid()),
        }
    }
}
