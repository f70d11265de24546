//! Passwords are shown to nobody, read again when asked, and demanded of whoever comes from elsewhere.

use std::path::Path;

use rustix::process::Signal;
use walship_tests::receiver::walreceiver;
use walship_tests::tls::Authority;
use walship_tests::{Finished, Server, Shutdown, TempRoot, Tool, Version, Walwriter, archive, wait_until};

const SECRET: &str = "open 'sesame\\now";

/// What psql gets with this password, or is told.
fn ask(root: &TempRoot, conninfo: &str, password: &str, sql: &str) -> Finished {
    let psql = Tool::postgres(root, Version::V15, "psql").env("PGPASSWORD", password);
    psql.args(["-XAtw", "-d", &format!("{conninfo} dbname=postgres"), "-c", sql]).run()
}

fn guarded(root: &TempRoot, name: &str, users: &Path) -> Walwriter {
    Walwriter::start_new(root, name, &[("password_file", users.to_str().unwrap())])
}

fn with_password(server: &Server, password: &str) -> String {
    let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
    format!("{} password='{quoted}'", server.conninfo())
}

#[test]
fn the_password_of_a_standby_is_shown_nowhere() {
    let root = TempRoot::new("masked");
    let users = root.file("users", format!("postgres:{SECRET}\n"));
    let leader = Walwriter::start_new(&root, "leader", &[("password_file", users.to_str().unwrap())]);
    let backup = root.join("standby");
    let taken = Tool::ours(&root, "basebackup").env("PGPASSWORD", SECRET).arg("-D").arg(&backup);
    taken.args(["-d", &leader.conninfo(), "-c", "fast"]).succeed();
    let mut standby = Walwriter::in_directory(&root, "standby", &backup);
    standby.configure("password_file", "");
    let uri = format!(
        "postgresql://postgres:open%20'sesame%5Cnow@127.0.0.1:{}/?application_name=uri",
        leader.port()
    );
    // In postgresql.conf a backslash stands for itself when it is doubled.
    standby.follow(&with_password(&leader, SECRET).replace('\\', "\\\\"));
    standby.start();
    for (conninfo, is_uri) in [(with_password(&leader, SECRET), false), (uri, true)] {
        if is_uri {
            standby.configure("primary_conninfo", &conninfo);
            standby.process().signal(Signal::HUP);
            wait_until("the new settings", || {
                standby.sql("show primary_conninfo").contains("application_name=uri")
            });
        }
        wait_until("the standby to stream", || {
            standby.sql("select status from pg_stat_wal_receiver") == "streaming"
        });
        let shown = [
            standby.sql("show primary_conninfo"),
            standby.sql("select setting from pg_settings where name = 'primary_conninfo'"),
            standby.sql("select conninfo from pg_stat_wal_receiver"),
        ];
        for text in &shown {
            assert!(text.contains("password='********'") && text.contains("127.0.0.1"), "{text}");
        }
        let status = Tool::ours(&root, "walwriter").args(["status", "--json", "-D"]).arg(&backup).succeed();
        for text in shown.iter().chain([&status, &standby.process().stderr()]) {
            assert!(!text.contains("sesame"), "{text}");
        }
    }
    // A file may have it, as for all of libpq's programs.
    let file = root.file(
        "passfile",
        format!("127.0.0.1:{}:replication:postgres:{}\n", leader.port(), SECRET.replace('\\', "\\\\")),
    );
    let conninfo = format!("{} passfile={} application_name=file", leader.conninfo(), file.display());
    standby.configure("primary_conninfo", &conninfo);
    standby.process().signal(Signal::HUP);
    wait_until("the password from the file", || {
        let sql = "select count(*) from pg_stat_replication where application_name = 'file'";
        ask(&root, &leader.conninfo(), SECRET, sql).stdout.trim() == "1"
    });
    // What is wrong with a connection string is not told in its own words if a password may be among them.
    standby.stop(Shutdown::Fast).success();
    standby.configure("primary_conninfo", "host=a password=open sesame");
    let tool = Tool::ours(&root, "walwriter").args(["serve", "-D"]).arg(&backup).args(["-c", "port=0"]);
    let refused = tool.args(["-c", "unix_socket_directories=none"]).run();
    assert!(refused.code == Some(1) && refused.stderr.contains("primary_conninfo"), "{refused}");
    assert!(!refused.stderr.contains("sesame"), "{refused}");
    for conninfo in ["password=open sesame", "postgresql://joe:sesame@[::1"] {
        let refused = Tool::ours(&root, "walreceiver").args(["-d", conninfo, "-D"]).arg(root.dir("x")).run();
        assert!(!refused.one_line_failure("").contains("sesame"));
    }
}

