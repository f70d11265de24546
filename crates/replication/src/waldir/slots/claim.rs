//! Who claims WAL and who removes it, one at a time.
//!
//! A slot that is made keeps WAL from a position on; a checkpoint looks at the slots and removes what none of them needs. If
//! the slot's file appeared between the look and the removal, its WAL would be gone from its first day. So both hold this
//! lock: whoever makes a slot from before it takes the position until the slot is there, whoever removes WAL from before it
//! looks until it is removed. In whatever process: `walsender` and base backups make slots in directories that a server
//! writes to.

use disk::{DiskFile, LOCK_FILE, OpenMode, RangeLock};

use super::store::{SlotError, at};
use crate::waldir::WalDir;

/// The byte of the directory's lock file that stands for this; the first one stands for its writer.
const BYTE: u64 = 1;

/// Until dropped, nobody else makes a slot that keeps WAL, and nobody else removes WAL.
///
/// On a simulated disk there is no other process, and nothing is excluded.
#[derive(Debug)]
pub struct WalClaim {
    _lock: Option<RangeLock>,
    _file: Box<dyn DiskFile>,
}

impl WalClaim {
    /// Waits for whoever has it: as long as it takes to write a small file, or to remove segments.
    pub fn acquire(dir: &WalDir) -> Result<Self, SlotError> {
        let path = dir.path().join(LOCK_FILE);
        let file = dir.disk().open(&path, OpenMode::Create).map_err(at(&path))?;
        let lock = file.as_fd().map(|fd| RangeLock::acquire(fd, BYTE, 1)).transpose().map_err(at(&path))?;
        Ok(Self { _lock: lock, _file: file })
    }
}
