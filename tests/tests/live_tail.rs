//! How much later a standby has a commit that comes through walreceiver and walsender than one attached to the leader.

use std::path::Path;
use std::time::Duration;

use wal::Lsn;
use walship_tests::receiver::walreceiver;
use walship_tests::{Options, Postgres, Process, TempRoot, Version, Walsender, wait_until};

const COMMITS: usize = 101;
const MOST_ADDED: Duration = Duration::from_millis(50);

/// Watches on the standby itself, without a connection in between, when its receiver has flushed how much: a line
/// `LSN microseconds` whenever that changes, until the file `stop` shows up in its data directory.
fn watch(standby: &Postgres) -> Process {
    let loops = "do $$ declare seen pg_lsn := '0/0'; now_at pg_lsn; begin
        while pg_stat_file('stop', true) is null loop
            now_at := pg_last_wal_receive_lsn();
            if now_at <> seen then
                raise notice '% %', now_at, (extract(epoch from clock_timestamp()) * 1000000)::bigint;
                seen := now_at;
            end if;
            perform pg_sleep(0.001);
        end loop; end $$";
    let name = format!("watch-{}", standby.port());
    standby.psql(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", loops]).named(name).spawn()
}

/// What a watch saw, in order.
fn seen(watch: Process, standby: &Postgres) -> Vec<(Lsn, u64)> {
    standby.append("stop", "");
    let said = watch.wait().success().stderr;
    said.lines().filter_map(|line| line.split_once("NOTICE:")).map(|(_, seen)| lsn_and_time(seen)).collect()
}

fn lsn_and_time(line: &str) -> (Lsn, u64) {
    let (lsn, time) = line.trim().split_once(' ').unwrap();
    (lsn.parse().unwrap(), time.parse().unwrap())
}

/// Commits one row after the other and gives for each the position and the time (microseconds) after the commit.
fn commit_one_by_one(leader: &Postgres) -> Vec<(Lsn, u64)> {
    let one = "insert into ticks values (1);
        select pg_current_wal_flush_lsn() || ' ' || (extract(epoch from clock_timestamp()) * 1000000)::bigint;
        select pg_sleep(0.02) is null \\g /dev/null\n";
    let script = leader.psql(["-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"]).stdin(one.repeat(COMMITS));
    script.run().success().stdout.lines().map(lsn_and_time).collect()
}

/// The median of the delays, in microseconds, after which `seen` covers the commits.
fn median_delay(commits: &[(Lsn, u64)], seen: &[(Lsn, u64)]) -> i64 {
    let delay = |&(lsn, committed): &(Lsn, u64)| {
        let (_, at) = seen.iter().find(|(upto, _)| *upto >= lsn).expect("every commit was seen");
        *at as i64 - committed as i64
    };
    let mut delays: Vec<_> = commits.iter().map(delay).collect();
    delays.sort_unstable();
    delays[delays.len() / 2]
}

fn wait_until_streaming(standby: &Postgres) {
    wait_until("the standby to stream", || {
        standby.sql("select status from pg_stat_wal_receiver") == "streaming"
    });
}

fn standby_of(leader: &Postgres, name: &str, primary_conninfo: &str) -> Postgres {
    let mut standby = leader.clone_with_pg_basebackup(name);
    standby.follow(primary_conninfo);
    standby.start();
    wait_until_streaming(&standby);
    standby
}

fn receive(leader: &Postgres, archive: &Path) -> Process {
    let conninfo = leader.conninfo();
    let receiver = walreceiver(leader.root(), &conninfo, archive).arg("--synchronous").spawn();
    wait_until("the receiver to stream", || {
        leader.sql("select count(*) from pg_stat_replication where state = 'streaming'") == "1"
    });
    receiver
}

#[test]
fn the_way_through_receiver_and_sender_adds_less_than_50_milliseconds() {
    let root = TempRoot::new("live-tail");
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default().wal_segment_mib(1));
    leader.sql("create table ticks (n int)");
    let archive = root.dir("archive");
    let receiver = receive(&leader, &archive);
    let sender = Walsender::start_new(&root, &archive);
    let direct = standby_of(&leader, "direct", &leader.conninfo());
    let relayed = standby_of(&leader, "relayed", &sender.conninfo());
    for standby in [&direct, &relayed] {
        standby.wait_for_replay(leader.flush_lsn());
    }

    let watches = [watch(&direct), watch(&relayed)];
    for (watch, standby) in watches.iter().zip([&direct, &relayed]) {
        wait_until("the watch to begin", || watch.stderr().contains("NOTICE"));
        wait_until_streaming(standby);
    }
    let commits = commit_one_by_one(&leader);
    assert_eq!(commits.len(), COMMITS);
    for standby in [&direct, &relayed] {
        wait_until("the last commit", || standby.flush_lsn() >= commits[COMMITS - 1].0);
    }
    let [direct_watch, relayed_watch] = watches;
    let directly = median_delay(&commits, &seen(direct_watch, &direct));
    let relayed_by_us = median_delay(&commits, &seen(relayed_watch, &relayed));
    println!("median delay: {directly} us attached to the leader, {relayed_by_us} us through both programs");
    let added = relayed_by_us - directly;
    assert!(added < MOST_ADDED.as_micros() as i64, "{added} us are added to {directly} us");
    receiver.interrupt().success();
}
