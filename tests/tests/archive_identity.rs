//! What our receiver archives is what `pg_receivewal` archives, byte for byte: under load, through kill -9 of both, and
//! across a promotion.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wal::Lsn;
use walship_tests::{
    Options, Postgres, Process, Random, TempRoot, Tool, Version, archive, wait_for, wait_until,
};

/// Our receiver and PostgreSQL's on the same server, each with a slot made at the same position.
struct Receivers {
    root: TempRoot,
    version: Version,
    conninfo: String,
    ours: PathBuf,
    theirs: PathBuf,
    processes: Vec<Process>,
}

impl Receivers {
    /// Makes the slots, which keep the WAL from here on, and starts both.
    fn start(server: &Postgres) -> Self {
        server.sql("select pg_create_physical_replication_slot(slot, true) from (values ('ours'), ('theirs')) v(slot)");
        let root = server.root().clone();
        let (ours, theirs) = (root.dir("ours"), root.dir("theirs"));
        let (version, conninfo) = (server.version(), server.conninfo());
        let mut receivers = Self { root, version, conninfo, ours, theirs, processes: Vec::new() };
        receivers.restart();
        receivers
    }

    fn restart(&mut self) {
        let ours = Tool::ours(&self.root, "walreceiver").arg("-D").arg(&self.ours).args(["-S", "ours"]);
        let theirs = Tool::postgres(&self.root, self.version, "pg_receivewal");
        let theirs = theirs.arg("-D").arg(&self.theirs).args(["-S", "theirs"]);
        self.processes =
            vec![ours.args(["-d", &self.conninfo]).spawn(), theirs.args(["-d", &self.conninfo]).spawn()];
    }

