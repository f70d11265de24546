//! Who may follow a walsender: with passwords and TLS, stock followers and ours; without, only this host.

use std::path::PathBuf;

use walship_tests::receiver::{pg_receivewal, walreceiver};
use walship_tests::tls::Authority;
use walship_tests::{
    DEADLINE, Options, Postgres, Process, TempRoot, Tool, Version, archive, wait_for, wait_until,
};

/// A leader, its archive, and a walsender over that with TLS and a password file.
struct Guarded {
    root: TempRoot,
    leader: Postgres,
    authority: Authority,
    port: u16,
    _receiver: Process,
    _sender: Process,
}

impl Guarded {
    fn start() -> Self {
        let root = TempRoot::new("guarded");
        let options = Options::default().wal_segment_mib(1);
        let leader = Postgres::start_new(&root, "leader", Version::V15, options);
        leader.script(
            "create role by_verifier password 'sesame';
             set password_encryption = md5; create role by_md5 password 'sesame';",
        );
        let verifier =
            |role: &str| leader.sql(&format!("select rolpassword from pg_authid where rolname = '{role}'"));
        let users =
            format!("plain:sesame\nby_verifier:{}\nby_md5:{}\n", verifier("by_verifier"), verifier("by_md5"));
        let users = root.file("users", users);
        let authority = Authority::new(&root, "authority");
        let identity = authority.issue(&root, "sender", &["localhost"]);
        let archive = root.dir("archive");
        let receiver = walreceiver(&root, &leader.conninfo(), &archive).arg("--synchronous").spawn();
        wait_until("something to serve", || archive_holds_something(&leader));
        let port_file = root.join("port");
        let sender = Tool::ours(&root, "walsender").arg("-D").arg(&archive).args(["-p", "0", "--port-file"]);
        let sender = sender.arg(&port_file).arg("--password-file").arg(users);
        let sender = sender.arg("--cert").arg(identity.certificate).arg("--key").arg(identity.key);
        let mut sender = sender.spawn();
        let port = wait_for("walsender to listen", DEADLINE, || {
            assert!(sender.is_running(), "{}", sender.stderr());
            std::fs::read_to_string(&port_file).ok()?.trim().parse().ok()
        });
        Self { root, leader, authority, port, _receiver: receiver, _sender: sender }
    }

    fn conninfo(&self, user: &str, more: &str) -> String {
        format!("host=localhost port={} user={user} {more}", self.port)
    }

    fn trusting(&self) -> String {
        format!("sslmode=verify-full sslrootcert={}", self.authority.certificate.display())
    }

    /// What PostgreSQL's receiver and ours say when they are not let in; neither writes anything.
    fn refused(&self, conninfo: &str) -> [String; 2] {
        let directory = self.root.dir("refused");
        let theirs = pg_receivewal(&self.root, Version::V15, conninfo, &directory).args(["-n", "-w"]).run();
        assert_eq!(theirs.code, Some(1), "{theirs}");
        let ours = walreceiver(&self.root, conninfo, &directory).args(["-n", "-w"]).run();
        let line = ours.one_line_failure("");
        assert!(archive::wal_files(&directory).is_empty());
        [theirs.stderr, line]
    }

    /// Both receivers stream.
    fn admitted(&self, conninfo: &str, name: &str) {
        let (theirs, ours) = (self.root.dir(format!("theirs-{name}")), self.root.dir(format!("ours-{name}")));
        let stock = pg_receivewal(&self.root, Version::V15, conninfo, &theirs).args(["-n", "-w"]).spawn();
        let receiver = walreceiver(&self.root, conninfo, &ours).args(["-n", "-w"]).spawn();
        for (process, directory) in [(stock, &theirs), (receiver, &ours)] {
            let mut process = process;
            wait_until("a follower to stream", || {
                assert!(process.is_running(), "not admitted with {conninfo}: {}", process.stderr());
                !archive::wal_files(directory).is_empty()
            });
            process.interrupt().success();
        }
    }
}

/// Whether the leader's receiver has acknowledged anything.
fn archive_holds_something(leader: &Postgres) -> bool {
    leader.sql("select count(*) from pg_stat_replication where flush_lsn is not null") == "1"
}

#[test]
fn followers_with_the_password_stream_over_tls() {
    let guarded = Guarded::start();
    for user in ["plain", "by_verifier", "by_md5"] {
        let more = format!("password=sesame {}", guarded.trusting());
        guarded.admitted(&guarded.conninfo(user, &more), user);
    }
    let binding = format!("password=sesame channel_binding=require {}", guarded.trusting());
    guarded.admitted(&guarded.conninfo("by_verifier", &binding), "bound");

    let mut standby = guarded.leader.clone_with_pg_basebackup("standby");
    standby.follow(&guarded.conninfo("plain", &binding));
    standby.start();
    guarded.leader.sql("create table t as select 1 as x");
    standby.wait_for_replay(guarded.leader.flush_lsn());
    assert_eq!(standby.sql("select x from t"), "1");
}

#[test]
fn followers_without_the_right_password_are_refused() {
    let guarded = Guarded::start();
    for user in ["plain", "by_verifier", "by_md5"] {
        let wrong = format!("password=salami {}", guarded.trusting());
        for said in guarded.refused(&guarded.conninfo(user, &wrong)) {
            assert!(said.contains(&format!("password authentication failed for user \"{user}\"")), "{said}");
        }
        for said in guarded.refused(&guarded.conninfo(user, &guarded.trusting())) {
            assert!(said.contains("no password supplied"), "{said}");
        }
    }
    let stranger = format!("password=sesame {}", guarded.trusting());
    for said in guarded.refused(&guarded.conninfo("stranger", &stranger)) {
        assert!(said.contains("password authentication failed for user \"stranger\""), "{said}");
    }
}

#[test]
fn followers_refuse_a_sender_that_they_cannot_trust() {
    let guarded = Guarded::start();
    let other = Authority::new(&guarded.root, "other");
    let unknown = format!("password=sesame sslmode=verify-ca sslrootcert={}", other.certificate.display());
    for said in guarded.refused(&guarded.conninfo("plain", &unknown)) {
        assert!(said.to_lowercase().contains("certificate"), "{said}");
    }
    let by_address =
        format!("host=127.0.0.1 port={} user=plain password=sesame {}", guarded.port, guarded.trusting());
    for said in guarded.refused(&by_address) {
        assert!(said.contains("does not match host name"), "{said}");
    }
}

#[test]
fn a_sender_that_lets_everybody_in_listens_on_this_host_alone_unless_told_otherwise() {
    let guarded = Guarded::start();
    let (root, archive) = (&guarded.root, guarded.root.join("archive"));
    let sender = |more: &[&str]| {
        Tool::ours(root, "walsender").arg("-D").arg(&archive).args(["-p", "0"]).args(more).spawn()
    };
    let refused = sender(&["-h", "0.0.0.0"]).wait();
    refused.failure("0.0.0.0");
    sender(&["-h", "*"]).wait().failure("");
    for allowed in [&["-h", "0.0.0.0", "--insecure-listen-anywhere"][..], &["-h", "127.0.0.1"]] {
        let mut running = sender(allowed);
        running.wait_for_stderr("ready");
        running.terminate().success();
    }
    // Passwords that others could read are no passwords.
    let readable = guarded.root.file("readable", "plain:sesame\n");
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&readable, mode).unwrap();
    let option: PathBuf = readable;
    sender(&["--password-file", option.to_str().unwrap()]).wait().failure("readable");
}
