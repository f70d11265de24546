//! A file system in memory that remembers every operation.
//!
//! [`SimDisk`] answers like a Linux file system, fails when told to ([`SimDisk::limit_space`],
//! [`SimDisk::fail_sync`], [`SimDisk::set_read_only`], [`SimDisk::remove_tree`]), and can be cut off after any
//! operation: [`SimDisk::crash_states`] gives the disks that a power cut there could have left.
//!
//! Invariant: applying `log` to `base` gives `live`.

mod crash;
mod file;
mod tree;

use std::io;
use std::path::Path;
use std::sync::Arc;

use runtime::sync::{Mutex, MutexGuard};
use rustix::io::Errno;

pub use crash::CrashChoices;
use file::SimFile;
use tree::{Inode, InodeId, Op, Tree};

use crate::{DirEntry, Disk, DiskFile, Metadata, OpenMode};

/// A simulated disk; clones are the same disk. A new one has a root directory only. Relative paths start there too.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// What was durable when this disk came into being.
    base: Tree,
    /// What has been done since, in order.
    log: Vec<Op>,
    /// What readers see: `base` with all of `log` applied.
    live: Tree,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Faults {
    /// Bytes that can still be taken before the disk is full.
    space_left: Option<u64>,
    /// Syncs, of files or directories, until one fails: 1 is the next.
    syncs_until_failure: Option<u64>,
    /// Directories in which no name may change.
    read_only: Vec<InodeId>,
    /// Files that take no writes.
    unwritable: Vec<InodeId>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::from_tree(Tree::new())
    }

    /// A disk on which all of `tree` is durable and nothing has been done yet.
    fn from_tree(tree: Tree) -> Self {
        let state = State { base: tree.clone(), log: Vec::new(), live: tree, faults: Faults::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// How many operations the log holds. Crash points are the numbers from 0 up to this one.
    pub fn operations(&self) -> usize {
        self.state().log.len()
    }

    /// The log, an operation a line: what to print beside a crash state that broke something.
    pub fn log_text(&self) -> String {
        self.state().log.iter().enumerate().map(|(number, op)| format!("{:>4} {op}\n", number + 1)).collect()
    }

    /// Disks that a power cut right after the first `after` operations could have left, as `choices` picks them.
    ///
    /// Everything covered by a sync before that moment is there. Of the rest, each change of a name, each change of
    /// a length and each write may be there or not, independently of the others; a write may also be torn at any
    /// multiple of 512 bytes in the file, its beginning or its end alone surviving. States passed over with
    /// [`Iterator::step_by`] cost nothing.
    pub fn crash_states(&self, after: usize, choices: CrashChoices) -> impl Iterator<Item = SimDisk> + use<> {
        let state = self.state();
        let log: Vec<Op> = state.log.iter().take(after).cloned().collect();
        crash::States::new(state.base.clone(), log, choices)
    }

    /// How many disks [`SimDisk::crash_states`] gives, without building any.
    pub fn count_crash_states(&self, after: usize, choices: CrashChoices) -> usize {
        let state = self.state();
        let log: Vec<Op> = state.log.iter().take(after).cloned().collect();
        crash::States::new(state.base.clone(), log, choices).count()
    }

    /// Makes the disk full once `bytes` more bytes have been taken; `None` lifts the limit. A write that does not fit
    /// leaves its part that does, as a real one would. What is removed or cut off gives its bytes back.
    pub fn limit_space(&self, bytes: Option<u64>) {
        self.state().faults.space_left = bytes;
    }

    /// Makes the `nth` sync of a file or directory from now on (1 is the next) fail with `EIO`, once. What it should
    /// have covered may be lost in any later crash, whatever syncs succeed after it.
    pub fn fail_sync(&self, nth: u64) {
        self.state().faults.syncs_until_failure = Some(nth);
    }

    /// Forbids, or allows again, changing names in a directory, as its permissions would.
    pub fn set_read_only(&self, dir: &Path, read_only: bool) -> io::Result<()> {
        let mut state = self.state();
        let dir = state.live.dir(dir)?;
        state.faults.read_only.retain(|&other| other != dir);
        if read_only {
            state.faults.read_only.push(dir);
        }
        Ok(())
    }

    /// Makes writes to the files that are in a directory now fail with `EIO`, or succeed again.
    pub fn fail_writes_below(&self, dir: &Path, fail: bool) -> io::Result<()> {
        let mut state = self.state();
        let files: Vec<InodeId> = state.live.names(state.live.find(dir)?)?.values().copied().collect();
        state.faults.unwritable = if fail { files } else { Vec::new() };
        Ok(())
    }

    /// Removes a directory and everything in it behind the back of whoever is using it. Open handles stay usable.
    pub fn remove_tree(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (parent, name) = state.live.parent(dir)?;
        let inode = state.live.child(parent, &name)?;
        state.perform(Op::Unlink { dir: parent, name, inode });
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn perform(&mut self, op: Op) {
        self.live.apply(&op);
        self.log.push(op);
    }

    fn create(&mut self, dir: InodeId, name: String, is_dir: bool) -> io::Result<InodeId> {
        self.check_writable(dir)?;
        let inode = self.live.next_inode();
        self.perform(Op::Create { inode, is_dir });
        self.perform(Op::Link { dir, name, inode });
        Ok(inode)
    }

    fn check_writable(&self, dir: InodeId) -> io::Result<()> {
        if self.faults.read_only.contains(&dir) { Err(Errno::ACCESS.into()) } else { Ok(()) }
    }

    fn sync(&mut self, inode: InodeId) -> io::Result<()> {
        let fails = self.faults.syncs_until_failure == Some(1);
        self.faults.syncs_until_failure = match self.faults.syncs_until_failure {
            None | Some(0 | 1) => None,
            Some(more) => Some(more - 1),
        };
        self.perform(Op::Sync { inode, failed: fails });
        if fails { Err(Errno::IO.into()) } else { Ok(()) }
    }

    /// The file needs no space beyond `end` any more.
    fn give_back(&mut self, inode: InodeId, end: u64) {
        if let Some(left) = &mut self.faults.space_left {
            *left += self.live.space_of(inode).saturating_sub(end);
        }
    }

    /// Takes the space that reaching `end` needs beyond what the file has; says how far it can be reached.
    fn take_space(&mut self, inode: InodeId, start: u64, end: u64) -> u64 {
        let taken = self.live.space_of(inode).max(start);
        let needed = end.saturating_sub(taken);
        match &mut self.faults.space_left {
            Some(left) if *left < needed => taken + std::mem::take(left),
            Some(left) => {
                *left -= needed;
                end
            }
            None => end,
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let (dir, name) = state.live.parent(path)?;
        let inode = match (state.live.child(dir, &name), mode) {
            (Ok(_), OpenMode::CreateNew) => return Err(Errno::EXIST.into()),
            (Ok(inode), _) => match state.live.get(inode)? {
                Inode::Dir(_) if mode != OpenMode::Read => return Err(Errno::ISDIR.into()),
                _ => inode,
            },
            (Err(_), OpenMode::Create | OpenMode::CreateNew) => state.create(dir, name, false)?,
            (Err(error), _) => return Err(error),
        };
        Ok(Box::new(SimFile { disk: self.clone(), inode, writable: mode != OpenMode::Read }))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state();
        let names = state.live.names(state.live.find(path)?)?;
        let entry = |(name, &inode): (&String, &InodeId)| {
            let (len, is_dir) = state.live.len_and_kind(inode)?;
            Ok(DirEntry { name: name.clone(), len, is_dir })
        };
        names.iter().map(entry).collect()
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let state = self.state();
        let (len, is_dir) = state.live.len_and_kind(state.live.find(path)?)?;
        Ok(Metadata { len, is_dir })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (from_dir, from_name) = state.live.parent(from)?;
        let (to_dir, to_name) = state.live.parent(to)?;
        let inode = state.live.child(from_dir, &from_name)?;
        state.check_writable(from_dir)?;
        state.check_writable(to_dir)?;
        if let Ok(replaced) = state.live.child(to_dir, &to_name) {
            match (state.live.get(inode)?, state.live.get(replaced)?) {
                (Inode::Dir(_), Inode::Dir(names)) if !names.is_empty() => return Err(Errno::NOTEMPTY.into()),
                (Inode::File(_), Inode::Dir(_)) => return Err(Errno::ISDIR.into()),
                (Inode::Dir(_), Inode::File(_)) => return Err(Errno::NOTDIR.into()),
                _ => {}
            }
        }
        state.perform(Op::Rename { from_dir, from_name, to_dir, to_name, inode });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (dir, name) = state.live.parent(path)?;
        let inode = state.live.child(dir, &name)?;
        state.check_writable(dir)?;
        if let Inode::Dir(_) = state.live.get(inode)? {
            return Err(Errno::ISDIR.into());
        }
        state.give_back(inode, 0);
        state.perform(Op::Unlink { dir, name, inode });
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (dir, name) = state.live.parent(path)?;
        let inode = state.live.child(dir, &name)?;
        state.check_writable(dir)?;
        if !state.live.names(inode)?.is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        state.perform(Op::Unlink { dir, name, inode });
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (dir, name) = state.live.parent(path)?;
        if state.live.child(dir, &name).is_ok() {
            return Err(Errno::EXIST.into());
        }
        state.create(dir, name, true).map(drop)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let dir = state.live.dir(path)?;
        state.sync(dir)
    }
}
