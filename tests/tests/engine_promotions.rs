//! Promotions: of a standby in a cascade, of the next one while the first is away, and killed half-way.

use std::time::Duration;

use walship_tests::{Process, Random, Shutdown, TempRoot, Tool, Walwriter, wait_until};

fn leader(root: &TempRoot) -> Walwriter {
    let server = Walwriter::start_new(root, "leader", &[("shared_buffers", "4MB")]);
    server.pgbench(["-i", "-s", "1", "-q"]);
    server
}

fn load(leader: &Walwriter) -> Process {
    leader.pgbench_tool(["-n", "-c", "8", "-j", "2", "-T", "600"]).spawn()
}

/// A base backup as a standby's directory; it follows with `conninfo`.
fn standby(root: &TempRoot, name: &str, from: &Walwriter, conninfo: &str) -> Walwriter {
    let directory = root.dir(name);
    let tool = Tool::ours(root, "basebackup").args(["-d", &from.conninfo(), "-c", "fast", "-D"]);
    tool.arg(&directory).succeed();
    let standby = Walwriter::in_directory(root, name, &directory);
    standby.follow(conninfo);
    standby.configure("wal_retrieve_retry_interval", "20ms");
    standby
}

fn transactions(server: &Walwriter) -> u64 {
    server.sql("select count(*) from pgbench_history").parse().unwrap()
}

#[test]
fn a_cascade_follows_its_upstream_over_promotions_and_refuses_who_was_left_behind() {
    let root = TempRoot::new("promotions");
    let mut leader = leader(&root);
    let mut first = standby(&root, "first", &leader, &leader.conninfo());
    first.start();
    let mut second = standby(&root, "second", &leader, &first.conninfo());
    second.start();
    let running = load(&leader);
    wait_until("transactions at the end of the cascade", || transactions(&second) > 100);
    leader.kill9();
    running.wait();
    first.promote();
    let running = load(&first);
    let before = transactions(&second);
    wait_until("the second timeline at the end of the cascade", || transactions(&second) > before + 100);
    second.assert_balanced();
    running.kill9();
    second.wait_for_replay(first.flush_lsn());
    assert_eq!(second.balances(), first.balances());

    // Promoted while its upstream is away, and again under another.
    first.stop(Shutdown::Immediate);
    second.promote();
    assert_eq!(second.sql("select pg_walfile_name(pg_current_wal_lsn())").get(..8), Some("00000003"));
    second.pgbench(["-n", "-c", "4", "-t", "50"]);
    second.assert_balanced();

    // The first leader went on alone for a while: it cannot follow any more, and says why.
    leader.start();
    leader.pgbench(["-n", "-c", "4", "-t", "50"]);
    leader.stop(Shutdown::Fast).success();
    leader.follow(&second.conninfo());
    let refusal = "timeline 3 is not a child of this directory's history";
    match leader.try_start() {
        Err(log) => assert!(log.contains(refusal), "{log}"),
        Ok(()) => assert!(leader.wait_for_end().stderr.contains(refusal)),
    }
    let Err(log) = leader.try_start() else { panic!("it shows what was discarded") };
    assert!(log.contains(refusal), "{log}");

    // Who was left where the timelines fork goes on.
    first.follow(&second.conninfo());
    first.start();
    first.wait_for_replay(second.flush_lsn());
    assert_eq!(first.balances(), second.balances());
    first.assert_ends_as(&mut second);
}

#[test]
fn a_promotion_killed_at_any_moment_was_not_begun_or_can_be_repeated() {
    let root = TempRoot::new("promoting");
    let leader = leader(&root);
    let mut original = standby(&root, "original", &leader, &leader.conninfo());
    original.start();
    let load = load(&leader);
    wait_until("transactions", || transactions(&original) > 100);
    original.kill9();
    load.kill9();
    let mut random = Random::new();
    for round in 0..6 {
        let name = format!("copy{round}");
        let directory = root.path().join(&name);
        Tool::new(&root, "cp", "/bin/cp").arg("-a").arg(original.data()).arg(&directory).succeed();
        let mut copy = Walwriter::in_directory(&root, &name, &directory);
        // It replays what it has, and hears of nothing new.
        copy.configure("primary_conninfo", "");
        copy.start();
        let before = copy.balances();
        let promotion = Tool::ours(&root, "walwriter").args(["promote", "-D"]).arg(&directory).spawn();
        random.moment(Duration::from_millis(150));
        copy.kill9();
        promotion.wait();
        copy.start();
        assert_eq!(copy.balances(), before);
        if copy.sql("select pg_is_in_recovery()") == "t" {
            copy.promote();
        }
        copy.pgbench(["-n", "-c", "4", "-t", "20"]);
        let after = copy.balances();
        copy.kill9();
        copy.start();
        assert_eq!(copy.balances(), after);
        copy.stop(Shutdown::Fast).success();
        copy.assert_sound();
    }
}

#[test]
fn a_standby_that_lets_nobody_in_is_promoted_and_then_does() {
    let root = TempRoot::new("cold");
    let leader = Walwriter::start_new(&root, "leader", &[]);
    leader.sql("create table t (id int primary key)");
    let standby = standby(&root, "standby", &leader, &leader.conninfo());
    standby.configure("hot_standby", "off");
    let mut process = standby.command().spawn();
    leader.sql("insert into t values (1)");
    process.wait_for_stderr("consistent recovery state reached");
    let end = leader.flush_lsn();
    wait_until("the row to arrive", || {
        let status =
            Tool::ours(&root, "walwriter").args(["status", "--json", "-D"]).arg(standby.data()).run();
        let replayed = status.stdout.split("\"replay_lsn\": \"").nth(1);
        replayed
            .and_then(|rest| rest.split('"').next()?.parse().ok())
            .is_some_and(|replayed: wal::Lsn| replayed >= end)
    });
    let asked = standby.try_sql("select 1");
    assert!(asked.code != Some(0) && asked.stderr.contains("starting up"), "{asked}");
    standby.promote();
    assert_eq!(standby.sql("select * from t"), "1");
    process.terminate().success();
}
