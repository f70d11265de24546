//! A PostgreSQL server: made, started, asked, killed.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wal::Lsn;

use crate::descendants::{descendants_of, is_gone};
use crate::options::Options;
use crate::process::pid;
use crate::root::TempRoot;
use crate::server::Server;
use crate::tool::Tool;
use crate::version::Version;
use crate::wait::wait_until;

/// PostgreSQL.
pub struct Postgres(Server);

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}

impl Postgres {
    /// Makes a cluster in directory `name` of the root; its superuser is `postgres`. It does not run yet.
    #[track_caller]
    pub fn init(root: &TempRoot, name: &str, version: Version, options: Options) -> Self {
        let data = root.dir(name);
        let initdb = Tool::postgres(root, version, "initdb").arg("-D").arg(&data);
        initdb
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "--no-locale", "-E", "UTF8"])
            .args(&options.initdb)
            .succeed();
        let server = Self::in_directory(root, name, version, &data);
        for (name, value) in &options.settings {
            server.configure(name, value);
        }
        server
    }

    /// [`Postgres::init`] and [`Server::start`].
    #[track_caller]
    pub fn start_new(root: &TempRoot, name: &str, version: Version, options: Options) -> Self {
        let mut server = Self::init(root, name, version, options);
        server.start();
        server
    }

    /// A server over a data directory that is there already, such as a backup; `name` is what its logs are called.
    pub fn in_directory(root: &TempRoot, name: &str, version: Version, data: &Path) -> Self {
        Self(Server::new(root, name, version, data, postmaster))
    }

    /// Puts lines before all others in `pg_hba.conf`, such as `host all joe 127.0.0.1/32 scram-sha-256`.
    #[track_caller]
    pub fn authenticate(&self, lines: &str) {
        let path = self.data().join("pg_hba.conf");
        let old = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{lines}\n{old}")).unwrap();
    }

    /// SIGKILL to the whole server at one moment, as when the machine's power goes: none of its processes survives.
    #[track_caller]
    pub fn kill9(&mut self) {
        let mut postmaster = self.running();
        // Stopped first, it starts no further processes while those there are being looked up.
        postmaster.freeze();
        let children = descendants_of(postmaster.pid());
        for &child in &children {
            let _ = rustix::process::kill_process(pid(child), Signal::KILL);
        }
        postmaster.kill9();
        wait_until("the server's processes to be gone", || children.iter().all(|&child| is_gone(child)));
    }

    /// Makes it read its configuration again.
    #[track_caller]
    pub fn reload(&self) {
        self.sql("select pg_reload_conf()");
    }

    /// Makes a standby the leader of a new timeline, and waits until it is.
    #[track_caller]
    pub fn promote(&self) {
        self.sql("select pg_promote(true, 60)");
        wait_until("the promotion to end", || self.sql("select pg_is_in_recovery()") == "f");
    }

    /// Ends the current segment; gives the LSN at which it ended.
    #[track_caller]
    pub fn switch_wal(&self) -> Lsn {
        self.sql("select pg_switch_wal()").parse().unwrap()
    }

    /// The system identifier, as `IDENTIFY_SYSTEM` prints it.
    #[track_caller]
    pub fn system_id(&self) -> String {
        self.sql("select system_identifier from pg_control_system()")
    }
}

fn postmaster(server: &Server) -> Tool {
    let (port, socket) = (server.port().to_string(), server.socket_dir());
    let tool = Tool::postgres(server.root(), server.version(), "postgres");
    tool.arg("-D").arg(server.data()).args(["-p", &port, "-k"]).arg(socket)
}

impl Drop for Postgres {
    /// Ends the server in a way that lets it take its System V shared memory along, which SIGKILL leaves behind.
    fn drop(&mut self) {
        if let Some(mut process) = self.take_process().filter(|_| self.lock_file().is_some())
            && process.is_running()
        {
            let _ = rustix::process::kill_process(pid(process.pid()), Signal::CONT);
            let _ = rustix::process::kill_process(pid(process.pid()), Signal::QUIT);
            let deadline = Instant::now() + Duration::from_secs(10);
            while process.is_running() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let memory = self
            .lock_file()
            .and_then(|lines| lines.get(6)?.split_ascii_whitespace().nth(1).map(str::to_owned));
        if let Some(id) = memory {
            let _ = Command::new("ipcrm").args(["-m", &id]).stderr(Stdio::null()).status();
        }
    }
}
