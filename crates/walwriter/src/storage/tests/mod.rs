//! Leaders and standbys in this process, over real sockets and files, with PostgreSQL's tools where they apply.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use disk::OsDisk;
use engine::{InitOptions, Isolation, TreeId};
use wal::{SegmentSize, TimelineId};

mod following;
mod missing_wal;
mod slots;
mod synchronous;

use super::*;
use crate::config::Origin;
use crate::process::STANDBY_SIGNAL;
use crate::server::{ListenOptions, Listeners, Server, ServerOptions};
use crate::session::double::{Double, Shared};

const DEADLINE: Duration = Duration::from_secs(30);

/// A program of PostgreSQL 15, where `scripts/test` says that it is or where Debian has it.
fn postgres_tool(name: &str) -> Command {
    let directory =
        std::env::var_os("WALSHIP_PG15_BIN").unwrap_or_else(|| "/usr/lib/postgresql/15/bin".into());
    Command::new(Path::new(&directory).join(name))
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server without SQL: a storage, and a port on which followers are served.
struct TestNode {
    storage: Option<Storage>,
    server: Option<Server<Shared>>,
    port: u16,
}

impl TestNode {
    fn start(path: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_at(path, settings, 0)
    }

    fn start_at(path: &Path, settings: &[(&str, &str)], port: u16) -> Self {
        let mut config = Config::default();
        // What is written is to be in the log in its whole length.
        let always = [("wal_retrieve_retry_interval", "100ms"), ("wal_compression", "off")];
        for (name, value) in settings.iter().chain(&always) {
            config.set(name, value, Origin::CommandLine).unwrap();
        }
        let shipping = Shipping::new();
        let listen = ListenOptions {
            hosts: vec!["127.0.0.1".into()],
            port,
            unix_socket_directories: Vec::new(),
            unix_socket_permissions: 0o700,
            allow_remote: false,
        };
        let options = ServerOptions {
            workers: 1,
            max_connections: 10,
            most_sockets: 84,
            authentication_timeout: DEADLINE,
            passwords: None,
        };
        let listeners = Listeners::bind(&listen).unwrap();
        let server = Server::start(options, listeners, Some(Arc::clone(&shipping) as _)).unwrap();
        server.open(Arc::new(Shared(Arc::new(Double::default()))));
        let port = server.port();
        let open = || {
            Storage::open(StorageOptions {
                directory: path,
                disk: Arc::new(OsDisk::new()),
                config: &config,
                port,
                shipping: Arc::clone(&shipping),
                promoted: Arc::new(|| {}),
                early: Arc::default(),
                accept_loss: None,
            })
        };
        // In one process, threads of the one before may still have the directory for a moment.
        let mut opened = None;
        wait_until("the directory to be free", || match open() {
            Ok(storage) => opened.replace(storage).is_none(),
            Err(error) => {
                assert!(error.to_string().contains("in use by process"), "{error:#}");
                false
            }
        });
        let storage = opened;
        Self { storage, server: Some(server), port }
    }

    fn new_leader(path: &Path, settings: &[(&str, &str)]) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
        let options =
            InitOptions { segment_size: SegmentSize::new(1 << 20).unwrap(), ..InitOptions::default() };
        Engine::init(&disk, path, &options).unwrap();
        Self::start(path, settings)
    }

    fn storage(&self) -> &Storage {
        self.storage.as_ref().unwrap()
    }

    fn engine(&self) -> &Arc<Engine> {
        self.storage().engine()
    }

    /// Commits a row without waiting for anything but the flush.
    fn put(&self, key: &str, value: &str) -> Lsn {
        let mut transaction = self.engine().begin(Isolation::ReadCommitted, false);
        transaction.put(TreeId::CATALOG, key.as_bytes(), value.as_bytes()).unwrap();
        let commit = transaction.commit().unwrap();
        self.engine().log().flush(commit.lsn).unwrap();
        commit.lsn
    }

    /// Writes a few segments.
    fn put_much(&self, name: &str) -> Lsn {
        (0..400).map(|n| self.put(&format!("{name}{n}"), &"x".repeat(7000))).last().unwrap()
    }

    fn get(&self, key: &str) -> Option<String> {
        let transaction = self.engine().begin(Isolation::ReadCommitted, true);
        let value = transaction.get(TreeId::CATALOG, key.as_bytes()).unwrap();
        value.map(|value| String::from_utf8(value).unwrap())
    }

    #[track_caller]
    fn wait_for(&self, lsn: Lsn) {
        wait_until(&format!("replay of {lsn}"), || self.engine().confirmed() >= lsn);
    }

    fn conninfo(&self, name: &str) -> String {
        format!("host=127.0.0.1 port={} user=postgres application_name={name}", self.port)
    }

    /// A standby's directory, by pg_basebackup.
    fn back_up(&self, path: &Path, options: &[&str]) {
        let conninfo = self.conninfo("pg_basebackup");
        let run = postgres_tool("pg_basebackup")
            .args(["-d", &conninfo, "-c", "fast", "-R", "-D"])
            .arg(path)
            .args(options)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    fn stop(mut self) {
        self.server.take().unwrap().stop();
        self.storage().shutdown().unwrap();
    }
}

impl Drop for TestNode {
    /// As if killed, but for what the threads under way still do.
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
        if let Some(storage) = self.storage.take() {
            if let Some(standby) = &storage.standby {
                standby.stop();
            }
            storage.shipping.stop();
        }
    }
}

fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    root
}
