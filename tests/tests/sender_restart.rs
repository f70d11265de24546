//! Followers survive a sender that is killed, stopped, or stuck, and go on where they were.

use std::path::{Path, PathBuf};

use walship_tests::receiver::{pg_receivewal, walreceiver};
use walship_tests::{Options, Postgres, Process, TempRoot, Version, Walsender, archive, wait_until};

/// A leader with its archive, a standby fed by a walsender alone, and pg_receivewal beside it.
struct Followed {
    root: TempRoot,
    leader: Postgres,
    receiver: Option<Process>,
    sender: Walsender,
    standby: Postgres,
    follower: Process,
}

fn receive(leader: &Postgres, archive: &Path) -> Process {
    walreceiver(leader.root(), &leader.conninfo(), archive).args(["-S", "w"]).spawn()
}

impl Followed {
    fn start(options: &[&str]) -> Self {
        let root = TempRoot::new("restart");
        let options_of_leader = Options::default().wal_segment_mib(1);
        let leader = Postgres::start_new(&root, "leader", Version::V15, options_of_leader);
        leader.sql("select pg_create_physical_replication_slot('w', true)");
        let archive = root.dir("archive");
        let receiver = Some(receive(&leader, &archive));
        wait_until("something to serve", || !archive::wal_files(&archive).is_empty());
        let mut standby = leader.clone_with_pg_basebackup("standby");
        let sender = Walsender::start_with(&root, &archive, options);
        standby.follow(&format!("{} application_name=standby", sender.conninfo()));
        standby.configure("wal_receiver_timeout", "5s");
        standby.start();
        let follower = pg_receivewal(&root, Version::V15, &sender.conninfo(), &root.dir("received")).spawn();
        let mut followed = Self { root, leader, receiver, sender, standby, follower };
        // With nothing received, pg_receivewal that loses its sender comes back for what is written then. So it streams
        // before anything is written, and has some of it before anything happens to its sender.
        followed.sender.process().wait_for_stderr("application_name=\"pg_receivewal\" start=");
        followed.everything_arrives("first");
        wait_until("pg_receivewal to have some", || {
            !archive::wal_files(&followed.root.join("received")).is_empty()
        });
        followed
    }

    fn archive(&self) -> PathBuf {
        self.root.join("archive")
    }

    /// Something written now arrives at the standby.
    fn everything_arrives(&self, table: &str) {
        self.leader.script(&format!(
            "create table {table} as select generate_series(1, 30000) as n; select pg_switch_wal()"
        ));
        self.standby.wait_for_replay(self.leader.flush_lsn());
        assert_eq!(self.standby.sql(&format!("select count(*) from {table}")), "30000");
    }

    /// pg_receivewal has the archive's last finished segment; what both have is the same.
    fn finish(self) {
        let (archive, received) = (self.archive(), self.root.join("received"));
        wait_until("pg_receivewal to have the last segment", || {
            archive::segments(&received).last() == archive::segments(&archive).last()
        });
        self.follower.interrupt().success();
        self.receiver.expect("a receiver").interrupt().success();
        keep_common_segments(&archive, &received);
        assert!(archive::assert_identical(&received, &archive) > 2);
    }
}

/// pg_receivewal began where the sender's WAL ended when it came; what is older is not compared.
fn keep_common_segments(archive: &Path, received: &Path) {
    let first = archive::segments(received).into_iter().next().expect("a finished segment");
    for name in archive::segments(archive).into_iter().filter(|name| *name < first) {
        std::fs::remove_file(archive.join(name)).unwrap();
    }
}

#[test]
fn followers_go_on_after_the_sender_was_killed() {
    let mut followed = Followed::start(&[]);
    for round in 0..3 {
        followed.sender.kill9();
        followed
            .leader
            .script(&format!("create table while_down_{round} as select 1; select pg_switch_wal()"));
        followed.sender.start();
        followed.everything_arrives(&format!("after_{round}"));
    }
    followed.finish();
}

#[test]
fn a_sender_told_to_stop_ends_and_its_followers_go_on_with_the_next() {
    let mut followed = Followed::start(&[]);
    followed.sender.terminate().success();
    followed.leader.sql("create table while_down as select 1");
    followed.sender.start();
    followed.everything_arrives("after");
    followed.finish();
}

#[test]
fn a_standby_leaves_a_sender_that_is_stuck_and_comes_back() {
    let mut followed = Followed::start(&["-c", "wal_sender_timeout=2s"]);
    followed.sender.process().freeze();
    wait_until("the standby to give up on its sender", || {
        followed.standby.log().contains("terminating walreceiver due to timeout")
    });
    followed.sender.process().resume();
    followed.everything_arrives("after");
    followed.finish();
}

#[test]
fn a_sender_drops_a_follower_that_is_stuck_and_takes_it_back() {
    let mut followed = Followed::start(&["-c", "wal_sender_timeout=2s"]);
    followed.follower.freeze();
    followed.sender.process().wait_for_stderr("timeout");
    followed.everything_arrives("meanwhile");
    followed.follower.resume();
    followed.everything_arrives("after");
    followed.finish();
}

#[test]
fn a_sender_serves_on_while_its_receiver_is_killed_and_restarted() {
    let mut followed = Followed::start(&[]);
    for round in 0..3 {
        followed.receiver.take().expect("a receiver").kill9();
        followed.leader.sql(&format!("create table while_down_{round} as select generate_series(1, 50000)"));
        followed.receiver = Some(receive(&followed.leader, &followed.archive()));
        followed.everything_arrives(&format!("after_{round}"));
    }
    followed.finish();
}