#[test]
fn passwords_are_read_again_at_sighup_and_refusals_are_logged_with_peer_and_user() {
    let root = TempRoot::new("passwords-again");
    let users = root.file("users", "postgres:old\n");
    let mut server = guarded(&root, "server", &users);
    let (conninfo, replication) = (server.conninfo(), format!("{} replication=1", server.conninfo()));
    let works = |password: &str| {
        let answers = [
            ask(&root, &conninfo, password, "select 1"),
            ask(&root, &replication, password, "IDENTIFY_SYSTEM"),
        ];
        let worked = answers.each_ref().map(|answer| answer.code == Some(0));
        assert!(worked[0] == worked[1], "{} {}", answers[0], answers[1]);
        worked[0]
    };
    assert!(works("old") && !works("new"));
    root.file("users", "postgres:new\n");
    server.process().signal(Signal::HUP);
    // One after the other.
    wait_until("the new password for followers", || {
        ask(&root, &replication, "new", "IDENTIFY_SYSTEM").code == Some(0)
    });
    wait_until("the new password for sessions", || ask(&root, &conninfo, "new", "select 1").code == Some(0));
    assert!(works("new") && !works("old"));
    // A broken file changes nothing but the log.
    root.file("users", "postgres:newer\nnonsense\n");
    server.process().signal(Signal::HUP);
    server.process().wait_for_stderr("passwords not changed");
    assert!(works("new") && !works("newer"));
    // Another file needs a restart: the log says so each time, and what is shown is what is in force.
    let others = root.file("others", "postgres:other\n");
    server.configure("password_file", others.to_str().unwrap());
    server.process().signal(Signal::HUP);
    server.process().wait_for_stderr("parameter \"password_file\" cannot be changed without restarting");
    assert_eq!(ask(&root, &conninfo, "new", "show password_file").stdout.trim(), users.to_str().unwrap());
    assert!(works("new") && !works("other"));
    // Who proved who he is, and is not let in all the same.
    assert_eq!(ask(&root, &format!("{conninfo} options=-cno_such=1"), "new", "select 1").code, Some(2));
    let log = server.process().stderr();
    let line = log.lines().find(|line| line.contains("unrecognized configuration parameter"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("peer=127.0.0.1:") && line.contains("user=\"postgres\""), "{line}");
    let refused: Vec<_> =
        log.lines().filter(|line| line.contains("authentication failed for user \"postgres\"")).collect();
    // Of SQL and of replication.
    assert!(refused.len() >= 2, "{log}");
    assert!(refused.iter().all(|line| line.contains("peer=127.0.0.1:")), "{log}");
    assert!(!log.contains("newer") && !log.contains("nonsense"), "{log}");
}

#[test]
fn a_sender_reads_passwords_and_certificate_again_and_sighup_ends_nobody() {
    let root = TempRoot::new("sender-again");
    let mut leader = Walwriter::start_new(&root, "leader", &[]);
    let archive = root.dir("archive");
    let mut receiver = walreceiver(&root, &leader.conninfo(), &archive).arg("-v").spawn();
    wait_until("something to serve", || !archive::wal_files(&archive).is_empty());
    let users = root.file("users", "postgres:old\n");
    let authority = Authority::new(&root, "authority");
    let identity = authority.issue(&root, "sender", &["localhost"]);
    let port_file = root.join("port");
    let sender = Tool::ours(&root, "walsender").arg("-D").arg(&archive).args(["-p", "0", "--port-file"]);
    let sender = sender.arg(&port_file).arg("--password-file").arg(&users);
    let mut sender = sender.arg("--cert").arg(&identity.certificate).arg("--key").arg(&identity.key).spawn();
    sender.wait_for_stderr("ready to serve");
    let port = std::fs::read_to_string(&port_file).unwrap();
    let trusting = |authority: &Authority| {
        format!(
            "host=localhost port={} user=postgres replication=1 sslmode=verify-full sslrootcert={}",
            port.trim(),
            authority.certificate.display()
        )
    };
    let identify =
        |conninfo: &str, password: &str| ask(&root, conninfo, password, "IDENTIFY_SYSTEM").code == Some(0);
    wait_until("the sender to serve", || identify(&trusting(&authority), "old"));
    // Another authority's certificate under the same names.
    let other = Authority::new(&root, "other");
    other.issue(&root, "sender", &["localhost"]);
    root.file("users", "postgres:new\n");
    sender.signal(Signal::HUP);
    wait_until("the new certificate and password", || identify(&trusting(&other), "new"));
    assert!(!identify(&trusting(&authority), "new") && !identify(&trusting(&other), "old"));
    root.file("sender.key", "no key\n");
    sender.signal(Signal::HUP);
    sender.wait_for_stderr("certificate not changed");
    assert!(identify(&trusting(&other), "new"));
    // Nor does it end anybody else.
    receiver.signal(Signal::HUP);
    leader.process().signal(Signal::HUP);
    receiver.wait_for_stderr("received SIGHUP");
    leader.sql("create table t (x int primary key)");
    assert!(receiver.is_running() && sender.is_running());
    receiver.interrupt().success();
    sender.terminate().success();
}

#[test]
fn a_server_that_trusts_everybody_listens_on_this_host_alone_unless_told_otherwise() {
    let root = TempRoot::new("doors");
    let made = Walwriter::init(&root, "made", &[]);
    let serve = |more: &[&str]| {
        let tool = Tool::ours(&root, "walwriter").args(["serve", "-D"]).arg(made.data());
        tool.args(["-c", "port=0", "-c", "unix_socket_directories=none"]).args(more).spawn()
    };
    for address in ["0.0.0.0", "*", "localhost,::"] {
        let refused = serve(&["-c", &format!("listen_addresses={address}")]).wait();
        let line = refused.one_line_failure("refusing to listen on");
        assert!(line.contains("password_file") && line.contains("insecure_listen_anywhere"), "{line}");
    }
    let users = root.file("users", "postgres:sesame\n");
    let guarded = format!("password_file={}", users.display());
    for allowed in [
        &["-c", "listen_addresses=0.0.0.0", "--insecure-listen-anywhere"][..],
        &["-c", "listen_addresses=0.0.0.0", "-c", "insecure_listen_anywhere=on"],
        &["-c", "listen_addresses=0.0.0.0", "-c", &guarded],
        &["-c", "listen_addresses=127.0.0.1"],
    ] {
        let mut running = serve(allowed);
        running.wait_for_stderr("ready to accept");
        running.terminate().success();
    }
    // Nobody else may read what is in the directory.
    for entry in std::fs::read_dir(made.data()).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", entry.path().display());
    }
}