    /// kill -9 of both; leaves the directories as a restart by an administrator would find them.
    fn kill9(&mut self, segment_size: u64) {
        for process in self.processes.drain(..) {
            process.kill9();
        }
        // pg_receivewal refuses a segment whose zero-filling it was killed in, for ever; ours has to cope by itself.
        for name in archive::wal_files(&self.theirs) {
            let path = self.theirs.join(&name);
            if name.ends_with(".partial") && path.metadata().unwrap().len() != segment_size {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// Waits until both have finished the segment before `end`, stops them and compares. Gives the number of segments.
    fn finish(mut self, timeline: u32, end: Lsn, segment_size: u64) -> usize {
        let last = segment_name(timeline, (end.as_u64() - 1) / segment_size, segment_size);
        for directory in [&self.ours, &self.theirs] {
            let what = format!("{last} in {}", directory.display());
            wait_for(&what, Duration::from_secs(240), || directory.join(&last).exists().then_some(()));
        }
        for process in self.processes.drain(..) {
            process.interrupt().success();
        }
        archive::assert_identical(&self.ours, &self.theirs)
    }
}

fn segment_name(timeline: u32, number: u64, segment_size: u64) -> String {
    let per_log = (1 << 32) / segment_size;
    format!("{timeline:08X}{:08X}{:08X}", number / per_log, number % per_log)
}

fn verify(root: &TempRoot, directory: &Path) {
    Tool::ours(root, "walreceiver")
        .arg("verify")
        .arg("-D")
        .arg(directory)
        .run_within(Duration::from_secs(120))
        .success();
}

const MIB: u64 = 1 << 20;

/// Options for a server that writes much WAL quickly and keeps all of what the slots need.
fn busy() -> Options {
    Options::default().setting("max_wal_size", "8GB").setting("shared_buffers", "256MB")
}

/// Records of many kinds: bulk loads, index builds, page images of all sorts, wide rows, subtransactions, prepared and
/// rolled-back transactions, messages, relation files that come and go.
fn variety(server: &Postgres) {
    server.script(
        "create table wide (id int primary key, payload text);
         alter table wide alter payload set storage external;
         insert into wide select n, repeat(md5(n::text), 300) from generate_series(1, 2000) n;
         create index on wide using gin (string_to_array(left(payload, 320), 'a'));
         create index on wide using hash (id); create index on wide using brin (id);
         update wide set payload = payload || 'x' where id % 7 = 0;
         begin; savepoint a; delete from wide where id < 500; rollback to a; delete from wide where id < 50; commit;
         vacuum wide;
         select pg_logical_emit_message(true, 'test', repeat('m', 300000));
         select pg_logical_emit_message(false, 'test', '');
         create table gone as select * from wide; truncate gone; drop table gone;
         create sequence numbers; select count(nextval('numbers')) from generate_series(1, 1000);",
    );
    // Images compressed by every method that this server was built with, beside "on" and "off".
    let methods = server.sql("select unnest(enumvals) from pg_settings where name = 'wal_compression'");
    for (number, method) in methods.lines().filter(|method| !method.starts_with('o')).enumerate() {
        let divisor = number + 3;
        server.script(&format!(
            "set wal_compression = {method}; checkpoint; update wide set payload = 'y' where id % {divisor} = 0;"
        ));
    }
}

#[test]
fn two_gibibytes_of_mixed_load_are_archived_as_by_pg_receivewal() {
    let root = TempRoot::new("identity");
    let leader = Postgres::start_new(&root, "leader", Version::V15, busy());
    let receivers = Receivers::start(&leader);
    let start = leader.flush_lsn();
    variety(&leader);
    leader.pgbench(["-i", "-q", "-s", "50"]);
    while leader.flush_lsn().bytes_since(start) < 2048 * MIB {
        // After a checkpoint every page touched goes into the WAL whole.
        leader.sql("checkpoint");
        leader.pgbench(["-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", "3"]);
    }
    let end = leader.switch_wal();
    let segments = receivers.finish(1, end, 16 * MIB);
    assert!(segments >= 128, "{segments} segments are less than 2 GiB");
    verify(&root, &root.join("ours"));
}

#[test]
fn archives_are_identical_after_both_receivers_were_killed_twenty_times() {
    let mut random = Random::new();
    let root = TempRoot::new("killed-receivers");
    let leader = Postgres::start_new(&root, "leader", Version::V15, busy());
    let mut receivers = Receivers::start(&leader);
    variety(&leader);
    leader.pgbench(["-i", "-q", "-s", "10"]);
    let mut load = leader.pgbench_tool(["-n", "-M", "prepared", "-c", "4", "-j", "2", "-T", "600"]).spawn();
    for round in 0..20 {
        if round % 4 == 0 {
            leader.sql("checkpoint");
        }
        random.moment(Duration::from_millis(800));
        receivers.kill9(16 * MIB);
        assert!(load.is_running());
        receivers.restart();
    }
    load.interrupt();
    let segments = receivers.finish(1, leader.switch_wal(), 16 * MIB);
    assert!(segments > 10, "{segments} segments");
    verify(&root, &root.join("ours"));
}

#[test]
fn small_segments_are_archived_identically_through_kills() {
    for version in Version::at_hand() {
        let mut random = Random::new();
        let root = TempRoot::new("small-segments");
        let leader = Postgres::start_new(&root, "leader", version, busy().wal_segment_mib(1));
        let mut receivers = Receivers::start(&leader);
        leader.pgbench(["-i", "-q", "-s", "2"]);
        let mut load = leader.pgbench_tool(["-n", "-c", "2", "-T", "600"]).spawn();
        for _ in 0..5 {
            random.moment(Duration::from_millis(500));
            receivers.kill9(MIB);
            assert!(load.is_running());
            receivers.restart();
        }
        load.interrupt();
        let segments = receivers.finish(1, leader.switch_wal(), MIB);
        assert!(segments > 20, "{segments} segments");
        verify(&root, &root.join("ours"));
    }
}

#[test]
fn archives_are_identical_across_a_promotion() {
    for version in Version::at_hand() {
        let root = TempRoot::new("promotion");
        let leader = Postgres::start_new(&root, "leader", version, busy());
        leader.pgbench(["-i", "-q", "-s", "5"]);
        let mut standby = leader.clone_with_pg_basebackup("standby");
        standby.follow(&leader.conninfo());
        standby.start();
        let receivers = Receivers::start(&standby);
        leader.pgbench(["-n", "-c", "4", "-T", "2"]);
        standby.wait_for_replay(leader.flush_lsn());
        standby.promote();
        standby.pgbench(["-n", "-c", "4", "-T", "2"]);
        variety(&standby);
        receivers.finish(2, standby.switch_wal(), 16 * MIB);
        assert!(root.join("ours/00000002.history").exists());
        verify(&root, &root.join("ours"));
    }
}

#[test]
fn segments_that_were_complete_but_not_yet_finished_when_the_receiver_was_killed_leave_no_hole() {
    let root = TempRoot::new("unfinished-segments");
    let options = Options::default().wal_segment_mib(1).setting("wal_keep_size", "1GB");
    let leader = Postgres::start_new(&root, "leader", Version::V15, options);
    let archive = root.dir("archive");
    let receiver =
        || Tool::ours(&root, "walreceiver").arg("-D").arg(&archive).args(["-d", &leader.conninfo()]).spawn();
    let first = receiver();
    wait_until("the receiver to stream", || leader.sql("select count(*) from pg_stat_replication") == "1");
    leader.sql("create table t as select generate_series(1, 100000)");
    let last = segment_name(1, (leader.switch_wal().as_u64() - 1) / MIB, MIB);
    wait_until("the last segment", || archive.join(&last).exists());
    first.kill9();
    let segments = archive::segments(&archive);
    // A segment gets its final name only after it was synced, while the next is being received.
    for name in &segments[segments.len() - 2..] {
        std::fs::rename(archive.join(name), archive.join(format!("{name}.partial"))).unwrap();
    }
    let second = receiver();
    wait_until("the last segment again", || archive.join(&last).exists());
    second.interrupt().success();
    assert_eq!(archive::segments(&archive), segments);
    verify(&root, &archive);
}
