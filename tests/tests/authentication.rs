//! Who is not let in, or does not trust the server, gets one clear line and exit code 1, and nothing is written. Who is
//! let in works with every method.

use std::path::{Path, PathBuf};

use walship_tests::tls::Authority;
use walship_tests::{Options, Postgres, TempRoot, Tool, Version, wait_until};

/// A server that knows a replication user for each authentication method, all with password `sesame`.
struct Server {
    root: TempRoot,
    postgres: Postgres,
}

impl Server {
    /// A server with a certificate for `localhost`; its address is not among the names.
    fn with_tls(root: &TempRoot, authority: &Authority) -> Self {
        let identity = authority.issue(root, "server", &["localhost"]);
        let options = Options::default().setting("ssl", "on");
        Self::start(
            root,
            options
                .setting("ssl_cert_file", identity.certificate.to_str().unwrap())
                .setting("ssl_key_file", identity.key.to_str().unwrap())
                .setting("ssl_ca_file", authority.certificate.to_str().unwrap()),
        )
    }

    fn start(root: &TempRoot, options: Options) -> Self {
        let mut postgres = Postgres::init(root, "server", Version::V15, options);
        postgres.authenticate(
            "hostssl all by_certificate all cert
             host replication,all by_scram all scram-sha-256
             host replication,all by_md5 all md5
             host replication,all by_password all password
             hostssl replication by_certificate all cert
             host replication,all nobody all reject",
        );
        postgres.start();
        postgres.script(
            "create role by_scram replication login password 'sesame';
             create role by_password replication login password 'sesame';
             create role by_certificate replication login;
             create role nobody replication login;
             set password_encryption = md5; create role by_md5 replication login password 'sesame';",
        );
        Self { root: root.clone(), postgres }
    }

    /// A connection string for `user`, with further parameters.
    fn conninfo(&self, user: &str, more: &str) -> String {
        format!("host=127.0.0.1 port={} user={user} {more}", self.postgres.port())
    }

    fn refused(&self, conninfo: &str, message: &str) {
        self.refused_with(conninfo, message, |tool| tool);
    }

    /// Both of our clients fail as promised, with `message` in their line, and leave their directory empty.
    fn refused_with(&self, conninfo: &str, message: &str, and: impl Fn(Tool) -> Tool) {
        let archive = self.root.dir("archive");
        let receiver = Tool::ours(&self.root, "walreceiver").arg("-D").arg(&archive);
        and(receiver).args(["-n", "-w", "-d", conninfo]).run().one_line_failure(message);
        assert_empty(&archive);

        let backup = self.root.join("backup");
        let tool = Tool::ours(&self.root, "basebackup").arg("-D").arg(&backup).args(["-w", "-d", conninfo]);
        and(tool).run().one_line_failure(message);
        assert!(!backup.exists(), "a refused basebackup left {}", backup.display());
    }

    fn admitted(&self, conninfo: &str) {
        self.admitted_with(conninfo, |tool| tool);
    }

    /// Our receiver streams, and the server says by which kind of connection.
    fn admitted_with(&self, conninfo: &str, and: impl Fn(Tool) -> Tool) {
        let archive = self.root.dir("admitted");
        let receiver = Tool::ours(&self.root, "walreceiver").arg("-D").arg(&archive);
        let mut receiver = and(receiver).args(["-n", "-w", "-d", conninfo]).spawn();
        wait_until("the receiver to stream", || {
            assert!(receiver.is_running(), "not admitted with {conninfo}: {}", receiver.stderr());
            self.postgres.sql("select count(*) from pg_stat_replication where state = 'streaming'") == "1"
        });
        receiver.interrupt().success();
        wait_until("the sender to be gone", || {
            self.postgres.sql("select count(*) from pg_stat_replication") == "0"
        });
        std::fs::remove_dir_all(archive).unwrap();
    }
}

/// `sslrootcert=...` for that authority's certificate.
fn root_certificate(authority: &Authority) -> String {
    format!("sslrootcert={}", authority.certificate.display())
}

fn assert_empty(directory: &Path) {
    let left: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "a refused client left {left:?}");
}

#[test]
fn a_wrong_password_is_refused_in_one_line() {
    let root = TempRoot::new("wrong-password");
    let server = Server::with_tls(&root, &Authority::new(&root, "authority"));
    for user in ["by_scram", "by_md5", "by_password"] {
        for mode in ["disable", "require"] {
            let conninfo = server.conninfo(user, &format!("password=guess sslmode={mode}"));
            server.refused(&conninfo, &format!("password authentication failed for user \"{user}\""));
        }
    }
}

#[test]
fn no_password_is_refused_in_one_line() {
    let root = TempRoot::new("no-password");
    let server = Server::with_tls(&root, &Authority::new(&root, "authority"));
    for user in ["by_scram", "by_md5", "by_password"] {
        server.refused(&server.conninfo(user, "sslmode=disable"), "no password supplied");
    }
}

