//! Base backups of servers that ask, fall silent, or find something wrong at the very end: they end, and say how.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use walship_tests::base_backup::{assert_verifies, verify};
use walship_tests::proxy::{Message, Proxy, Verdict};
use walship_tests::{Options, Postgres, TempRoot, Tool, Version, Walsender, Walwriter, wait_until};

/// So slow that an idle server with `TIMEOUT` asks for a reply several times before the copy ends, and with
/// `LONGER_TIMEOUT` at least once.
const RATE: &str = "5M";
const TIMEOUT: &str = "1s";
const LONGER_TIMEOUT: &str = "5s";
/// Without a wait that nobody ends, these take some seconds.
const SOON: Duration = Duration::from_secs(50);

fn backup(root: &TempRoot, conninfo: &str, name: &str) -> Tool {
    Tool::ours(root, "basebackup").args(["-c", "fast", "-d", conninfo, "-D"]).arg(root.join(name))
}

/// Both formats at once, of a source that nobody writes to.
#[track_caller]
fn assert_ends(root: &TempRoot, conninfo: &str) {
    assert_all_end(root, &[("", conninfo)]);
}

/// Both formats at once by each of these connections, of a source that nobody writes to.
#[track_caller]
fn assert_all_end(root: &TempRoot, conninfos: &[(&str, &str)]) {
    let mut runs = Vec::new();
    for (suffix, conninfo) in conninfos {
        for format in ["p", "t"] {
            let name = format!("{format}{suffix}");
            runs.push((backup(root, conninfo, &name).args(["-F", format, "-r", RATE]).spawn(), name));
        }
    }
    for (run, name) in runs {
        run.wait_within(SOON).success();
        verify(root, &root.join(name)).succeed();
    }
}

/// Something to copy for a few seconds, and a log that ends within a segment.
const FILL: &str = "create table t (a int primary key, b text);
    insert into t select g, repeat('x', 200) from generate_series(1, 60000) g; checkpoint;";

fn stock_leader(root: &TempRoot) -> Postgres {
    let leader = Postgres::start_new(root, "leader", Version::V15, Options::default());
    leader.script(FILL);
    leader
}

fn stock_standby(leader: &Postgres, timeout: &str) -> Postgres {
    let mut standby = leader.clone_with_pg_basebackup("standby");
    standby.configure("wal_sender_timeout", timeout);
    standby.follow(&leader.conninfo());
    standby.start();
    leader.script("create table mid (a int); insert into mid values (1); checkpoint;");
    standby.wait_for_replay(leader.flush_lsn());
    standby
}

#[test]
fn a_backup_of_an_idle_leader_of_postgresqls_ends() {
    let root = TempRoot::new("idle-leader");
    let leader = stock_leader(&root);
    leader.configure("wal_sender_timeout", TIMEOUT);
    // Four backups begin with four checkpoints, and a slot is made only when its backup has begun.
    leader.configure("wal_keep_size", "128MB");
    leader.reload();
    let longer = format!("{} options='-c wal_sender_timeout={LONGER_TIMEOUT}'", leader.conninfo());
    assert_all_end(&root, &[("", &leader.conninfo()), ("-longer", &longer)]);
}

#[test]
fn a_backup_of_an_idle_standby_of_postgresqls_ends() {
    let root = TempRoot::new("idle-standby");
    let leader = stock_leader(&root);
    let standby = stock_standby(&leader, TIMEOUT);
    assert_ends(&root, &standby.conninfo());
    assert_verifies(&root, Version::V15, &root.join("p"), &[]);
}

#[test]
fn backups_of_idle_servers_of_our_own_end() {
    let root = TempRoot::new("idle-walwriters");
    let leader = Walwriter::start_new(&root, "leader", &[("wal_sender_timeout", TIMEOUT)]);
    leader.script(FILL);
    assert_ends(&root, &leader.conninfo());
    std::fs::remove_dir_all(root.join("p")).unwrap();
    std::fs::remove_dir_all(root.join("t")).unwrap();

    let standby = root.join("standby");
    backup(&root, &leader.conninfo(), "standby").arg("-R").succeed();
    let mut standby = Walwriter::in_directory(&root, "standby", &standby);
    standby.start();
    standby.wait_for_replay(leader.flush_lsn());
    assert_ends(&root, &standby.conninfo());
    std::fs::remove_dir_all(root.join("p")).unwrap();
    std::fs::remove_dir_all(root.join("t")).unwrap();

    let sender = Walsender::start_with(&root, leader.data(), &["-c", "wal_sender_timeout=1s"]);
    assert_ends(&root, &format!("host=127.0.0.1 port={} user=postgres", sender.port()));
}

