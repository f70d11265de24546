//! The witness: a receiver and its archive. When the archive belongs to a history that is not the leader's any more, an
//! operator gives the receiver a new one and keeps the old.

use std::path::{Path, PathBuf};

use wal::Lsn;

use super::node::LIMIT;
use crate::process::Process;
use crate::proxy::{Proxy, Verdict};
use crate::root::{TempRoot, last_lines};
use crate::tool::Tool;

/// What it is called, to the leader too.
pub const NAME: &str = "w";

/// The receiver, its archives and the link to its leader.
pub struct Witness {
    /// Between it and the leader.
    pub link: Proxy,
    root: TempRoot,
    slot: bool,
    archives: Vec<PathBuf>,
    process: Option<Process>,
}

impl Witness {
    /// One with an empty archive, which uses a slot called as it is, if so told.
    pub fn new(root: &TempRoot, slot: bool) -> Self {
        let link = Proxy::start(0, |_| Verdict::Pass);
        let mut witness = Self { link, root: root.clone(), slot, archives: Vec::new(), process: None };
        witness.new_archive();
        witness
    }

    /// The archive that it writes.
    pub fn archive(&self) -> &Path {
        &self.archives[self.archives.len() - 1]
    }

    /// All archives that there were.
    pub fn archives(&self) -> &[PathBuf] {
        &self.archives
    }

    /// Begins an empty one.
    pub fn new_archive(&mut self) {
        let name = format!("archive{}", self.archives.len() + 1);
        self.archives.push(self.root.dir(name));
    }

    /// Its process.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// What it has logged in this life.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Starts it. The leader has to be there.
    pub fn start(&mut self) {
        let leader =
            format!("host=127.0.0.1 port={} user=postgres application_name={NAME}", self.link.port());
        let tool = Tool::ours(&self.root, "walreceiver").named("witness").arg("-D").arg(self.archive());
        let tool = tool.args(["-d", &leader, "--synchronous", "-s", "1"]);
        let tool = if self.slot { tool.args(["-S", NAME]) } else { tool };
        self.process = Some(tool.spawn());
    }

    /// Whether it runs; one that found a fork has ended.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// SIGKILL, if it runs.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take()
            && process.is_running()
        {
            process.kill9();
        }
    }

    /// SIGTERM, which has to end it in good order.
    #[track_caller]
    pub fn terminate(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        assert!(process.is_running(), "the witness ended by itself:\n{}", last_lines(&process.stderr(), 25));
        process.signal(rustix::process::Signal::TERM);
        let finished = process.wait_within(LIMIT / 2);
        assert!(finished.code == Some(0), "SIGTERM did not end it in good order: {finished}");
    }

    /// Up to where it has made WAL durable, while it runs.
    pub fn flushed(&self) -> Option<Lsn> {
        let status =
            Tool::ours(&self.root, "walreceiver").args(["status", "--json", "-D"]).arg(self.archive());
        let status: serde_json::Value = serde_json::from_str(&status.run().stdout).ok()?;
        status["flush_lsn"].as_str()?.parse().ok()
    }
}
