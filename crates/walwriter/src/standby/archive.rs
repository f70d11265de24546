//! Files from the archive, put into `pg_wal`.

use std::fs;
use std::io;
use std::path::Path;

use disk::{Disk, OsDisk, durable_rename, durable_write};
use replication::waldir::WalDir;
use wal::{Lsn, SegmentNo, TimelineHistory, TimelineId};

use super::restore::{RestoreCommand, Restored, Running, temporary};
use super::{StandbyError, extent::Cluster, failed};

/// What a segment is called while it comes, as with PostgreSQL.
const SEGMENT: &str = "RECOVERYXLOG";
/// What a history file is called meanwhile.
const HISTORY: &str = "RECOVERYHISTORY";

/// The archive of a standby.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    pub(super) command: &'a RestoreCommand,
    pub(super) data_directory: &'a Path,
    pub(super) dir: &'a WalDir,
    pub(super) cluster: &'a Cluster,
    pub(super) running: &'a Running,
}

impl Archive<'_> {
    /// Fetches `segment` along `history`, of the newest timeline that may have it. What is in `pg_wal` before `kept` stays
    /// as it is: a file that differs there is not taken. Whether one was.
    pub(super) fn segment(
        &self,
        history: &TimelineHistory,
        segment: SegmentNo,
        kept: Lsn,
    ) -> Result<bool, StandbyError> {
        let size = self.cluster.segment_size;
        let begins = |timeline| {
            let parents = history.entries().iter();
            let begin = parents.take_while(|entry| entry.timeline < timeline).last();
            begin.map_or(Lsn::INVALID, |parent| parent.switch_point)
        };
        let ancestors = history.entries().iter().rev().map(|entry| entry.timeline);
        for timeline in [history.timeline()].into_iter().chain(ancestors) {
            if begins(timeline) >= size.end_of(segment) {
                continue;
            }
            let name = segment.file_name(timeline, size);
            if self.fetch(&name, SEGMENT)? && self.take_segment(&name, segment, kept)? {
                tracing::info!("restored log file \"{name}\" from archive");
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Fetches the history of the timeline after `newest`. Whether there is one.
    pub(super) fn next_history(&self, newest: TimelineId) -> Result<bool, StandbyError> {
        let timeline = TimelineId::new(newest.as_u32().saturating_add(1));
        let name = timeline.history_file_name();
        if !self.fetch(&name, HISTORY)? {
            return Ok(false);
        }
        let path = self.dir.path().join(HISTORY);
        let content = fs::read(&path).map_err(failed("read", &path))?;
        if let Err(error) = TimelineHistory::parse(timeline, &content) {
            tracing::error!("history file \"{name}\" from the archive is of no use: {error}");
            return Ok(false);
        }
        let target = self.dir.path().join(&name);
        durable_write(&OsDisk::new(), &target, &content).map_err(failed("write", &target))?;
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        tracing::info!("restored log file \"{name}\" from archive");
        Ok(true)
    }

    /// What the archive has of the history of `timeline`; `None` if it has none.
    pub(super) fn history(&self, timeline: TimelineId) -> Result<Option<Vec<u8>>, StandbyError> {
        if !self.fetch(&timeline.history_file_name(), HISTORY)? {
            return Ok(None);
        }
        let path = self.dir.path().join(HISTORY);
        let content = fs::read(&path).map_err(failed("read", &path))?;
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        Ok(Some(content))
    }

    fn fetch(&self, name: &str, as_file: &str) -> Result<bool, StandbyError> {
        let path = self.dir.path().join(as_file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &path)(error));
            }
            _ => {}
        }
        let restartpoint = self.dir.control_file()?;
        let last = restartpoint.map_or_else(String::new, |control| {
            let size = self.cluster.segment_size;
            size.segment_of(control.redo).file_name(control.timeline, size)
        });
        let restored =
            self.command.restore(self.data_directory, name, &temporary(as_file), &last, self.running);
        if !matches!(restored, Ok(Restored::Here)) {
            // Whatever it has brought takes space, and is of no use. What cannot be removed is in the way next time, and said.
            let _ = fs::remove_file(&path);
        }
        match restored? {
            // A command that says yes and brings nothing means no.
            Restored::Here => is_there(&path),
            Restored::Absent => Ok(false),
            Restored::Stopped => Err(StandbyError::Stopped),
        }
    }

    /// Gives a fetched segment its name, durably, if it is one and keeps what must be kept.
    fn take_segment(&self, name: &str, segment: SegmentNo, kept: Lsn) -> Result<bool, StandbyError> {
        let (from, to) = (self.dir.path().join(SEGMENT), self.dir.path().join(name));
        let size = self.cluster.segment_size;
        let length = fs::metadata(&from).map_err(failed("look at", &from))?.len();
        if length != u64::from(size.bytes()) {
            tracing::error!("archive file \"{name}\" has wrong size: {length} instead of {}", size.bytes());
            return Ok(false);
        }
        let kept = kept.bytes_since(size.start_of(segment)).min(length) as usize;
        if is_there(&to)? {
            let new = fs::read(&from).map_err(failed("read", &from))?;
            let old = fs::read(&to).map_err(failed("read", &to))?;
            if new == old || new.get(..kept) != old.get(..kept) {
                tracing::debug!("archive file \"{name}\" does not go on where the one in pg_wal ends");
                return Ok(false);
            }
        }
        let file = fs::File::open(&from).map_err(failed("open", &from))?;
        file.sync_all().map_err(failed("fsync", &from))?;
        durable_rename(&OsDisk::new() as &dyn Disk, &from, &to).map_err(failed("rename", &from))?;
        Ok(true)
    }
}

/// Whether there is a file of this name. What cannot be told must not be taken for no: it would be written over.
fn is_there(path: &Path) -> Result<bool, StandbyError> {
    path.try_exists().map_err(failed("look for", path))
}