/// A proxy that falls silent at the first message for which `when` holds.
fn falls_silent(port: u16, mut when: impl FnMut(&Message) -> bool + Send + 'static) -> Proxy {
    Proxy::start(port, move |message| match when(message) {
        true => Verdict::ReplaceAndHang(Vec::new()),
        false => Verdict::Pass,
    })
}

/// Messages of a backup's copy.
fn is_backup_data(message: &Message) -> bool {
    message.kind == b'd' && matches!(message.body.first(), Some(b'd' | b'n' | b'm' | b'p'))
}

#[test]
fn a_server_that_falls_silent_is_named_with_what_it_was_waited_for() {
    let root = TempRoot::new("silent");
    let leader = stock_leader(&root);
    type When = fn(&Message, usize) -> bool;
    let copying: When = |message, seen| is_backup_data(message) && seen > 20;
    let ends: When = |message, _| message.kind == b'c';
    let streams: When = |message, _| message.kind == b'W';
    for (name, when, words) in [
        ("in-copy", copying, "data of the backup"),
        ("at-the-end", ends, "data of the backup"),
        ("no-stream", streams, "has not begun to stream WAL"),
    ] {
        for format in ["p", "t"] {
            println!("{name} {format}");
            let seen = AtomicUsize::new(0);
            let proxy = falls_silent(leader.port(), move |message| {
                when(message, seen.fetch_add(1, Ordering::SeqCst))
            });
            let run =
                backup(&root, &proxy.conninfo(), name).args(["-F", format, "--server-timeout", "3"]).run();
            let line = run.one_line_failure(words);
            assert!(line.contains("3 seconds") && line.contains("127.0.0.1"), "{line}");
            assert!(!root.join(name).exists());
        }
    }
}

#[test]
fn wal_that_does_not_come_fails_the_run_and_what_has_come_stays() {
    let root = TempRoot::new("no-wal");
    let leader = stock_leader(&root);
    let standby = stock_standby(&leader, "60s");
    for format in ["p", "t"] {
        // Everything arrives but WAL, on a connection that lives.
        let proxy = Proxy::start(standby.port(), move |message| match message.as_wal() {
            Some(_) => Verdict::Replace(Vec::new()),
            None => Verdict::Pass,
        });
        let run =
            backup(&root, &proxy.conninfo(), format).args(["-F", format, "--server-timeout", "3"]).run();
        let line = run.one_line_failure("WAL up to ");
        let directory = root.join(format);
        assert!(line.contains("3 seconds") && line.contains(directory.to_str().unwrap()), "{line}");
        assert!(directory.read_dir().unwrap().count() > 1, "what has come stays");
        verify(&root, &directory).run().one_line_failure("backup_manifest");
    }
}

#[test]
fn a_page_that_the_server_finds_damaged_leaves_a_backup_without_its_name() {
    use std::os::unix::fs::FileExt as _;
    let root = TempRoot::new("one-page");
    let options = Options::default().data_checksums();
    let leader = Postgres::start_new(&root, "leader", Version::V15, options);
    leader.script(FILL);
    let path = leader.data().join(leader.sql("select pg_relation_filepath('t')"));
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 3 * 8192 + 5000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 3 * 8192 + 5000).unwrap();
    for format in ["p", "t"] {
        let directory = root.join(format);
        let run = backup(&root, &leader.conninfo(), format).args(["-F", format]).run();
        let line = run.failure("checksum error occurred");
        assert!(line.contains(directory.to_str().unwrap()), "{line}");
        assert!(!directory.join("backup_manifest").exists());
        verify(&root, &directory).run().one_line_failure("backup_manifest");
        // Whoever takes it as it is has all of it, as the server had it.
        std::fs::rename(directory.join("backup_manifest.unfinished"), directory.join("backup_manifest"))
            .unwrap();
        verify(&root, &directory).succeed();
    }
    wait_until("the temporary slots to go", || {
        leader.sql("select count(*) from pg_replication_slots") == "0"
    });
}
