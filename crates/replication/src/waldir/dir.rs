//! Which directory, on which disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, OsDisk};

/// A directory that holds WAL. Cheap to clone; nothing is opened until asked for.
#[derive(Clone, Debug)]
pub struct WalDir {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl WalDir {
    /// The directory `path` on `disk`.
    pub fn new(path: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Self {
        Self { path: path.into(), disk }
    }

    /// The directory `path` of the operating system.
    pub fn on_os(path: impl Into<PathBuf>) -> Self {
        Self::new(path, Arc::new(OsDisk::new()))
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk it is on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}
