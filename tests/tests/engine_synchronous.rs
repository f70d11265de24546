//! Synchronous commit of walwriter: what clients are told, and what readers see, when leader and standby die.

use walship_tests::wire::Wire;
use walship_tests::{Process, Shutdown, TempRoot, Tool, Walwriter, wait_until};

/// A leader with one row in `t`, and the directory of a standby called `one`.
fn leader_and_standby(root: &TempRoot) -> (Walwriter, Walwriter) {
    let leader = Walwriter::start_new(root, "leader", &[]);
    leader.sql("create table t (id int primary key)");
    leader.sql("insert into t values (1)");
    let directory = root.dir("one");
    let conninfo = format!("{} application_name=one", leader.conninfo());
    let tool =
        Tool::ours(root, "basebackup").args(["-d", &conninfo, "-c", "fast", "-X", "stream", "-R", "-D"]);
    tool.arg(&directory).succeed();
    let standby = Walwriter::in_directory(root, "one", &directory);
    (leader, standby)
}

/// The leader waits for the standby from now on.
#[track_caller]
fn make_synchronous(leader: &Walwriter) {
    set(leader, "synchronous_standby_names", "one");
    wait_until("the standby to be synchronous", || {
        leader.sql("select sync_state from pg_stat_replication") == "sync"
    });
}

#[track_caller]
fn set(server: &Walwriter, name: &str, value: &str) {
    server.configure(name, value);
    server.sql("select pg_reload_conf()");
    wait_until("the new setting", || server.sql(&format!("show {name}")) == value);
}

/// Begins an insert that nobody acknowledges, and waits until it is in the leader's log.
#[track_caller]
fn insert_in_vain(leader: &Walwriter, level: &str, id: u32) -> Process {
    let before = leader.flush_lsn();
    let (level, insert) =
        (format!("set synchronous_commit = {level}"), format!("insert into t values ({id})"));
    let waits = leader.psql(["-XAtq", "-c", level.as_str(), "-c", insert.as_str()]).named("insert").spawn();
    wait_until("the insert to be durable here", || leader.flush_lsn() > before);
    waits
}

#[test]
fn a_restarted_leader_shows_what_it_recovered_only_once_its_standby_has_it() {
    let root = TempRoot::new("restart");
    let (mut leader, mut standby) = leader_and_standby(&root);
    standby.start();
    make_synchronous(&leader);
    leader.sql("insert into t values (2)");
    standby.kill9();
    let mut waits = insert_in_vain(&leader, "on", 3);
    assert!(waits.is_running(), "nobody acknowledged it");
    assert_eq!(leader.sql("select count(*) from t"), "2", "nor sees it");
    leader.kill9();
    waits.wait();

    leader.start();
    assert!(leader.log().contains("may never have been acknowledged"), "{}", leader.log());
    for show in ["select count(*) from t", "select * from u", "select count(*) from pg_class"] {
        let refused = leader.try_sql(&format!("set statement_timeout = 300; {show}"));
        assert!(refused.stderr.contains("canceling statement due to statement timeout"), "{refused}");
        assert!(refused.stderr.contains("not confirmed yet"), "{refused}");
    }
    // Who looks for the reason is answered.
    assert_eq!(leader.sql("select count(*) from pg_stat_replication"), "0");
    assert_eq!(leader.sql("select 1"), "1");
    let reader = leader.psql(["-XAtq", "-c", "select count(*) from t"]).named("reader").spawn();
    standby.start();
    assert_eq!(reader.wait().success().stdout.trim(), "3");
    assert_eq!(standby.sql("select count(*) from t"), "3");
    assert!(leader.log().contains("all recovered commits are confirmed"), "{}", leader.log());
    leader.sql("insert into t values (4)");

    standby.kill9();
    leader.kill9();
    leader.start();
    let reader = leader.psql(["-XAtq", "-c", "select count(*) from t"]).named("reader").spawn();
    leader.configure("synchronous_standby_names", "");
    leader.sql("select pg_reload_conf()");
    assert_eq!(reader.wait().success().stdout.trim(), "4", "nobody is waited for any more");
    leader.stop(Shutdown::Fast).success();
    leader.assert_sound();
}

#[test]
fn sessions_choose_what_they_wait_for_and_see_their_own_commits_whatever_that_is() {
    let root = TempRoot::new("levels");
    let (leader, mut standby) = leader_and_standby(&root);
    standby.start();
    make_synchronous(&leader);
    for (id, level) in [(2, "remote_write"), (3, "on"), (4, "remote_apply")] {
        leader.script(&format!("set synchronous_commit = {level}; insert into t values ({id});"));
    }
    standby.kill9();
    let sees = |script: &str| leader.script(script).trim().to_owned();
    let count = "select count(*) from t;";
    assert_eq!(sees(&format!("set synchronous_commit = local; insert into t values (5); {count}")), "5");
    assert_eq!(sees(&format!("set synchronous_commit to off; insert into t values (6); {count}")), "6");
    let block = "begin; set local synchronous_commit = off; insert into t values (7); commit;";
    assert_eq!(sees(&format!("{block} {count} show synchronous_commit;")), "7\non");
    let script = ["-XAtq", "-c", "create table u (id int)", "-c", "select count(*) from u"];
    let psql = leader.psql(script).env("PGOPTIONS", "-c synchronous_commit=local");
    assert_eq!(psql.succeed().trim(), "0");
    // What others see does not depend on what the session waited for.
    assert_eq!(sees(count), "4");
    assert!(leader.try_sql("select * from u").stderr.contains("does not exist"));
    for (id, level) in [(8, "remote_write"), (9, "on"), (10, "remote_apply")] {
        let mut waits = insert_in_vain(&leader, level, id);
        assert!(waits.is_running(), "{level}");
        waits.kill9();
    }
    standby.start();
    wait_until("everybody to see it all", || sees(count) == "10");
    assert_eq!(leader.sql("select count(*) from u"), "0");
}

