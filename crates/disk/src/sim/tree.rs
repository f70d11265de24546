//! Files and directories as inodes, and the operations that change them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use rustix::io::Errno;

/// The identity of a file or directory, which renaming does not change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct InodeId(u64);

#[derive(Clone, Debug)]
pub(super) enum Inode {
    File(File),
    Dir(BTreeMap<String, InodeId>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// Shared by the disks that a file is the same on.
    content: Arc<Vec<u8>>,
    /// Bytes from the start for which space has been taken; a length set beyond it is a hole.
    space: u64,
}

impl File {
    fn resize(&mut self, len: usize) {
        if len != self.content.len() {
            Arc::make_mut(&mut self.content).resize(len, 0);
        }
    }
}

/// One change, or a sync. Changes of names belong to the directory, all others to the file.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create { inode: InodeId, is_dir: bool },
    Link { dir: InodeId, name: String, inode: InodeId },
    Unlink { dir: InodeId, name: String, inode: InodeId },
    Rename { from_dir: InodeId, from_name: String, to_dir: InodeId, to_name: String, inode: InodeId },
    Write { inode: InodeId, offset: u64, bytes: Arc<[u8]> },
    SetLen { inode: InodeId, len: u64 },
    Allocate { inode: InodeId, end: u64 },
    Claim { inode: InodeId, end: u64 },
    Sync { inode: InodeId, failed: bool },
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { inode, is_dir: false } => write!(f, "create file {}", inode.0),
            Self::Create { inode, is_dir: true } => write!(f, "create directory {}", inode.0),
            Self::Link { dir, name, inode } => write!(f, "name {} {}/{name}", inode.0, dir.0),
            Self::Unlink { dir, name, .. } => write!(f, "remove {}/{name}", dir.0),
            Self::Rename { from_dir, from_name, to_dir, to_name, .. } => {
                write!(f, "rename {}/{from_name} to {}/{to_name}", from_dir.0, to_dir.0)
            }
            Self::Write { inode, offset, bytes } => {
                write!(f, "write {} at {offset} +{}", inode.0, bytes.len())
            }
            Self::SetLen { inode, len } => write!(f, "set length of {} to {len}", inode.0),
            Self::Allocate { inode, end } => write!(f, "allocate {} up to {end}", inode.0),
            Self::Claim { inode, end } => write!(f, "claim {} up to {end}", inode.0),
            Self::Sync { inode, failed } => {
                write!(f, "sync {}{}", inode.0, if *failed { " (failed)" } else { "" })
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Tree {
    inodes: BTreeMap<InodeId, Inode>,
}

impl Tree {
    const ROOT: InodeId = InodeId(0);

    pub(super) fn new() -> Self {
        Self { inodes: BTreeMap::from([(Self::ROOT, Inode::Dir(BTreeMap::new()))]) }
    }

    pub(super) fn next_inode(&self) -> InodeId {
        InodeId(self.inodes.last_key_value().map_or(0, |(last, _)| last.0 + 1))
    }

    pub(super) fn get(&self, inode: InodeId) -> io::Result<&Inode> {
        self.inodes.get(&inode).ok_or_else(|| Errno::NOENT.into())
    }

    pub(super) fn content(&self, inode: InodeId) -> io::Result<&[u8]> {
        match self.get(inode)? {
            Inode::File(file) => Ok(&file.content),
            Inode::Dir(_) => Err(Errno::ISDIR.into()),
        }
    }

    pub(super) fn names(&self, inode: InodeId) -> io::Result<&BTreeMap<String, InodeId>> {
        match self.get(inode)? {
            Inode::Dir(names) => Ok(names),
            Inode::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    pub(super) fn child(&self, dir: InodeId, name: &str) -> io::Result<InodeId> {
        self.names(dir)?.get(name).copied().ok_or_else(|| Errno::NOENT.into())
    }

    pub(super) fn len_and_kind(&self, inode: InodeId) -> io::Result<(u64, bool)> {
        Ok(match self.get(inode)? {
            Inode::File(file) => (file.content.len() as u64, false),
            Inode::Dir(_) => (0, true),
        })
    }

    pub(super) fn space_of(&self, inode: InodeId) -> u64 {
        match self.inodes.get(&inode) {
            Some(Inode::File(file)) => file.space,
            _ => 0,
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<InodeId> {
        components(path)?.iter().try_fold(Self::ROOT, |dir, name| self.child(dir, name))
    }

    /// `path`, which must be a directory.
    pub(super) fn dir(&self, path: &Path) -> io::Result<InodeId> {
        let inode = self.find(path)?;
        self.names(inode).map(|_| inode)
    }

    /// The directory that holds `path`, and the name there.
    pub(super) fn parent(&self, path: &Path) -> io::Result<(InodeId, String)> {
        let mut names = components(path)?;
        let name = names.pop().ok_or(Errno::ISDIR)?;
        let dir = names.iter().try_fold(Self::ROOT, |dir, name| self.child(dir, name))?;
        self.names(dir)?;
        Ok((dir, name))
    }

    /// Makes the change, as far as what it needs is there: in a crash state an earlier change may be missing.
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { inode, is_dir } => {
                let new = if *is_dir { Inode::Dir(BTreeMap::new()) } else { Inode::File(File::default()) };
                self.inodes.insert(*inode, new);
            }
            Op::Link { dir, name, inode } => self.link(*dir, name, *inode),
            Op::Unlink { dir, name, inode } => self.unlink(*dir, name, *inode),
            Op::Rename { from_dir, from_name, to_dir, to_name, inode } => {
                self.unlink(*from_dir, from_name, *inode);
                self.link(*to_dir, to_name, *inode);
            }
            Op::Write { inode, offset, bytes } => self.write(*inode, *offset, bytes),
            Op::SetLen { inode, len } => {
                if let Some(Inode::File(file)) = self.inodes.get_mut(inode) {
                    file.resize(*len as usize);
                    file.space = file.space.min(*len);
                }
            }
            Op::Allocate { inode, end } => {
                if let Some(Inode::File(file)) = self.inodes.get_mut(inode) {
                    file.resize(file.content.len().max(*end as usize));
                    file.space = file.space.max(*end);
                }
            }
            Op::Claim { inode, end } => {
                if let Some(Inode::File(file)) = self.inodes.get_mut(inode) {
                    file.space = file.space.max(*end);
                }
            }
            Op::Sync { .. } => {}
        }
    }

    pub(super) fn write(&mut self, inode: InodeId, offset: u64, bytes: &[u8]) {
        if let Some(Inode::File(file)) = self.inodes.get_mut(&inode) {
            let start = offset as usize;
            let end = start + bytes.len();
            file.resize(file.content.len().max(end));
            if let Some(target) = Arc::make_mut(&mut file.content).get_mut(start..end) {
                target.copy_from_slice(bytes);
            }
            file.space = file.space.max(end as u64);
        }
    }

    fn link(&mut self, dir: InodeId, name: &str, inode: InodeId) {
        if let Some(Inode::Dir(names)) = self.inodes.get_mut(&dir) {
            names.insert(name.to_owned(), inode);
        }
    }

    fn unlink(&mut self, dir: InodeId, name: &str, inode: InodeId) {
        if let Some(Inode::Dir(names)) = self.inodes.get_mut(&dir)
            && names.get(name) == Some(&inode)
        {
            names.remove(name);
        }
    }
}

fn components(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().ok_or(Errno::INVAL)?.to_owned()),
            Component::ParentDir => {
                names.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}
