//! A `walsender` process over a directory, and asking it as psql does.

use std::path::{Path, PathBuf};

use wal::Lsn;

use crate::process::{Finished, Process};
use crate::root::TempRoot;
use crate::tool::Tool;
use crate::version::Version;
use crate::wait::{DEADLINE, wait_for};

/// A walsender that listens on a port which the system chose, the same one however often it is restarted.
pub struct Walsender {
    root: TempRoot,
    directory: PathBuf,
    options: Vec<String>,
    port: u16,
    process: Option<Process>,
}

impl Walsender {
    /// Starts one that serves `directory`, in which there is or soon will be WAL, and waits until it does.
    #[track_caller]
    pub fn start_new(root: &TempRoot, directory: &Path) -> Self {
        Self::start_with(root, directory, &[])
    }

    /// [`Walsender::start_new`] with further options.
    #[track_caller]
    pub fn start_with(root: &TempRoot, directory: &Path, options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let (root, directory) = (root.clone(), directory.to_owned());
        let mut sender = Self { root, directory, options, port: 0, process: None };
        sender.start();
        sender
    }

    /// Starts it (again, on the port that it had) and waits until it serves.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "the walsender runs already");
        let port_file = self.root.log_file("walsender.port");
        let tool = Tool::ours(&self.root, "walsender").arg("-D").arg(&self.directory);
        let tool = tool.args(["-p", &self.port.to_string(), "--port-file"]).arg(&port_file);
        let mut process = tool.args(&self.options).spawn();
        self.port = wait_for("walsender to listen", DEADLINE, || {
            assert!(process.is_running(), "walsender does not start:\n{}", process.stderr());
            std::fs::read_to_string(&port_file).ok()?.trim().parse().ok()
        });
        self.process = Some(process);
        let serves = || (self.try_command("IDENTIFY_SYSTEM").code == Some(0)).then_some(());
        wait_for("WAL to be served", DEADLINE, serves);
    }

    /// Starts it again after it has ended by itself.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(!self.process().is_running(), "the walsender runs");
        self.process = None;
        self.start();
    }

    /// SIGKILL, and waits until it is gone.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.running().kill9();
    }

    /// SIGTERM, and waits for its end.
    #[track_caller]
    pub fn terminate(&mut self) -> Finished {
        self.running().terminate()
    }

    /// The process, which from now on belongs to the caller.
    #[track_caller]
    pub fn running(&mut self) -> Process {
        self.process.take().expect("the walsender runs")
    }

    /// The running process.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the walsender runs")
    }

    /// Its TCP port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What followers connect with.
    pub fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres", self.port)
    }

    /// Gives it a replication command through psql.
    #[track_caller]
    pub fn try_command(&self, command: &str) -> Finished {
        let conninfo = format!("{} dbname=postgres replication=1", self.conninfo());
        let psql = Tool::postgres(&self.root, Version::V15, "psql");
        psql.args(["-XAt", "-d", &conninfo, "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"])
            .args(["-c", command])
            .run()
    }

    /// [`Walsender::try_command`] that succeeds; gives the rows, columns separated by `|`.
    #[track_caller]
    pub fn command(&self, command: &str) -> String {
        self.try_command(command).success().stdout.trim_end_matches('\n').to_owned()
    }

    /// `IDENTIFY_SYSTEM`: system identifier, timeline, and up to where there is WAL to be had.
    #[track_caller]
    pub fn identify(&self) -> (String, u32, Lsn) {
        let row = self.command("IDENTIFY_SYSTEM");
        let columns: Vec<_> = row.split('|').collect();
        let [system, timeline, end, ..] = columns[..] else { panic!("IDENTIFY_SYSTEM gave `{row}`") };
        (system.to_owned(), timeline.parse().unwrap(), end.parse().unwrap())
    }

    /// Waits until it serves up to `lsn`.
    #[track_caller]
    pub fn wait_for_end(&self, lsn: Lsn) {
        wait_for(&format!("walsender to serve {lsn}"), DEADLINE, || (self.identify().2 >= lsn).then_some(()));
    }
}
