//! This project's own server: made, started, asked, killed.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use crate::root::TempRoot;
use crate::server::{Server, Shutdown};
use crate::tool::Tool;
use crate::version::Version;
use crate::wait::wait_until;

/// What pgbench's transactions keep equal: four sums of the same changes.
const BALANCES: &str = "begin isolation level repeatable read;
    select sum(abalance) from pgbench_accounts;
    select sum(tbalance) from pgbench_tellers;
    select sum(bbalance) from pgbench_branches;
    select coalesce(sum(delta), 0) from pgbench_history;
    commit;";

/// `walwriter serve`.
pub struct Walwriter(Server);

impl Deref for Walwriter {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Walwriter {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}

impl Walwriter {
    /// Makes a data directory called `name` in the root. No server runs in it yet.
    #[track_caller]
    pub fn init(root: &TempRoot, name: &str, options: &[&str]) -> Self {
        let data = root.dir(name);
        Tool::ours(root, "walwriter").args(["init", "-D"]).arg(&data).args(options).succeed();
        Self::in_directory(root, name, &data)
    }

    /// A running leader over a new directory with segments of 1 MiB and these settings.
    #[track_caller]
    pub fn start_new(root: &TempRoot, name: &str, settings: &[(&str, &str)]) -> Self {
        let mut server = Self::init(root, name, &["--wal-segsize", "1"]);
        for (name, value) in settings {
            server.configure(name, value);
        }
        server.start();
        server
    }

    /// A server over a directory that is there already, such as a backup; `name` is what its logs are called.
    pub fn in_directory(root: &TempRoot, name: &str, data: &Path) -> Self {
        Self(Server::new(root, name, Version::V15, data, serve))
    }

    /// SIGKILL, and waits until it is gone.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.running().kill9();
    }

    /// How it ended, once it has of itself.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> crate::process::Finished {
        self.running().wait()
    }

    /// Makes a standby the leader of a new timeline: once the command says so, it takes writes, and does after a restart.
    #[track_caller]
    pub fn promote(&self) {
        Tool::ours(self.root(), "walwriter").args(["promote", "-D"]).arg(self.data()).succeed();
        assert_eq!(self.sql("select pg_is_in_recovery()"), "f", "writes are taken once the command says so");
        assert!(!self.data().join("standby.signal").exists(), "it would be a standby after a restart");
    }

    /// Waits until a standby whose leader is gone has replayed all that it received.
    #[track_caller]
    pub fn wait_for_all_received(&self) {
        wait_until("everything received to be replayed", || {
            self.sql("select pg_last_wal_replay_lsn() = pg_last_wal_receive_lsn()") == "t"
        });
    }

    /// Stops `leader`, and then this follower of it once it has all of its log: both directories are sound and have the
    /// same pages.
    #[track_caller]
    pub fn assert_ends_as(&mut self, leader: &mut Self) {
        leader.stop(Shutdown::Fast).success();
        // The leader let it have the shutdown checkpoint before it ended.
        self.wait_for_all_received();
        self.stop(Shutdown::Fast).success();
        self.assert_same_pages(leader);
        leader.assert_sound();
        self.assert_sound();
    }

    /// The (stopped) directory has the pages of the other (stopped) one.
    #[track_caller]
    pub fn assert_same_pages(&self, other: &Self) {
        let files = |server: &Self| {
            let entries = std::fs::read_dir(server.data().join("base/5")).unwrap();
            let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort();
            files
        };
        let (ours, theirs) = (files(self), files(other));
        assert_eq!(ours.len(), theirs.len(), "{ours:?}, {theirs:?}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.file_name(), theirs.file_name());
            let same = std::fs::read(ours).unwrap() == std::fs::read(theirs).unwrap();
            assert!(same, "{} and {} differ", ours.display(), theirs.display());
        }
    }

    /// pgbench's four sums, of accounts, tellers, branches and history, in one snapshot.
    #[track_caller]
    pub fn balances(&self) -> Vec<String> {
        let printed = self.script(BALANCES);
        let sums: Vec<String> = printed.lines().map(str::to_owned).collect();
        assert_eq!(sums.len(), 4, "{printed}");
        sums
    }

    /// The four sums are equal, as they are in every snapshot.
    #[track_caller]
    pub fn assert_balanced(&self) {
        let sums = self.balances();
        assert!(sums.iter().all(|sum| *sum == sums[0]), "the balances differ: {sums:?}");
    }

    /// Has PostgreSQL's tools look at the (stopped) directory: the control file, every page's checksum, and the WAL from the
    /// last checkpoint's redo point to its end.
    #[track_caller]
    pub fn assert_sound(&mut self) {
        assert!(!self.is_running(), "only a stopped directory can be looked at");
        let tool = |name| Tool::postgres(self.root(), Version::V15, name);
        let control = tool("pg_controldata").arg(self.data()).succeed();
        assert!(!control.contains("WARNING"), "{control}");
        let field = |name: &str| {
            let line = control.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {control}")).trim().to_owned()
        };
        if field("Database cluster state:").starts_with("shut down") {
            tool("pg_checksums").args(["--check", "-D"]).arg(self.data()).succeed();
        }
        let redo = field("Latest checkpoint's REDO location:");
        let timeline = field("Latest checkpoint's TimeLineID:");
        let dump = tool("pg_waldump").args(["-t", &timeline, "-s", &redo, "-p"]).arg(self.wal_dir()).run();
        // The end of the log reads as a record of no length, or of another segment's past.
        assert!(!dump.stdout.is_empty(), "{dump}");
        assert!(dump.stderr.contains("error in WAL record at") || dump.stderr.is_empty(), "{dump}");
    }
}

fn serve(server: &Server) -> Tool {
    let tool = Tool::ours(server.root(), "walwriter").args(["serve", "-D"]).arg(server.data());
    let socket = format!("unix_socket_directories={}", server.socket_dir().display());
    let port = format!("port={}", server.port());
    tool.args(["-c", &port, "-c", &socket, "-c", "listen_addresses=127.0.0.1"])
}
