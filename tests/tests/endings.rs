//! Nothing can refuse to end: each program with each kind of stalled peer, told by SIGTERM, by SIGTERM twice, and by SIGQUIT.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use walship_tests::proxy::{Proxy, Verdict};
use walship_tests::receiver::walreceiver;
use walship_tests::wire::Wire;
use walship_tests::{
    Finished, Options, Postgres, Process, TempRoot, Tool, Version, Walsender, Walwriter, archive, wait_until,
};

/// What is promised to end at once takes no time at all; on a busy machine it may take this.
const AT_ONCE: Duration = Duration::from_secs(15);
/// Stalled peers are waited for 5 seconds, SQL clients and followers one after the other, and the machine may be busy.
const IN_ORDER: Duration = Duration::from_secs(40);

/// How a program is told to end.
const WAYS: [&[Signal]; 3] = [&[Signal::TERM], &[Signal::TERM, Signal::TERM], &[Signal::QUIT]];

/// Tells a process to end, and insists that it does: in time, and with 0 or with `at_once`, by what it was told.
#[track_caller]
fn end(mut process: Process, way: &[Signal], in_order: i32, at_once: i32) -> Finished {
    let [last, before @ ..] = way else { panic!("no signal") };
    for signal in before {
        process.signal(*signal);
        // Two signals that come at once are one.
        std::thread::sleep(Duration::from_millis(200));
    }
    if process.is_running() {
        process.signal(*last);
    }
    let is_orderly = way == [Signal::TERM];
    let finished = process.wait_within(if is_orderly { IN_ORDER } else { AT_ONCE });
    let codes: &[Option<i32>] = match way {
        [Signal::TERM] => &[Some(in_order)],
        // It may have ended in good order before the second.
        [Signal::TERM, ..] => &[Some(at_once), Some(in_order)],
        _ => &[Some(at_once)],
    };
    assert!(codes.contains(&finished.code), "{way:?}: {finished}");
    finished
}

/// A name that was not given before.
fn fresh(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A host that accepts connections, and says nothing.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let conninfo = format!("host=127.0.0.1 port={} user=postgres", listener.local_addr().unwrap().port());
    (listener, conninfo)
}

/// So many rows are more than sockets have room for.
const MANY: u32 = 100_000;

fn fill(leader: &Walwriter, rows: u32) {
    let insert = format!("insert into t select g, repeat('x', 300) from generate_series(1, {rows}) g;");
    leader.script(&format!("create table t (a int primary key, b text); {insert}"));
}

/// A server that starts there has everything; and a directory whose server was told to end at once does not say that it
/// was shut down.
#[track_caller]
fn assert_recovers(server: &mut Walwriter, way: &[Signal], rows: &str) {
    let control = Tool::postgres(server.root(), Version::V15, "pg_controldata").arg(server.data()).succeed();
    // Told twice, it may have been through with that the first time.
    assert!(way != [Signal::QUIT] || control.contains("in production"), "{control}");
    assert!(!server.data().join("postmaster.pid").exists(), "the file goes with the server");
    server.start();
    assert_eq!(server.sql("select count(*) from t"), rows);
}

/// Waits until what the server at that port has to send gets no further.
#[track_caller]
fn wait_for_full_socket(port: u16) {
    let mut before = 0;
    wait_until("the server to be stuck", || {
        let now = unsent(port);
        let stuck = now > 0 && now == before;
        before = now;
        std::thread::sleep(Duration::from_millis(300));
        stuck
    });
}

/// How many bytes wait in the open connections of the server at that port. What an earlier one has left behind waits, too.
fn unsent(port: u16) -> u64 {
    const ESTABLISHED: &str = "01";
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let of_server = sockets.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state, queues) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let local = u16::from_str_radix(local.split_once(':')?.1, 16).ok()?;
        let waiting = u64::from_str_radix(queues.split_once(':')?.0, 16).ok()?;
        (local == port && state == ESTABLISHED).then_some(waiting)
    });
    of_server.sum()
}

/// A running leader with something in it, and its end in each way, with `stall` before each.
#[track_caller]
fn ends_whatever_stalls<S>(name: &str, words: &str, rows: u32, stall: impl Fn(&Walwriter, &TempRoot) -> S) {
    let root = TempRoot::new(name);
    let mut leader = Walwriter::start_new(&root, "leader", &[("max_wal_size", "1GB")]);
    fill(&leader, rows);
    for way in WAYS {
        let stalled = stall(&leader, &root);
        let began = Instant::now();
        let finished = end(leader.running(), way, 0, 2);
        println!("{way:?}: {:?}", began.elapsed());
        drop(stalled);
        if finished.code == Some(0) {
            assert!(finished.stderr.contains(words), "{finished}");
            leader.start();
        } else {
            assert_recovers(&mut leader, way, &rows.to_string());
        }
    }
}

