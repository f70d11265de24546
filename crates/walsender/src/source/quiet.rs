//! A directory in which nobody says what is durable: the end of its valid WAL is looked for and made durable.

use std::collections::HashMap;
use std::time::SystemTime;
use std::{fs, io};

use disk::OpenMode;
use replication::waldir::{EndOfWal, Listing, WalDir, WalDirError, find_end_of_wal};
use wal::{Lsn, SegmentSize};

/// A file's length and when it was changed: what tells that it has to be looked at again.
type Look = (u64, Option<SystemTime>);

/// Remembers what was looked at and made durable before, so that looking again is cheap.
#[derive(Debug, Default)]
pub(super) struct QuietDirectory {
    seen: HashMap<String, Look>,
    synced: HashMap<String, Look>,
}

impl QuietDirectory {
    /// Whether anything changed since [`QuietDirectory::end`] was asked last.
    pub(super) fn has_changed(&self, dir: &WalDir) -> Result<bool, WalDirError> {
        Ok(looks(dir)? != self.seen)
    }

    /// The end of the directory's WAL, made durable; `None` if it holds none.
    ///
    /// What is valid is found first and synced then: a writer that nobody knows of may be at work, and what it wrote
    /// after the sync must not be taken for durable.
    ///
    /// `hint` is a position that is known to be WAL: the search begins in its segment.
    pub(super) fn end(&mut self, dir: &WalDir, hint: Option<Lsn>) -> Result<Option<EndOfWal>, WalDirError> {
        let seen = looks(dir)?;
        let end = find_end_of_wal(dir, hint)?;
        if let Some(end) = &end {
            self.make_durable(dir, end)?;
        }
        self.seen = seen;
        Ok(end)
    }

    fn make_durable(&mut self, dir: &WalDir, end: &EndOfWal) -> Result<(), WalDirError> {
        for (name, look) in looks(dir)? {
            if self.synced.get(&name) == Some(&look) || !is_served(&name, end.segment_size) {
                continue;
            }
            let path = dir.path().join(&name);
            let failed = |source| WalDirError::Io { path: path.clone(), source };
            match dir.disk().open(&path, OpenMode::Read) {
                Ok(file) => file.sync_all().map_err(failed)?,
                // Renamed when it was complete: it is there under its other name.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            }
            self.synced.insert(name, look);
        }
        dir.disk()
            .sync_dir(dir.path())
            .map_err(|source| WalDirError::Io { path: dir.path().to_owned(), source })
    }
}

fn is_served(name: &str, size: SegmentSize) -> bool {
    let listing = Listing::new([(name, 0)], size);
    !listing.segments.is_empty() || !listing.histories.is_empty()
}

/// Every file that can be part of the WAL, and how it looks.
fn looks(dir: &WalDir) -> Result<HashMap<String, Look>, WalDirError> {
    let failed = |source| WalDirError::Io { path: dir.path().to_owned(), source };
    let mut looks = HashMap::new();
    for entry in dir.disk().read_dir(dir.path()).map_err(failed)? {
        let is_wal = entry.name.starts_with(|c: char| c.is_ascii_hexdigit());
        if is_wal && !entry.is_dir {
            let changed = fs::metadata(dir.path().join(&entry.name)).and_then(|file| file.modified()).ok();
            looks.insert(entry.name, (entry.len, changed));
        }
    }
    Ok(looks)
}