#[test]
fn a_user_that_no_rule_lets_in_is_refused_in_one_line() {
    let root = TempRoot::new("rejected");
    let server = Server::with_tls(&root, &Authority::new(&root, "authority"));
    server
        .refused(&server.conninfo("nobody", "sslmode=disable"), "pg_hba.conf rejects replication connection");
    server.refused(&server.conninfo("stranger", "sslmode=disable"), "role \"stranger\" does not exist");
}

#[test]
fn a_password_from_any_source_is_used() {
    let root = TempRoot::new("password-sources");
    let server = Server::with_tls(&root, &Authority::new(&root, "authority"));
    let port = server.postgres.port();
    server.admitted(&server.conninfo("by_scram", "password=sesame"));
    server.admitted(&server.conninfo("by_md5", "password=sesame"));
    server.admitted(&server.conninfo("by_password", "password=sesame sslmode=disable"));
    server.admitted(&format!(
        "postgresql://by_scram:sesame@127.0.0.1:{port}/?sslmode=require&channel_binding=require"
    ));
    server.admitted_with(&server.conninfo("by_scram", ""), |tool| tool.env("PGPASSWORD", "sesame"));
    let file = root.file(
        "passwords",
        format!("# a comment\n127.0.0.1:{port}:*:by_md5:guess\n*:*:replication:by_scram:sesame\n"),
    );
    server.admitted_with(&server.conninfo("by_scram", ""), |tool| tool.env("PGPASSFILE", &file));
    server.refused_with(&server.conninfo("by_md5", ""), "password authentication failed", |tool| {
        tool.env("PGPASSFILE", &file)
    });
}

#[test]
fn a_server_that_cannot_be_trusted_is_refused_in_one_line() {
    let root = TempRoot::new("untrusted");
    let authority = Authority::new(&root, "authority");
    let server = Server::with_tls(&root, &authority);
    let stranger = root_certificate(&Authority::new(&root, "stranger"));
    for mode in ["verify-ca", "verify-full"] {
        let conninfo = server.conninfo("by_scram", &format!("password=sesame sslmode={mode} {stranger}"));
        server.refused(&conninfo, "certificate");
    }
    // The wrong host name: the certificate is for localhost, not for the address.
    let known = root_certificate(&authority);
    let conninfo = server.conninfo("by_scram", &format!("password=sesame sslmode=verify-full {known}"));
    server.refused(&conninfo, "127.0.0.1");
    // A root certificate that is not there is not the same as none being asked for.
    let missing = server.conninfo("by_scram", "password=sesame sslmode=verify-full sslrootcert=missing.crt");
    server.refused(&missing, "missing.crt");
}

#[test]
fn a_server_that_can_be_trusted_is_connected_to() {
    let root = TempRoot::new("trusted");
    let authority = Authority::new(&root, "authority");
    let server = Server::with_tls(&root, &authority);
    let known = root_certificate(&authority);
    server.admitted(&server.conninfo("by_scram", &format!("password=sesame sslmode=verify-ca {known}")));
    let port = server.postgres.port();
    server.admitted(&format!(
        "host=localhost hostaddr=127.0.0.1 port={port} user=by_scram password=sesame sslmode=verify-full {known}"
    ));
    let client = authority.issue(&root, "by_certificate", &["by_certificate"]);
    let (certificate, key) = (client.certificate.display(), client.key.display());
    server.admitted(
        &server.conninfo("by_certificate", &format!("sslmode=require sslcert={certificate} sslkey={key}")),
    );
    server.refused(
        &server.conninfo("by_certificate", "sslmode=require"),
        "connection requires a valid client certificate",
    );
}

#[test]
fn a_server_without_tls_is_refused_in_one_line_if_tls_is_required() {
    let root = TempRoot::new("no-tls");
    let server = Server::start(&root, Options::default());
    let known = root_certificate(&Authority::new(&root, "authority"));
    for mode in ["require", "verify-ca", "verify-full"] {
        let conninfo = server.conninfo("by_scram", &format!("password=sesame sslmode={mode} {known}"));
        server.refused(&conninfo, "server does not support SSL, but SSL was required");
    }
    server.admitted(&server.conninfo("by_scram", "password=sesame sslmode=prefer"));
    let bound = server.conninfo("by_scram", "password=sesame channel_binding=require");
    server.refused(&bound, "channel binding");
}

#[test]
fn a_server_that_is_not_there_is_named_in_one_line() {
    let root = TempRoot::new("nobody-there");
    let server = Postgres::init(&root, "server", Version::V15, Options::default());
    let archive = root.dir("archive");
    for conninfo in [server.conninfo(), server.socket_conninfo()] {
        let receiver =
            Tool::ours(&root, "walreceiver").arg("-D").arg(&archive).args(["-n", "-w", "-d", &conninfo]);
        receiver.run().one_line_failure(&server.port().to_string());
    }
    assert_empty(&archive);
}
