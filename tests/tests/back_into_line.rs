//! After a failover: the other standbys and the witness follow the new leader, which has none of their slots.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use wal::Lsn;
use walship_tests::receiver::walreceiver;
use walship_tests::{Finished, TempRoot, Tool, Walsender, Walwriter, wait_until};

const MISSING: &str = "does not exist on the server: create it there, or have it created from here with";

fn leader(root: &TempRoot) -> Walwriter {
    let leader = Walwriter::start_new(root, "leader", &[]);
    leader.sql("create table t (k int primary key)");
    leader
}

/// A running standby of `leader` called `name`, with a slot of that name.
fn standby(root: &TempRoot, leader: &Walwriter, name: &str) -> Walwriter {
    let directory = root.dir(name);
    let tool = Tool::ours(root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast"]);
    tool.args(["-R", "-C", "-S", name, "-D"]).arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(root, name, &directory);
    standby.start();
    standby
}

#[test]
fn another_standby_says_what_it_lacks_at_the_new_leader_and_makes_its_slot_there_when_told() {
    let root = TempRoot::new("others");
    let mut leader = leader(&root);
    let (first, second) = (standby(&root, &leader, "first"), standby(&root, &leader, "second"));
    leader.sql("insert into t values (1)");
    let all = leader.flush_lsn();
    [&first, &second].into_iter().for_each(|standby| standby.wait_for_replay(all));
    leader.kill9();
    first.promote();
    first.sql("insert into t values (2)");
    second.append("postgresql.auto.conf", &format!("primary_conninfo = '{}'\n", first.conninfo()));
    second.sql("select pg_reload_conf()");
    wait_until("the missing slot to be named", || second.log().contains(MISSING));
    let log = second.log();
    let line = log.lines().find(|line| line.contains(MISSING)).unwrap();
    assert!(line.contains("\"second\"") && line.contains("create_primary_slot = on"), "{line}");
    second.configure("create_primary_slot", "on");
    second.sql("select pg_reload_conf()");
    second.wait_for_replay(first.flush_lsn());
    assert_eq!(second.sql("select count(*) from t"), "2");
    assert_eq!(first.sql("select slot_name, active from pg_replication_slots"), "second|t");
}

#[test]
fn the_witness_goes_on_at_the_new_leader_and_at_a_walsender_that_have_not_its_slot() {
    let root = TempRoot::new("witness");
    let mut leader = leader(&root);
    let first = standby(&root, &leader, "first");
    let archive = root.dir("archive");
    let receive =
        |conninfo: &str| walreceiver(&root, conninfo, &archive).args(["-S", "witness", "--synchronous"]);
    let witness = receive(&leader.conninfo()).arg("--create-slot-if-missing").spawn();
    leader.sql("insert into t values (1)");
    wait_until("the witness", || {
        leader.sql("select active from pg_replication_slots where slot_name = 'witness'") == "t"
    });
    first.wait_for_replay(leader.flush_lsn());
    leader.kill9();
    witness.terminate();
    first.promote();
    first.sql("insert into t values (2)");

    // Without the option it says what is missing, goes on trying, and is content with a slot that somebody makes.
    let mut witness = receive(&first.conninfo()).spawn();
    witness.wait_for_stderr(MISSING);
    let said = witness.stderr();
    assert!(said.contains("\"witness\"") && said.contains("--create-slot-if-missing"), "{said}");
    Tool::ours(&root, "walreceiver")
        .args(["-d", &first.conninfo(), "-S", "witness", "--create-slot"])
        .succeed();
    wait_until("the witness to have everything", || has_all(&first, "witness"));
    witness.terminate();

    // And a receiver behind a walsender, in an empty directory and in one that has something.
    let sender = Walsender::start_new(&root, &archive);
    let copies = root.dir("copies");
    for slot in ["one", "other"] {
        let end = first.flush_lsn();
        sender.wait_for_end(end);
        let tool =
            walreceiver(&root, &sender.conninfo(), &copies).args(["-S", slot, "--create-slot-if-missing"]);
        let receiver = tool.arg("--synchronous").spawn();
        wait_until("the slot to move", || {
            let row = sender.command(&format!("READ_REPLICATION_SLOT {slot}"));
            row.split('|').nth(1).and_then(|lsn| lsn.parse::<Lsn>().ok()).is_some_and(|lsn| lsn >= end)
        });
        receiver.terminate();
    }
}

/// Whether the follower with this slot has acknowledged everything.
fn has_all(leader: &Walwriter, slot: &str) -> bool {
    leader.sql(&format!(
        "select restart_lsn >= pg_current_wal_flush_lsn() from pg_replication_slots where slot_name = '{slot}'"
    )) == "t"
}

#[test]
fn a_receiver_is_told_when_the_wal_before_its_new_slot_is_gone() {
    let root = TempRoot::new("gone");
    let settings = [("max_wal_size", "2MB"), ("min_wal_size", "2MB"), ("wal_compression", "off")];
    let leader = Walwriter::start_new(&root, "leader", &settings);
    leader.sql("create table t (k int primary key, v text)");
    let archive = root.dir("archive");
    let receiver = walreceiver(&root, &leader.conninfo(), &archive).arg("--synchronous").spawn();
    let all = leader.flush_lsn();
    wait_until("the receiver to have everything", || {
        let row = leader.sql("select flush_lsn from pg_stat_replication");
        row.parse::<Lsn>().is_ok_and(|flushed| flushed >= all)
    });
    receiver.terminate();
    for round in 0..4 {
        leader.sql(&format!(
            "insert into t select {round} * 1000 + g, repeat('x', 2000) from generate_series(1, 900) g"
        ));
        leader.sql("checkpoint");
    }
    let tool = walreceiver(&root, &leader.conninfo(), &archive);
    let run = tool.args(["-n", "-S", "late", "--create-slot-if-missing"]).run();
    let line = run.one_line_failure("this directory needs WAL from");
    assert!(line.contains("has already been removed"), "{line}");
}

/// `provision-standby` for one directory; the server that it starts ends with this.
struct Provisioner {
    root: TempRoot,
    script: PathBuf,
    directory: PathBuf,
}

impl Provisioner {
    fn new(root: &TempRoot, name: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/provision-standby");
        let script = root.join("provision-standby");
        root.file(&script, fs::read(source).unwrap());
        for program in ["walwriter", "basebackup", "walreceiver"] {
            Tool::ours(root, program);
        }
        Self { root: root.clone(), script, directory: root.join(name) }
    }

    fn run(&self, leader: &Walwriter, options: &[&str]) -> Finished {
        let tool =
            Tool::new(&self.root, "provision", "/bin/bash").arg(&self.script).arg("-D").arg(&self.directory);
        let tool = tool.args(["-d", &leader.conninfo(), "-k"]).arg(self.root.join("socket")).args(options);
        tool.env("WALSHIP_BIN", self.root.join("bin")).run_within(std::time::Duration::from_secs(180))
    }

    /// The server's process and its port.
    fn server(&self) -> (i32, String) {
        let file = fs::read_to_string(self.directory.join("postmaster.pid")).unwrap();
        let lines: Vec<&str> = file.lines().map(str::trim).collect();
        (lines[0].parse().unwrap(), lines[3].to_owned())
    }

    fn sql(&self, sql: &str) -> String {
        let (_, port) = self.server();
        let tool = Tool::postgres(&self.root, walship_tests::Version::V15, "psql");
        let socket = self.root.join("socket").display().to_string();
        let tool =
            tool.args(["-XAtq", "-h", &socket, "-p", &port, "-U", "postgres", "-d", "postgres", "-c", sql]);
        tool.succeed().trim_end().to_owned()
    }
}

impl Drop for Provisioner {
    fn drop(&mut self) {
        let file = fs::read_to_string(self.directory.join("postmaster.pid")).unwrap_or_default();
        let pid = file.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[test]
fn provision_standby_repoints_a_standby_moves_its_port_and_keeps_its_settings() {
    let root = TempRoot::new("provision");
    let mut leader = leader(&root);
    let first = standby(&root, &leader, "first");
    let provision = Provisioner::new(&root, "other");
    let ports = [free_port(), free_port()];
    let run =
        provision.run(&leader, &["-p", &ports[0], "-c", "max_connections=33", "-c", "cluster_name=it's"]);
    run.success();
    assert_eq!(provision.sql("show max_connections"), "33");
    let (server, port) = provision.server();
    assert_eq!(port, ports[0]);
    // Nothing is left to do.
    provision.run(&leader, &[]).success();
    assert_eq!(provision.server(), (server, ports[0].clone()));

    leader.sql("insert into t values (1)");
    let all = leader.flush_lsn();
    first.wait_for_replay(all);
    leader.kill9();
    first.promote();
    first.sql("insert into t values (2)");
    let said = provision.run(&first, &[]).success().stderr;
    assert!(said.contains("streams from the leader (slot \"other\")"), "{said}");
    assert_eq!(provision.server(), (server, ports[0].clone()), "its sessions stay");
    assert_eq!(first.sql("select slot_name, active from pg_replication_slots"), "other|t");
    wait_until("the new leader's row", || provision.sql("select count(*) from t") == "2");
    assert_eq!(provision.sql("show cluster_name"), "it's");

    // Another port: a restart, with the settings that were given before.
    provision.run(&first, &["-p", &ports[1], "-c", "wal_sender_timeout=7s"]).success();
    assert_eq!(provision.server().1, ports[1]);
    assert_ne!(provision.server().0, server);
    assert_eq!(provision.sql("show max_connections"), "33");
    assert_eq!(provision.sql("show wal_sender_timeout"), "7s");

    // What the server does not take is taken back, and it starts again with what it had.
    let refused = provision.run(&first, &["-c", "no_such_setting=1"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("which are taken back"), "{refused}");
    assert!(refused.stderr.contains("unrecognized configuration parameter"), "{refused}");
    provision.run(&first, &[]).success();
    assert_eq!(
        (provision.server().1, provision.sql("show wal_sender_timeout")),
        (ports[1].clone(), "7s".to_owned())
    );

    // Made anew, it is what it was: its port, its settings, its slot, which is the only one.
    kill_process(Pid::from_raw(provision.server().0).unwrap(), Signal::TERM).unwrap();
    let pid_file = provision.directory.join("postmaster.pid");
    wait_until("the standby to end", || !pid_file.exists());
    let said = provision.run(&first, &["--rebuild"]).success().stderr;
    assert!(said.contains("base backup complete"), "{said}");
    assert_eq!(
        (provision.server().1, provision.sql("show wal_sender_timeout"), provision.sql("show cluster_name")),
        (ports[1].clone(), "7s".to_owned(), "it's".to_owned())
    );
    assert_eq!(first.sql("select slot_name, active from pg_replication_slots"), "other|t");
    assert!(!root.join("other.old").exists());
}