#[test]
fn a_session_that_waits_for_its_standby_is_seen_to_wait() {
    let root = TempRoot::new("seen");
    let (leader, mut standby) = leader_and_standby(&root);
    standby.start();
    make_synchronous(&leader);
    let seen = || {
        leader.sql(
            "select state, wait_event_type, wait_event from pg_stat_activity \
             where query like 'insert%' and backend_type = 'client backend'",
        )
    };
    standby.kill9();
    let waits = insert_in_vain(&leader, "on", 2);
    wait_until("the session to be seen waiting", || seen() == "active|IPC|SyncRep");
    let cancelled = insert_in_vain(&leader, "on", 3);
    wait_until("both to be seen waiting", || seen() == "active|IPC|SyncRep\nactive|IPC|SyncRep");
    cancelled.kill9();
    wait_until("one to be gone", || seen() == "active|IPC|SyncRep");
    standby.start();
    waits.wait().success();
    let mut wire = Wire::connect(leader.port());
    wire.value("insert into t values (4)");
    assert_eq!(seen(), "idle|Client|ClientRead");
}

#[test]
fn a_default_that_is_changed_reaches_the_sessions_that_have_not_set_it_themselves() {
    let root = TempRoot::new("defaults");
    let server = Walwriter::start_new(&root, "server", &[]);
    let mut open: Vec<Wire> = (0..4).map(|_| Wire::connect(server.port())).collect();
    let [follows, chose, blocked, reset] = &mut open[..] else { unreachable!() };
    chose.value("set synchronous_commit = local");
    reset.value("set synchronous_commit = local");
    blocked.value("begin; set local synchronous_commit = remote_write");
    server.configure("statement_timeout", "50ms");
    set(&server, "synchronous_commit", "off");
    let shown = |wire: &mut Wire| wire.value("show synchronous_commit");
    assert_eq!(shown(follows), "off");
    assert_eq!(shown(chose), "local");
    assert_eq!(shown(blocked), "remote_write");
    blocked.value("commit");
    assert_eq!(shown(blocked), "off");
    reset.value("reset synchronous_commit");
    assert_eq!(shown(reset), "off");
    for wire in [&mut *follows, &mut *chose] {
        assert_eq!(wire.code("select pg_sleep(100)"), "57014", "the statement's time is over");
    }
    let source = "select source from pg_settings where name = 'synchronous_commit'";
    assert_eq!((follows.value(source), chose.value(source)), ("configuration file".into(), "session".into()));
    server.configure("statement_timeout", "0");
    set(&server, "synchronous_commit", "on");
    assert_eq!((shown(follows), shown(reset), shown(chose)), ("on".into(), "on".into(), "local".into()));
    assert_eq!(follows.query("select pg_sleep(0.1)").error, None);
}

#[test]
fn a_commit_that_waits_for_nothing_is_flushed_soon_after() {
    let root = TempRoot::new("off");
    let mut server = Walwriter::start_new(&root, "server", &[("wal_writer_delay", "10s")]);
    server.sql("create table t (id int primary key)");
    let positions = "select pg_current_wal_flush_lsn(); select pg_current_wal_insert_lsn();";
    let printed = server.script(&format!(
        "set synchronous_commit = off; insert into t values (1); select count(*) from t; {positions}"
    ));
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "1", "the session sees it");
    let lsn = |text: &str| text.parse::<wal::Lsn>().unwrap();
    assert!(lsn(lines[1]) < lsn(lines[2]), "but it is not flushed: {printed}");
    assert_eq!(server.sql("select count(*) from t"), "0", "others see what is durable");
    server.sql("insert into t values (2)");
    assert_eq!(
        server.sql("select count(*) from t"),
        "2",
        "whose commit is flushed takes along what is before it"
    );
    server.stop(Shutdown::Fast).success();
    server.configure("wal_writer_delay", "10ms");
    server.configure("synchronous_commit", "off");
    server.start();
    assert_eq!(server.sql("show synchronous_commit"), "off");
    server.sql("insert into t values (3)");
    wait_until("the commit to be flushed", || server.sql("select count(*) from t") == "3");
    server.kill9();
    server.start();
    assert_eq!(server.sql("select count(*) from t"), "3");
}
