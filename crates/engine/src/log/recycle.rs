//! What becomes of segments that nobody needs any more: new ones, or nothing.
//! Source: `RemoveOldXlogFiles` and `XLOGfileslop` in `access/transam/xlog.c`.

use std::path::{Path, PathBuf};

use wal::{Lsn, SegmentNo, SegmentSize, WalFileName};

use super::Log;
use super::segments::SegmentFiles;
use crate::EngineError;

/// Which WAL is kept, and how many files beyond that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Everything from the segment of this position on is needed: the oldest of the redo point, the slots' positions and
    /// `wal_keep_size`.
    pub keep_from: Lsn,
    /// Segments up to this one are kept as files, recycled from old ones; [`Retention::recycle_through`] estimates it.
    pub recycle_through: SegmentNo,
}

impl Retention {
    /// Up to which segment old files are worth recycling: as far as the log is expected to get before the end of the next
    /// checkpoint, given that checkpoints are about `distance` bytes apart, but within `min_wal_size` and
    /// `max_wal_size` (bytes) from `redo`.
    pub fn recycle_through(
        size: SegmentSize,
        redo: Lsn,
        distance: f64,
        completion_target: f64,
        min_wal_size: u64,
        max_wal_size: u64,
    ) -> SegmentNo {
        let bytes = u64::from(size.bytes());
        let first = redo.as_u64() / bytes;
        let fewest = first + (min_wal_size / bytes).saturating_sub(1);
        let most = first + (max_wal_size / bytes).saturating_sub(1);
        // A tenth more, lest a little more WAL than last time is a shortage.
        let expected = redo.as_u64() as f64 + (1.0 + completion_target) * distance * 1.10;
        let expected = (expected / bytes as f64).ceil() as u64;
        SegmentNo::new(expected.max(fewest).min(most.max(fewest)))
    }
}

/// What became of segment files, for a checkpoint's report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recycled {
    /// Made new since the last report.
    pub added: u64,
    /// Removed.
    pub removed: u64,
    /// Renamed to serve again.
    pub recycled: u64,
}

impl Log {
    /// Renames or removes the segments, of whatever timeline, that lie wholly before what `retention` keeps.
    pub fn recycle(&self, retention: Retention) -> Result<Recycled, EngineError> {
        let files = &self.shared.segments;
        let (keep_from, end) = (retention.keep_from, self.next_record());
        let keep_from = if runtime::fault::is_wanted("keep none of the log") { Lsn::MAX } else { keep_from };
        assert!(
            keep_from <= end,
            "nothing is needed, from {keep_from} on, that is not in the log, which ends at {end}"
        );
        let mut outcome = Recycled { added: files.take_made(), ..Recycled::default() };
        let _making = files.making();
        let mut last = files.ready();
        for path in obsolete(files, files.size().segment_of(retention.keep_from))? {
            if last < retention.recycle_through && is_whole(files, &path) && !files.is_resting() {
                let target = files.path(last.next());
                let renamed = files.disk().rename(&path, &target);
                renamed.map_err(|source| EngineError::file("rename", &path, source))?;
                last = last.next();
                outcome.recycled += 1;
            } else {
                let removed = files.disk().remove_file(&path);
                removed.map_err(|source| EngineError::file("remove", &path, source))?;
                outcome.removed += 1;
            }
        }
        if outcome.recycled + outcome.removed > 0 {
            // Before anybody writes to a file under its new name.
            files.sync_dir()?;
            assert!(files.ready() <= last, "who makes files is alone in that");
            files.set_ready(last);
        }
        Ok(outcome)
    }
}

/// The segment files before `oldest_kept`.
fn obsolete(files: &SegmentFiles, oldest_kept: SegmentNo) -> Result<Vec<PathBuf>, EngineError> {
    let entries = files.disk().read_dir(files.dir());
    let entries = entries.map_err(|source| EngineError::file("read", files.dir(), source))?;
    let is_obsolete = |name: &str| {
        matches!(
            WalFileName::parse(name, files.size()),
            Some(WalFileName::Segment(_, segment)) if segment < oldest_kept
        )
    };
    Ok(entries
        .iter()
        .filter(|entry| !entry.is_dir && is_obsolete(&entry.name))
        .map(|entry| files.dir().join(&entry.name))
        .collect())
}

fn is_whole(files: &SegmentFiles, path: &Path) -> bool {
    files.disk().metadata(path).is_ok_and(|found| found.len == u64::from(files.size().bytes()))
}
