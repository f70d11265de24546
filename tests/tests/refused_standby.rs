//! Two promotions that took the same timeline number: who is made a standby of the other is refused, and stays refused over
//! restarts, whether or not the other can be asked.

use rustix::process::Signal;
use walship_tests::{Process, Shutdown, TempRoot, Tool, Walwriter, lsns_in, wait_until};

/// A standby of `leader`, from a backup, running.
fn standby(root: &TempRoot, name: &str, leader: &Walwriter) -> Walwriter {
    let directory = root.dir(name);
    let tool = Tool::ours(root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast", "-D"]);
    tool.arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(root, name, &directory);
    standby.follow(&leader.conninfo());
    standby.configure("wal_retrieve_retry_interval", "20ms");
    standby.start();
    standby
}

/// Two leaders of two timelines 2, and a standby of the second.
struct Promoted {
    one: Walwriter,
    other: Walwriter,
    twin: Walwriter,
}

impl Promoted {
    fn new(root: &TempRoot) -> Self {
        let mut leader = Walwriter::start_new(root, "leader", &[]);
        leader.sql("create table t (id int primary key)");
        leader.sql("insert into t values (1)");
        let (mut one, other) = (standby(root, "one", &leader), standby(root, "other", &leader));
        one.wait_for_replay(leader.flush_lsn());
        one.stop(Shutdown::Fast).success();
        leader.sql("insert into t values (2)");
        other.wait_for_replay(leader.flush_lsn());
        leader.kill9();
        one.configure("primary_conninfo", "");
        one.start();
        for server in [&one, &other] {
            server.promote();
        }
        one.sql("insert into t values (10)");
        other.sql("insert into t values (20)");
        let twin = standby(root, "twin", &other);
        twin.wait_for_replay(other.flush_lsn());
        Self { one, other, twin }
    }

    /// Ends the second leader, and has it follow the first, which refuses it.
    fn refuse(&mut self) {
        if self.other.is_running() {
            self.other.stop(Shutdown::Fast).success();
        }
        self.other.follow(&self.one.conninfo());
        let said = match self.other.try_start() {
            Err(log) => log,
            // It was not refused before, and lets sessions in until it has reached its source.
            Ok(()) => {
                let ended = self.other.wait_for_end();
                assert_eq!(ended.code, Some(1), "{ended}");
                ended.stderr
            }
        };
        assert_refused(&said);
    }

    /// Starts the refused one again while its source is away.
    fn start_refused(&mut self) -> Process {
        self.one.kill9();
        let mut again = self.other.command().spawn();
        again.wait_for_stderr("lets nobody in");
        // It would have let sessions in long since.
        again.wait_for_stderr("consistent recovery state reached");
        again.wait_for_stderr("could not receive data from WAL stream");
        self.assert_shows_nothing();
        again
    }

    fn assert_shows_nothing(&self) {
        let asked = self.other.try_sql("select * from t");
        assert!(asked.code != Some(0) && asked.stderr.contains("starting up"), "{asked}");
        // Nor is anybody served its WAL.
        let backup =
            Tool::ours(self.other.root(), "basebackup").args(["server", "-d", &self.other.conninfo()]);
        let asked = backup.run();
        assert!(asked.code != Some(0) && asked.stderr.contains("starting up"), "{asked}");
    }

    fn status(&self) -> String {
        let status = Tool::ours(self.other.root(), "walwriter").args(["status", "-D"]);
        status.arg(self.other.data()).run().stdout
    }

    fn assert_not_refused(&self) {
        assert!(!self.status().contains("refused"), "{}", self.status());
        assert!(!self.other.data().join("walship.refused").exists());
    }
}

/// The line that refuses names where both begin, and what to do.
#[track_caller]
fn assert_refused(log: &str) {
    let line = log.lines().find(|line| line.contains("the histories have forked"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    let lsns = lsns_in(line);
    assert!(lsns.len() == 2 && lsns[0] > lsns[1] && line.contains("base backup"), "{line}");
}

#[test]
fn a_standby_that_was_refused_shows_nothing_until_its_source_is_of_its_history() {
    let root = TempRoot::new("same-number");
    let mut cluster = Promoted::new(&root);
    cluster.refuse();
    assert_refused(&cluster.status());
    let again = cluster.start_refused();
    assert_refused(&cluster.status());
    // Its source is back: the same answer.
    cluster.one.start();
    let ended = again.wait();
    assert_eq!(ended.code, Some(1), "{ended}");
    assert_refused(&ended.stderr);

    // Led to one that has its own history, by a reload.
    let mut again = cluster.start_refused();
    cluster.other.configure("primary_conninfo", &cluster.twin.conninfo());
    again.signal(Signal::HUP);
    wait_until("it to be read again", || cluster.other.try_sql("select 1").code == Some(0));
    assert_eq!(cluster.other.sql("select * from t order by 1"), "1\n2\n20");
    cluster.assert_not_refused();
    again.terminate().success();
    // And it needs nobody for the next start.
    cluster.twin.kill9();
    cluster.other.start();
    assert_eq!(cluster.other.sql("select * from t order by 1"), "1\n2\n20");
}

#[test]
fn a_standby_that_was_refused_can_be_promoted() {
    let root = TempRoot::new("decided");
    let mut cluster = Promoted::new(&root);
    cluster.refuse();
    let again = cluster.start_refused();
    cluster.other.promote();
    assert_eq!(cluster.other.sql("select * from t order by 1"), "1\n2\n20");
    assert!(cluster.other.wal_dir().join("00000003.history").exists());
    cluster.assert_not_refused();
    again.terminate().success();
}

#[test]
fn a_standby_that_was_refused_is_a_leader_again_when_it_is_started_as_one() {
    let root = TempRoot::new("leader_again");
    let mut cluster = Promoted::new(&root);
    cluster.refuse();
    assert_refused(&cluster.status());
    std::fs::remove_file(cluster.other.data().join("standby.signal")).unwrap();
    cluster.other.start();
    cluster.other.sql("insert into t values (21)");
    assert_eq!(cluster.other.sql("select * from t order by 1"), "1\n2\n20\n21");
    cluster.assert_not_refused();
    // Its former follower has its history still.
    cluster.twin.wait_for_replay(cluster.other.flush_lsn());
}
