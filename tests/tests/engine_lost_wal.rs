//! A leader whose log has lost its end does not go on as if nothing had been there.

use std::os::unix::fs::FileExt as _;

use wal::Lsn;
use walship_tests::receiver::walreceiver;
use walship_tests::{Shutdown, TempRoot, Tool, Walwriter, wait_until};

const SEGMENT: u64 = 1 << 20;

/// Inverts the byte of the log at `lsn` in the (stopped) server's files.
fn damage(server: &Walwriter, timeline: u32, lsn: Lsn) {
    let name = format!("{timeline:08X}{:08X}{:08X}", 0, lsn.as_u64() / SEGMENT);
    let file = std::fs::File::options().read(true).write(true).open(server.wal_dir().join(name)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, lsn.as_u64() % SEGMENT).unwrap();
    file.write_all_at(&[!byte[0]], lsn.as_u64() % SEGMENT).unwrap();
}

/// The one line of a refused start that says why.
#[track_caller]
fn error_line(said: &str) -> &str {
    let lines: Vec<_> = said.lines().filter(|line| line.contains("error:")).collect();
    let [line] = lines[..] else { panic!("{said}") };
    line
}

/// The position after "--accept-loss" in what a refused start has said.
fn offered(said: &str) -> String {
    let (_, rest) = said.split_once("--accept-loss ").unwrap_or_else(|| panic!("nothing is offered: {said}"));
    rest.chars().take_while(|&letter| letter.is_ascii_hexdigit() || letter == '/').collect()
}

#[test]
fn a_leader_that_lost_acknowledged_wal_refuses_to_start_until_the_loss_is_accepted() {
    let root = TempRoot::new("lost");
    let settings = [("checkpoint_timeout", "1h"), ("wal_compression", "off")];
    let mut server = Walwriter::start_new(&root, "leader", &settings);
    server.sql("create table t (k int primary key, v text)");
    server.sql("insert into t values (1, 'kept')");
    let middle = server.flush_lsn();
    for k in 2..6 {
        server.sql(&format!(
            "insert into t select {k} * 1000 + g, repeat('x', 1900) from generate_series(1, 500) g"
        ));
    }
    let end = server.flush_lsn();
    server.kill9();
    damage(&server, 1, middle.saturating_add(200));
    let said = server.try_start().unwrap_err();
    assert!(said.contains("WAL has been lost: the log ends at"), "{said}");
    let found: Lsn = offered(&said).parse().unwrap();
    assert!(found >= middle && found < end, "{found}");
    assert!(said.lines().filter(|line| line.contains("error:")).count() == 1, "{said}");

    let with = |lsn: &str| server.command().args(["--accept-loss", lsn]);
    let wrong = with(&end.to_string()).run();
    assert!(wrong.stderr.contains("cannot be accepted: the log ends at"), "{wrong}");
    let process = with(&found.to_string()).spawn();
    wait_until("the leader to serve", || server.try_sql("select 1").code == Some(0));
    assert_eq!(server.sql("select count(*) from t"), "1");
    let log = process.stderr();
    assert!(log.contains("accepted the loss of WAL: the log ended at"), "{log}");
    server.sql("insert into t values (2, 'after')");
    let history = std::fs::read_to_string(server.wal_dir().join("00000002.history")).unwrap();
    assert!(history.contains("loss of WAL accepted"), "{history}");
    process.kill9();
    // On its own it starts as ever; what was accepted once is no standing order.
    let again = with(&found.to_string()).run();
    assert!(again.stderr.contains("nothing shows that any of it is lost"), "{again}");
    server.start();
    assert_eq!(server.sql("select v from t order by k"), "kept\nafter");
    server.stop(Shutdown::Fast).success();
    server.assert_sound();
}

#[test]
fn what_a_slot_says_a_follower_has_is_not_lost_silently() {
    let root = TempRoot::new("had");
    let mut server = Walwriter::start_new(&root, "leader", &[("checkpoint_timeout", "1h")]);
    server.sql("create table t (k int primary key)");
    server.sql("select pg_create_physical_replication_slot('s', true)");
    let before = server.flush_lsn();
    server.sql("insert into t values (1)");
    let directory = root.dir("received");
    let receiver =
        walreceiver(&root, &server.conninfo(), &directory).args(["-S", "s", "--synchronous"]).spawn();
    let all = server.flush_lsn();
    let position = || server.sql("select restart_lsn from pg_replication_slots").parse::<Lsn>().unwrap();
    wait_until("the slot to move", || position() >= all);
    receiver.terminate();
    let had = position();
    assert!(had > before);
    server.kill9();
    damage(&server, 1, before.saturating_add(40));
    let said = server.try_start().unwrap_err();
    assert!(said.contains("replication slot \"s\" shows that it was durable up to"), "{said}");
    assert!(said.contains(&had.to_string()), "{said}");
    // Whoever has what is missing can give it back.
    let segment = format!("{:08X}{:08X}{:08X}", 1, 0, before.as_u64() / SEGMENT);
    let partial = directory.join(format!("{segment}.partial"));
    let received = if partial.exists() { partial } else { directory.join(&segment) };
    std::fs::copy(received, server.wal_dir().join(&segment)).unwrap();
    server.start();
    assert_eq!(server.sql("select count(*) from t"), "1");
}