#[test]
fn a_server_ends_though_a_follower_is_stopped() {
    ends_whatever_stalls("follower", "giving up a client", 100, |leader, root| {
        let archive = root.dir(fresh("archive"));
        let mut follower = walreceiver(root, &leader.conninfo(), &archive).arg("--synchronous").spawn();
        wait_until("the follower", || {
            leader.sql("select count(*) from pg_stat_replication where state = 'streaming'") == "1"
        });
        follower.freeze();
        follower
    });
}

#[test]
fn a_server_waits_for_a_follower_that_catches_up_and_not_for_one_that_trickles() {
    let root = TempRoot::new("trickle");
    let settings = [("max_wal_size", "1GB"), ("wal_keep_size", "1GB"), ("wal_compression", "off")];
    let mut leader = Walwriter::start_new(&root, "leader", &settings);
    leader.sql("create table t (a int primary key, b text)");
    // A message has 128 kB at most, and what is inserted is some 34 MB.
    for (round, pause, is_given_up) in [(0, 600, true), (1, 15, false), (2, 80, false)] {
        let slow = Arc::new(AtomicBool::new(false));
        let is_slow = Arc::clone(&slow);
        let proxy = Proxy::start(leader.port(), move |message| {
            if message.as_wal().is_some() && is_slow.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(pause));
            }
            Verdict::Pass
        });
        let archive = root.dir(fresh("archive"));
        let receiver = walreceiver(&root, &proxy.conninfo(), &archive).args(["-n", "--synchronous"]).spawn();
        wait_until("the follower", || {
            leader.sql("select count(*) from pg_stat_replication where state = 'streaming'") == "1"
        });
        slow.store(true, Ordering::SeqCst);
        leader.sql(&format!(
            "insert into t select {round} * {MANY} + g, repeat('x', 300) from generate_series(1, {MANY}) g"
        ));
        let all = leader.flush_lsn();
        let left = all.bytes_since(proxy.written());
        assert!(left > 16 << 20, "it has not enough left to catch up with: {left} bytes");
        if round == 2 {
            // Worth waiting for, for some 20 seconds; but not against the operator's word.
            end(leader.running(), &[Signal::TERM, Signal::TERM], 2, 2);
        } else {
            let finished = end(leader.running(), &[Signal::TERM], 0, 2);
            assert_eq!(finished.stderr.contains("giving up a client"), is_given_up, "{finished}");
            assert_eq!(proxy.flushed() < all, is_given_up, "{} of {all}", proxy.flushed());
        }
        drop((receiver, proxy));
        leader.start();
    }
}

#[test]
fn a_server_ends_though_a_base_backup_is_not_read() {
    ends_whatever_stalls("backup", "base backup ends", MANY, |leader, root| {
        let directory = root.join(fresh("backup"));
        let tool = Tool::ours(root, "basebackup").args(["-c", "fast", "-d", &leader.conninfo(), "-D"]);
        let mut client = tool.arg(&directory).args(["-X", "none", "-r", "32M"]).spawn();
        wait_until("the first file", || directory.join("backup_label").exists());
        client.freeze();
        wait_for_full_socket(leader.port());
        client
    });
}

#[test]
fn a_server_ends_though_a_client_does_not_read() {
    ends_whatever_stalls("client", "shut down", MANY, |leader, _| {
        let mut client = Wire::connect(leader.port());
        client.ask("select b from t");
        client.wait_for_bytes();
        wait_for_full_socket(leader.port());
        client
    });
}

/// Whether the process that wrote its number to the file is gone.
fn is_gone(file: &Path) -> bool {
    let pid = std::fs::read_to_string(file).unwrap();
    !Path::new("/proc").join(pid.trim()).exists()
}

/// A standby of a leader that is a silent host.
fn standby(root: &TempRoot, name: &str) -> (Walwriter, TcpListener) {
    let leader = Walwriter::start_new(root, &format!("{name}-leader"), &[]);
    leader.sql("create table t (a int primary key)");
    let data = root.join(name);
    let tool = Tool::ours(root, "basebackup").args(["-c", "fast", "-d", &leader.conninfo(), "-D"]);
    tool.arg(&data).arg("-R").succeed();
    let standby = Walwriter::in_directory(root, name, &data);
    let (listener, conninfo) = silent();
    // Stronger than postgresql.conf, and later than what -R has written.
    standby.append("postgresql.auto.conf", &format!("primary_conninfo = '{conninfo}'\n"));
    (standby, listener)
}

