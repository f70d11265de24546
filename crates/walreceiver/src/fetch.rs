//! One file out of an archive, for a server's `restore_command`.
//!
//! A server takes "no such file" for the end of the archive: it ends recovery there, or turns to streaming. So only
//! a file that really is not there may look like that ([`Fetched::Absent`]); everything else is an error, which has to
//! stop the server ([`FATAL_EXIT_CODE`]), lest it silently leave out what the archive holds but could not give.
//!
//! What is handed out has been validated, together with the segment before it, so that a record that goes on from
//! there is checked too. Of an unfinished segment the valid part is handed out, up to what its receiver calls
//! durable, and zeros after it.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use disk::{Disk, OpenMode};
use replication::waldir::{SegmentReader, StatusReader, WalDir, WalDirError};
use wal::{Expectations, Lsn, SegmentNo, SegmentSize, TimelineId, Validator, WalError, WalFileName};

/// What `walreceiver fetch` exits with for every error: above 125 a server stops recovery instead of taking the file
/// for absent (`RestoreArchivedFile` in `xlogarchive.c`), and none of the codes that stand for a signal.
pub const FATAL_EXIT_CODE: u8 = 200;

const CHUNK: usize = 1 << 20;

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fetched {
    /// The target holds the file, durably.
    Copied,
    /// The archive has no such file, finished or not.
    Absent,
}

/// Why a file that is there could not be handed out.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The archive could not be read.
    #[error(transparent)]
    Directory(#[from] WalDirError),
    /// The segment is damaged.
    #[error("segment \"{}\" is damaged: {error}", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// What is wrong with it.
        error: WalError,
    },
    /// A finished segment is shorter than a segment.
    #[error("segment \"{}\" ends at {end}, before the segment does", path.display())]
    Short {
        /// The segment.
        path: PathBuf,
        /// Where it ends.
        end: Lsn,
    },
    /// The target could not be written.
    #[error("could not write file \"{}\": {source}", path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Copies `file` (a segment's or history file's name, as `%f` gives it) from `dir` to `target`.
pub fn fetch(dir: &WalDir, file: &str, target: &Path) -> Result<Fetched, FetchError> {
    if !dir.disk().metadata(dir.path()).is_ok_and(|found| found.is_dir) {
        // A directory that is gone (not mounted?) must not pass for one that lacks a file.
        let path = dir.path().to_owned();
        return Err(WalDirError::Io { path, source: io::ErrorKind::NotFound.into() }.into());
    }
    let size = dir.segment_size()?.unwrap_or(SegmentSize::DEFAULT);
    let content = match WalFileName::parse(file, size) {
        Some(WalFileName::History(timeline)) => dir.history_bytes(timeline)?,
        Some(WalFileName::Segment(timeline, segment)) => segment_content(dir, timeline, segment, size)?,
        Some(WalFileName::Partial(..)) | None => None,
    };
    let Some(content) = content else { return Ok(Fetched::Absent) };
    write_target(&**dir.disk(), target, &content)
        .map_err(|source| FetchError::Target { path: target.to_owned(), source })?;
    Ok(Fetched::Copied)
}

fn segment_content(
    dir: &WalDir,
    timeline: TimelineId,
    segment: SegmentNo,
    size: SegmentSize,
) -> Result<Option<Vec<u8>>, FetchError> {
    let listing = dir.list(size)?;
    let Some(file) = listing.segments.iter().find(|f| (f.timeline, f.segment) == (timeline, segment)) else {
        return Ok(None);
    };
    let history = dir.history(timeline)?;
    let mut reader = SegmentReader::new(dir.clone(), size, history.clone());
    let start = size.start_of(segment);
    let mut content = read_segment(&mut reader, timeline, start, size)?;
    let path = dir.path().join(&file.name);
    // In a server's own pg_wal the segment being written has a finished one's name, and stale bytes after its end.
    let is_last = listing.segments.iter().all(|other| other.segment <= segment);
    let unfinished = file.partial || (is_last && dir.control_file()?.is_some());
    if !unfinished && content.len() < size.bytes() as usize {
        let end = start.saturating_add(content.len() as u64);
        return Err(FetchError::Short { path, end });
    }
    let expect = Expectations::new(size, history.clone());
    let mut validator = Validator::new(start, expect.clone());
    if let Some(before) = segment.as_u64().checked_sub(1).map(SegmentNo::new) {
        let before = size.start_of(before);
        let mut with_previous = Validator::new(before, expect);
        // Missing or damaged itself: then this segment is judged by itself.
        if let Ok(previous) = read_segment(&mut reader, history.timeline_at(before), before, size)
            && with_previous.feed(&previous).is_ok()
            && with_previous.position() == start
        {
            validator = with_previous;
        }
    }
    match validator.feed(&content) {
        Err(error) if !unfinished => return Err(FetchError::Damaged { path, error }),
        _ => {}
    }
    if unfinished {
        let valid = validator.record_end().min(durable_end(dir, timeline)?);
        content.truncate(valid.bytes_since(start) as usize);
        if content.is_empty() {
            return Ok(None);
        }
    }
    content.resize(size.bytes() as usize, 0);
    Ok(Some(content))
}

/// Everything that the segment's file has.
fn read_segment(
    reader: &mut SegmentReader,
    timeline: TimelineId,
    start: Lsn,
    size: SegmentSize,
) -> Result<Vec<u8>, WalDirError> {
    let mut content = vec![0; size.bytes() as usize];
    let mut filled = 0;
    while filled < content.len() {
        let room = content.len().min(filled + CHUNK);
        let Some(rest) = content.get_mut(filled..room) else { break };
        match reader.read_at(timeline, start.saturating_add(filled as u64), rest) {
            Ok(0) | Err(WalDirError::ShortSegment { .. }) => break,
            Ok(count) => filled += count,
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content)
}

/// How far the directory's writer, if it lives, calls its timeline's WAL durable.
fn durable_end(dir: &WalDir, timeline: TimelineId) -> Result<Lsn, WalDirError> {
    let status = StatusReader::open(dir)
        .map_err(|source| WalDirError::Io { path: dir.path().to_owned(), source })?
        .map(|reader| reader.read());
    Ok(match status.as_ref().and_then(|status| status.live()) {
        Some(live) if live.timeline == timeline => live.flush,
        _ => Lsn::MAX,
    })
}

/// A temporary file, synced, renamed, and the directory synced: a power cut leaves no half of a segment.
fn write_target(disk: &dyn Disk, target: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = target.as_os_str().to_owned();
    temporary.push(".walreceiver");
    let temporary = PathBuf::from(temporary);
    let write = || {
        let file = disk.open(&temporary, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(content, 0)?;
        file.sync_all()?;
        disk.rename(&temporary, target)?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        disk.sync_dir(parent.unwrap_or(Path::new(".")))
    };
    write().inspect_err(|_| {
        let _ = disk.remove_file(&temporary);
    })
}
