//! The processes that a server consists of: those that it has started, and those that these have.

use std::path::Path;

use rustix::process::{Signal, kill_process};

use crate::process::pid;
use crate::root::TempRoot;

/// The processes whose parent is `ancestor`, and theirs.
pub fn descendants_of(ancestor: u32) -> Vec<u32> {
    let mut found = vec![ancestor];
    let mut next = 0;
    let all: Vec<(u32, u32)> =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| parent_of(&entry.path())).collect();
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|&&(_, of)| of == parent).map(|&(child, _)| child));
        next += 1;
    }
    found.split_off(1)
}

/// A process's number and its parent's, from its directory in /proc.
fn parent_of(directory: &Path) -> Option<(u32, u32)> {
    let child = directory.file_name()?.to_str()?.parse().ok()?;
    let stat = std::fs::read_to_string(directory.join("stat")).ok()?;
    // After the program's name in parentheses come its state and its parent.
    let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((child, parent))
}

/// Whether a process has ended, be it that nobody has waited for it yet.
pub(crate) fn is_gone(process: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

/// A server all of whose processes are stopped where they are (SIGSTOP), until this is dropped: it uses no CPU and no
/// disk meanwhile, whatever it had still to do in the background.
pub struct Frozen {
    root: TempRoot,
    server: u32,
    children: Vec<u32>,
}

impl Frozen {
    /// Stops process `server` of `root` and all that it has started.
    pub fn new(root: &TempRoot, server: u32) -> Self {
        // Stopped first, it starts no further processes while those there are being looked up.
        let _ = kill_process(pid(server), Signal::STOP);
        let children = descendants_of(server);
        for &child in &children {
            // PostgreSQL's are in process groups of their own, and do not notice their parent's death while stopped.
            root.guard().started(child);
            let _ = kill_process(pid(child), Signal::STOP);
        }
        Self { root: root.clone(), server, children }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for &child in &self.children {
            let _ = kill_process(pid(child), Signal::CONT);
            self.root.guard().ended(child);
        }
        let _ = kill_process(pid(self.server), Signal::CONT);
    }
}