#[test]
fn a_standby_is_given_by_its_leader_what_its_log_lacks_and_no_loss_is_accepted_for_it() {
    let root = TempRoot::new("standby");
    let leader = Walwriter::start_new(&root, "leader", &[("wal_compression", "off")]);
    leader.sql("create table t (k int primary key, v text)");
    let directory = root.dir("standby");
    let tool = Tool::ours(&root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast"]);
    tool.args(["-R", "-C", "-S", "standby", "-D"]).arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(&root, "standby", &directory);
    standby.start();
    let from = leader.flush_lsn();
    for k in 1..4 {
        leader.sql(&format!(
            "insert into t select {k} * 1000 + g, repeat('x', 1900) from generate_series(1, 500) g"
        ));
    }
    standby.wait_for_replay(leader.flush_lsn());
    standby.kill9();
    let refused = standby.command().args(["--accept-loss", "0/1"]).run();
    assert!(refused.stderr.contains("--accept-loss is for a leader"), "{refused}");
    damage(&standby, 1, from.saturating_add(200));
    standby.start();
    standby.wait_for_replay(leader.flush_lsn());
    assert_eq!(standby.sql("select count(*) from t"), "1500");
}

#[test]
fn what_the_server_itself_had_called_durable_is_not_lost_silently() {
    let root = TempRoot::new("published");
    let mut server = Walwriter::start_new(&root, "leader", &[("checkpoint_timeout", "1h")]);
    server.sql("create table t (k int primary key)");
    let before = server.flush_lsn();
    for k in 1..4 {
        server.sql(&format!("insert into t values ({k})"));
    }
    let durable = server.flush_lsn();
    server.kill9();
    let killed = root.copy_dir(server.data(), "killed");
    // In the segment that was being written, where a power cut may leave a gap in what was never durable.
    damage(&server, 1, before.saturating_add(40));
    let said = server.try_start().unwrap_err();
    assert!(said.contains("WAL has been lost: the log ends at"), "{said}");
    assert!(said.contains("walship.status") && said.contains(&durable.to_string()), "{said}");
    let found: Lsn = offered(&said).parse().unwrap();
    assert!(found >= before && found < durable, "{found}");

    // What is said is what there is: it starts without the damage, and with nothing that says what was durable.
    let mut whole = Walwriter::in_directory(&root, "whole", &killed);
    whole.start();
    assert_eq!(whole.sql("select count(*) from t"), "3");
    std::fs::remove_file(server.wal_dir().join("walship.status")).unwrap();
    server.start();
    assert_eq!(server.sql("select count(*) from t"), "0");
}

#[test]
fn the_end_of_a_log_that_ended_with_its_segment_is_no_loss() {
    let root = TempRoot::new("boundary");
    let mut server = Walwriter::start_new(&root, "leader", &[]);
    server.sql("create table t (k int primary key)");
    for k in 0..3 {
        server.sql(&format!("insert into t values ({k})"));
        server.sql("select pg_switch_wal()");
        wait_until("the switch to be durable", || server.flush_lsn().as_u64().is_multiple_of(SEGMENT));
        server.kill9();
        server.start();
        assert_eq!(server.sql("select count(*) from t"), (k + 1).to_string());
    }
}

#[test]
fn no_loss_is_accepted_of_what_the_pages_have_and_the_line_says_why() {
    let root = TempRoot::new("pages");
    let leader = Walwriter::start_new(&root, "leader", &[("wal_compression", "off")]);
    leader.sql("create table t (k int primary key, v text)");
    let directory = root.dir("standby");
    let tool = Tool::ours(&root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast"]);
    tool.args(["-R", "-D"]).arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(&root, "standby", &directory);
    // So small that pages reach their files while replay goes on.
    standby.configure("shared_buffers", "1MB");
    standby.start();
    let from = leader.flush_lsn();
    for k in 1..6 {
        leader.sql(&format!(
            "insert into t select {k} * 1000 + g, repeat('x', 1900) from generate_series(1, 500) g"
        ));
    }
    standby.wait_for_replay(leader.flush_lsn());
    standby.kill9();
    // Made a leader as it is, with a log that ends before its pages.
    std::fs::remove_file(standby.data().join("standby.signal")).unwrap();
    damage(&standby, 1, from.saturating_add(200));
    let said = standby.try_start().unwrap_err();
    assert!(said.contains("the minimum recovery point in pg_control"), "{said}");
    assert!(said.contains("base backup") && !said.contains("--accept-loss"), "{said}");
    let line = error_line(&said);
    let [end, pages, ..] = walship_tests::lsns_in(line)[..] else { panic!("{line}") };
    assert!(end >= from && end < pages && pages <= leader.flush_lsn(), "{line}");
    let refused = standby.command().args(["--accept-loss", &end.to_string()]).run();
    let line = error_line(&refused.stderr);
    assert!(line.contains("WAL has been lost: the log ends at"), "{line}");
    assert!(
        line.contains(&format!("beyond {end} cannot be accepted: what was changed up to {pages}")),
        "{line}"
    );
    assert!(line.contains("base backup"), "{line}");
}
