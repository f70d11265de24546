//! Whether the segment that was finished before is still there when the next one is.
//!
//! Nobody opens a finished segment again until somebody restores, and by then it is too late to ask the server for it. So its
//! name is looked for once, when its successor gets its own. Where finished segments are moved elsewhere on purpose each
//! would be missed: that is told once, until one stays again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::Disk;
use replication::waldir::Compression;
use runtime::sync::Mutex;

/// The segment finished last, of one stream.
pub(crate) struct Predecessor {
    disk: Arc<dyn Disk>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    segment: Option<PathBuf>,
    /// One was missed, and none has stayed since.
    told: bool,
}

impl Predecessor {
    /// None is finished yet.
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, last: Mutex::new(Last::default()) }
    }

    /// `segment` is finished: the one before, if that is gone under all of its names and this is to be told.
    pub(crate) fn missed(&self, segment: &Path) -> Option<PathBuf> {
        let mut last = self.last.lock();
        let before = last.segment.replace(segment.to_owned())?;
        let missed = !self.is_there(&before);
        let was_told = std::mem::replace(&mut last.told, missed);
        (missed && !was_told).then_some(before)
    }

    /// Whether the segment is there, compressed or not: it is renamed to another of these names before it loses one. What cannot
    /// be looked for is not missed.
    fn is_there(&self, segment: &Path) -> bool {
        Compression::ALL.into_iter().any(|compression| {
            let mut name = OsString::from(segment);
            name.push(compression.suffix());
            self.disk.exists(Path::new(&name)).unwrap_or(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use disk::{OpenMode, SimDisk};

    use super::*;

    #[test]
    fn a_segment_is_missed_once_and_again_after_one_has_stayed() {
        let disk = SimDisk::new();
        let make = |name: &str| drop(disk.open(Path::new(name), OpenMode::CreateNew).unwrap());
        let remove = |name: &str| disk.remove_file(Path::new(name)).unwrap();
        let predecessor = Predecessor::new(Arc::new(disk.clone()));
        let missed = |name: &str| predecessor.missed(Path::new(name)).map(|path| path.display().to_string());
        make("1");
        assert_eq!(missed("1"), None);
        assert_eq!(missed("2"), None);
        // 2 never was there.
        assert_eq!(missed("3").as_deref(), Some("2"));
        assert_eq!(missed("4"), None, "moved away, one after the other");
        make("4.gz");
        assert_eq!(missed("5"), None, "compressed");
        make("5");
        assert_eq!(missed("6"), None);
        make("6");
        remove("6");
        assert_eq!(missed("7").as_deref(), Some("6"));
    }
}