#[test]
fn a_sender_without_passwords_says_who_was_refused_and_why() {
    let root = TempRoot::new("sender-refuses");
    let leader = Walwriter::start_new(&root, "leader", &[]);
    let archive = root.dir("archive");
    let receiver = walreceiver(&root, &leader.conninfo(), &archive).spawn();
    wait_until("something to serve", || !archive::wal_files(&archive).is_empty());
    let users = root.file("users", "joe:sesame\n");
    let mut sender = Tool::ours(&root, "walsender").arg("-D").arg(&archive).args(["-p", "0", "--port-file"]);
    let port_file = root.join("port");
    sender = sender.arg(&port_file).arg("--password-file").arg(&users);
    let mut sender = sender.spawn();
    sender.wait_for_stderr("ready to serve");
    let port = std::fs::read_to_string(&port_file).unwrap();
    let conninfo = format!("host=127.0.0.1 port={} user=mallory replication=1", port.trim());
    assert_eq!(ask(&root, &conninfo, "guess", "IDENTIFY_SYSTEM").code, Some(2));
    sender.wait_for_stderr("authentication failed for user \"mallory\"");
    let log = sender.stderr();
    assert!(log.lines().any(|line| line.contains("mallory") && line.contains("peer=127.0.0.1:")), "{log}");
    sender.terminate().success();
    receiver.interrupt().success();
}
