//! All slots of a directory.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use disk::{DiskFile, OpenMode, RangeLock};
use wal::{Lsn, SegmentSize};

use super::slot::{Life, Slot};
use super::state::{MAX_LEN, SlotInfo};
use super::{SLOTS_DIR, SlotName, WalClaim};
use crate::waldir::{Listing, WalDir};

/// A directory's slots. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Slots {
    dir: WalDir,
}

/// What can go wrong with a slot; texts and cases are PostgreSQL's where it has them.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// `create` of a name that is taken (SQLSTATE 42710).
    #[error("replication slot \"{0}\" already exists")]
    Exists(SlotName),
    /// There is no such slot (SQLSTATE 42704).
    #[error("replication slot \"{0}\" does not exist")]
    Missing(SlotName),
    /// Somebody else uses it (SQLSTATE 55006).
    #[error("replication slot \"{0}\" is active")]
    Active(SlotName),
    /// The slot's file is not one of ours, or damaged.
    #[error("file \"{}\" is not a replication slot, or is damaged: drop the slot and create it again", .0.display())]
    Damaged(PathBuf),
    /// The WAL that the slot would keep has been removed already.
    #[error("cannot reserve WAL from {restart} on: it has already been removed")]
    Gone {
        /// From where on it was to be kept.
        restart: Lsn,
    },
    /// A file could not be read, written or locked.
    #[error("could not access file \"{}\": {source}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Slots {
    /// The slots of `dir`.
    pub fn new(dir: WalDir) -> Self {
        Self { dir }
    }

    /// Makes a slot, durably, and takes it into use.
    pub fn create(&self, name: &SlotName, info: SlotInfo) -> Result<Slot, SlotError> {
        self.make(name, info, self.state_path(name), Life::Lasting)
    }

    /// Makes a slot that is gone when this use of it ends, or its process does, however that ends. It keeps WAL as others do, in
    /// whatever process that is removed.
    pub fn create_temporary(&self, name: &SlotName, info: SlotInfo) -> Result<Slot, SlotError> {
        let life = Life::Temporary { lock: self.lock_path(name) };
        self.make(name, info, self.temporary_path(name), life)
    }

    fn make(&self, name: &SlotName, info: SlotInfo, path: PathBuf, life: Life) -> Result<Slot, SlotError> {
        let slots = self.path();
        disk::durable_create_dir_all(&**self.dir.disk(), &slots).map_err(at(&slots))?;
        let lock = self.lock(name)?.ok_or_else(|| SlotError::Active(name.clone()))?;
        // A temporary one of this name whose lock is free is nobody's, and replaced or removed.
        self.remove_if_there(&self.temporary_path(name))?;
        let state = self.state_path(name);
        if self.dir.disk().exists(&state).map_err(at(&state))? {
            return Err(SlotError::Exists(name.clone()));
        }
        let mut slot = Slot::new(self.dir.disk().clone(), path, name.clone(), life, info, lock);
        slot.write()?;
        Ok(slot)
    }

    /// Makes a slot that keeps WAL from `position` on, which is asked only once nobody can remove any; an error if that WAL
    /// is not there any more. Otherwise as [`Slots::create`].
    pub fn reserve(
        &self,
        name: &SlotName,
        size: SegmentSize,
        position: impl FnOnce() -> SlotInfo,
    ) -> Result<Slot, SlotError> {
        let _claim = WalClaim::acquire(&self.dir)?;
        let info = position();
        self.check_there(info, size)?;
        self.create(name, info)
    }

    /// Insists that the WAL which a slot at `info` keeps has not been removed. Whoever asks holds the [`WalClaim`].
    pub fn check_there(&self, info: SlotInfo, size: SegmentSize) -> Result<(), SlotError> {
        let Some(restart) = info.restart_lsn else { return Ok(()) };
        let path = self.dir.path();
        let entries = self.dir.disk().read_dir(path).map_err(at(path))?;
        let names =
            entries.iter().filter(|entry| !entry.is_dir).map(|entry| (entry.name.as_str(), entry.len));
        let oldest = Listing::new(names, size).segments.iter().map(|file| file.segment).min();
        // WAL is removed from its beginning on, and the log may just be about to begin the segment.
        match oldest {
            Some(oldest) if size.segment_of(restart) < oldest => Err(SlotError::Gone { restart }),
            _ => Ok(()),
        }
    }

    /// Takes a slot into use: nobody else, in whatever process, can until this is dropped.
    pub fn acquire(&self, name: &SlotName) -> Result<Slot, SlotError> {
        self.read(name)?.ok_or_else(|| SlotError::Missing(name.clone()))?;
        let lock = self.lock(name)?.ok_or_else(|| SlotError::Active(name.clone()))?;
        // Again: it may have moved, or gone, before it was ours.
        let info = self.read(name)?.ok_or_else(|| SlotError::Missing(name.clone()))?;
        let path = self.state_path(name);
        Ok(Slot::new(self.dir.disk().clone(), path, name.clone(), Life::Lasting, info, lock))
    }

    /// What a slot says, as of its last durable write; `None` if there is no such slot.
    pub fn read(&self, name: &SlotName) -> Result<Option<SlotInfo>, SlotError> {
        self.read_file(self.state_path(name))
    }

    /// What a temporary slot says, of whatever process, a moment ago; `None` if there is no such slot.
    pub fn read_temporary(&self, name: &SlotName) -> Result<Option<SlotInfo>, SlotError> {
        self.read_file(self.temporary_path(name))
    }

    fn read_file(&self, path: PathBuf) -> Result<Option<SlotInfo>, SlotError> {
        match disk::read_file(&**self.dir.disk(), &path, MAX_LEN) {
            Ok(bytes) => SlotInfo::parse(&bytes).map(Some).ok_or(SlotError::Damaged(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(SlotError::Damaged(path)),
            Err(source) => Err(SlotError::Io { path, source }),
        }
    }

    /// Whether somebody uses the slot at the moment.
    pub fn is_active(&self, name: &SlotName) -> Result<bool, SlotError> {
        let path = self.lock_path(name);
        match self.dir.disk().open(&path, OpenMode::Read) {
            Ok(file) => match file.as_fd() {
                Some(fd) => RangeLock::is_held(fd, 0, 1).map_err(at(&path)),
                None => Ok(false),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(SlotError::Io { path, source }),
        }
    }

    /// The names of all slots that last, in order.
    pub fn list(&self) -> Result<Vec<SlotName>, SlotError> {
        self.named(".slot")
    }

    /// The names of all temporary slots, in order, in whatever process. What a process has left that was killed is removed:
    /// nobody holds its lock.
    pub fn list_temporary(&self) -> Result<Vec<SlotName>, SlotError> {
        let mut living = Vec::new();
        for name in self.named(".temporary")? {
            match self.lock(&name)? {
                // Where nothing is locked there is no other process.
                None | Some(SlotLock { _lock: None, .. }) => living.push(name),
                Some(_lock) => {
                    tracing::info!(
                        "replication slot \"{name}\" was temporary, and its process is gone: it is removed"
                    );
                    let path = self.temporary_path(&name);
                    for path in [path.with_extension("temporary.tmp"), path, self.lock_path(&name)] {
                        self.remove_if_there(&path)?;
                    }
                }
            }
        }
        Ok(living)
    }

    fn named(&self, suffix: &str) -> Result<Vec<SlotName>, SlotError> {
        let path = self.path();
        match self.dir.disk().read_dir(&path) {
            Ok(entries) => Ok(entries
                .iter()
                .filter_map(|entry| SlotName::new(entry.name.strip_suffix(suffix)?))
                .collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(SlotError::Io { path, source }),
        }
    }

    fn remove_if_there(&self, path: &Path) -> Result<(), SlotError> {
        match self.dir.disk().remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(at(path)),
        }
    }

    /// Removes a slot that nobody uses, durably; a damaged one too.
    pub fn drop(&self, name: &SlotName) -> Result<(), SlotError> {
        let state = self.state_path(name);
        let missing = || SlotError::Missing(name.clone());
        if !self.dir.disk().exists(&state).map_err(at(&state))? {
            let is_temporary = self.list_temporary()?.contains(name);
            return Err(if is_temporary { SlotError::Active(name.clone()) } else { missing() });
        }
        let _lock = self.lock(name)?.ok_or_else(|| SlotError::Active(name.clone()))?;
        match disk::durable_remove(&**self.dir.disk(), &state) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            other => other.map_err(at(&state))?,
        }
        // While still locked: whoever has this file open finds it removed, and starts over.
        let lock = self.lock_path(name);
        self.dir.disk().remove_file(&lock).map_err(at(&lock))
    }

    /// `None` if somebody else holds it.
    fn lock(&self, name: &SlotName) -> Result<Option<SlotLock>, SlotError> {
        let path = self.lock_path(name);
        loop {
            let file = self.dir.disk().open(&path, OpenMode::Create).map_err(at(&path))?;
            let Some(fd) = file.as_fd() else { return Ok(Some(SlotLock { _lock: None, _file: file })) };
            let Some(lock) = RangeLock::try_acquire(fd, 0, 1).map_err(at(&path))? else { return Ok(None) };
            if !is_removed(fd).map_err(at(&path))? {
                return Ok(Some(SlotLock { _lock: Some(lock), _file: file }));
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(SLOTS_DIR)
    }

    fn state_path(&self, name: &SlotName) -> PathBuf {
        self.path().join(format!("{name}.slot"))
    }

    fn temporary_path(&self, name: &SlotName) -> PathBuf {
        self.path().join(format!("{name}.temporary"))
    }

    fn lock_path(&self, name: &SlotName) -> PathBuf {
        self.path().join(format!("{name}.lock"))
    }
}

/// The exclusive use of a slot.
#[derive(Debug)]
pub(super) struct SlotLock {
    _lock: Option<RangeLock>,
    _file: Box<dyn DiskFile>,
}

fn is_removed(fd: impl AsFd) -> io::Result<bool> {
    Ok(rustix::fs::fstat(fd)?.st_nlink == 0)
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> SlotError + use<> {
    let path = path.to_owned();
    move |source| SlotError::Io { path, source }
}