#[test]
fn a_standby_ends_though_its_leader_or_its_archive_stalls() {
    let root = TempRoot::new("standby");
    let (mut standby, listener) = standby(&root, "standby");
    for way in WAYS {
        standby.start();
        let connection = listener.accept().unwrap();
        let finished = end(standby.running(), way, 0, 2);
        assert!(!finished.stderr.contains("panicked"), "{finished}");
        drop(connection);
    }
    // The command never ends, whether the standby can be read already or not.
    let begun = root.path().join("restoring");
    for command in ["sleep 1000", "trap '' TERM; sleep 1000; sleep 1000"] {
        standby.configure(
            "restore_command",
            &format!("echo $$ > {0}.new; mv {0}.new {0}; {command}", begun.display()),
        );
        for way in WAYS {
            let process = standby.command().spawn();
            wait_until("restore_command", || begun.exists());
            // Before it serves, the first signal ends it at once too.
            let mut process = process;
            process.signal(way[0]);
            if let [_, second] = way {
                std::thread::sleep(Duration::from_millis(200));
                if process.is_running() {
                    process.signal(*second);
                }
            }
            let finished = process.wait_within(IN_ORDER);
            assert!(matches!(finished.code, Some(0 | 2)), "{finished}");
            wait_until("the command to end", || is_gone(&begun));
            std::fs::remove_file(&begun).unwrap();
        }
    }
}

#[test]
fn a_sender_ends_though_followers_and_strangers_stall() {
    let root = TempRoot::new("sender");
    let leader = Walwriter::start_new(&root, "leader", &[]);
    fill(&leader, 100);
    for way in WAYS {
        let mut sender = Walsender::start_new(&root, leader.data());
        let conninfo = format!("host=127.0.0.1 port={} user=postgres", sender.port());
        let directory = root.dir(fresh("archive"));
        let mut follower = walreceiver(&root, &conninfo, &directory).spawn();
        wait_until("WAL", || !archive::wal_files(&directory).is_empty());
        follower.freeze();
        let stranger = Wire::silent(sender.port());
        let finished = end(sender.running(), way, 0, 3);
        if finished.code == Some(0) {
            assert!(finished.stderr.contains("giving up clients"), "{finished}");
        }
        drop((follower, stranger));
    }
}

#[test]
fn a_receiver_ends_whatever_its_server_does_not_do() {
    let root = TempRoot::new("receiver");
    let archive = root.dir("archive");
    // Not even let in.
    let (listener, conninfo) = silent();
    for way in WAYS {
        let receiver = walreceiver(&root, &conninfo, &archive).spawn();
        let connection = listener.accept().unwrap();
        end(receiver, way, 0, 2);
        drop(connection);
    }
    // Let in, and then no answer; streaming, and then nothing any more.
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default().wal_segment_mib(1));
    for silent_from in [b'T', b'W'] {
        for way in WAYS {
            let reached = Arc::new(AtomicBool::new(false));
            let tell = Arc::clone(&reached);
            let proxy = Proxy::start(leader.port(), move |message| {
                if message.kind != silent_from {
                    return Verdict::Pass;
                }
                tell.store(true, Ordering::SeqCst);
                Verdict::ReplaceAndHang(Vec::new())
            });
            let receiver = walreceiver(&root, &proxy.conninfo(), &archive).arg("--synchronous").spawn();
            wait_until("the server to fall silent", || reached.load(Ordering::SeqCst));
            end(receiver, way, 0, 2);
        }
    }
}

#[test]
fn a_backup_ends_whatever_its_server_does_not_do() {
    let root = TempRoot::new("taking");
    let (listener, conninfo) = silent();
    let directory = root.join("backup");
    for way in WAYS {
        let backup = Tool::ours(&root, "basebackup").args(["-d", &conninfo, "-D"]).arg(&directory).spawn();
        let connection = listener.accept().unwrap();
        // Nothing is done yet that could be ended in good order.
        end(backup, way, 2, 2);
        assert!(!directory.exists());
        drop(connection);
    }
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default());
    for way in WAYS {
        let mut seen = 0;
        let reached = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&reached);
        let proxy = Proxy::start(leader.port(), move |message| {
            seen += usize::from(message.kind == b'd');
            if seen < 50 {
                return Verdict::Pass;
            }
            tell.store(true, Ordering::SeqCst);
            Verdict::ReplaceAndHang(Vec::new())
        });
        let tool = Tool::ours(&root, "basebackup").args(["-c", "fast", "-d", &proxy.conninfo(), "-D"]);
        let backup = tool.arg(&directory).spawn();
        wait_until("the server to fall silent", || reached.load(Ordering::SeqCst));
        end(backup, way, 1, 2);
        assert!(!directory.join("backup_manifest").exists());
        let _ = std::fs::remove_dir_all(&directory);
    }
}
