//! The `pg_wal` of a running PostgreSQL server, which tells nobody what it has flushed.
//!
//! Two things are certain. A server begins to write a segment only after it has synced the one before it
//! (`XLogWrite`, and `XLogWalRcvWrite` on a standby), so a segment is durable when the next one holds a page of its
//! own. And `pg_control` names a checkpoint only after its record is durable.

use std::path::Path;
use std::{fs, io};

use replication::waldir::{ControlFile, SegmentReader, WalDir, WalDirError};
use wal::page::{LONG_HEADER, PageHeader};
use wal::{Expectations, Lsn, SegmentNo, Stop, TimelineHistory, TimelineId, Validator, Walk};

/// What is certainly durable in a running server's directory.
pub(super) struct CertainlyDurable {
    pub(super) history: TimelineHistory,
    pub(super) flush: Lsn,
}

/// Whether this is a server's `pg_wal` and the server runs: its `postmaster.pid` names a living process.
///
/// # Errors
/// It cannot be told. To take that for no would be to serve what a running server has not flushed.
pub(super) fn is_running(dir: &Path) -> Result<bool, WalDirError> {
    // An archive may lie in a data directory too.
    let (pg_wal, pid_file) = (dir.join("../pg_wal"), dir.join("../postmaster.pid"));
    let pg_wal = unless_missing(&pg_wal, fs::canonicalize(&pg_wal))?;
    if pg_wal.is_none() || unless_missing(dir, fs::canonicalize(dir))? != pg_wal {
        return Ok(false);
    }
    let text = unless_missing(&pid_file, fs::read_to_string(&pid_file))?;
    let first = text.as_deref().and_then(|text| text.lines().next());
    let pid = first.and_then(|line| line.trim().trim_start_matches('-').parse::<i32>().ok());
    let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else { return Ok(false) };
    Ok(match rustix::process::test_kill_process(pid) {
        Ok(()) => true,
        Err(error) => io::Error::from(error).kind() == io::ErrorKind::PermissionDenied,
    })
}

fn unless_missing<T>(path: &Path, found: io::Result<T>) -> Result<Option<T>, WalDirError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(WalDirError::Io { path: path.to_owned(), source }),
    }
}

/// Looks for the end of what is certainly durable, from the latest checkpoint on.
pub(super) fn look(dir: &WalDir, control: &ControlFile) -> Result<CertainlyDurable, WalDirError> {
    let size = control.segment_size;
    let newest = dir.list(size)?.histories.last().copied().unwrap_or(TimelineId::FIRST);
    let history = dir.history(newest.max(control.timeline))?;
    let mut reader = SegmentReader::new(dir.clone(), size, history.clone());
    let timeline = history.timeline();
    // A promotion syncs the copy of the segment it happens in before it writes the history file.
    let mut flush = history.entries().last().map_or(Lsn::INVALID, |entry| entry.switch_point);
    let mut next = size.segment_of(flush).next();
    if control.timeline == timeline {
        flush = flush.max(checkpoint_end(&mut reader, control)?);
        next = size.segment_of(flush).next();
    }
    while begins(&mut reader, timeline, next, size.start_of(next), control)? {
        flush = flush.max(size.start_of(next));
        next = next.next();
    }
    Ok(CertainlyDurable { history, flush })
}

/// Whether the file of `segment` holds a first page of its own, and not what it held before it was recycled.
fn begins(
    reader: &mut SegmentReader,
    timeline: TimelineId,
    segment: SegmentNo,
    start: Lsn,
    control: &ControlFile,
) -> Result<bool, WalDirError> {
    assert_eq!(control.segment_size.segment_of(start), segment);
    let mut head = [0; LONG_HEADER];
    match reader.read_exact_at(timeline, start, &mut head) {
        Ok(()) => {}
        Err(WalDirError::MissingSegment { .. } | WalDirError::ShortSegment { .. }) => return Ok(false),
        Err(error) => return Err(error),
    }
    let header = PageHeader::decode(&head).ok();
    Ok(header.is_some_and(|header| {
        header.page_addr == start && header.long.is_some_and(|long| long.system_id == control.system_id)
    }))
}

/// The end of the latest checkpoint's record; its beginning should the record not be readable.
fn checkpoint_end(reader: &mut SegmentReader, control: &ControlFile) -> Result<Lsn, WalDirError> {
    let size = control.segment_size;
    let expectations = Expectations {
        system_id: Some(control.system_id),
        ..Expectations::new(size, reader.history().clone())
    };
    let mut walk = Walk::new(Validator::new(size.floor(control.checkpoint), expectations));
    let mut source = |at: Lsn, buffer: &mut [u8]| reader.read_at(control.timeline, at, buffer);
    // In bulk up to the record, and then in small steps, so as to stop at its end.
    let mut limit = control.checkpoint;
    loop {
        match walk.advance(&mut source, limit) {
            Ok(()) => {}
            Err(Stop::Unreadable(WalDirError::MissingSegment { .. } | WalDirError::ShortSegment { .. })) => {
                return Ok(control.checkpoint);
            }
            Err(Stop::Ended | Stop::Invalid(_)) => return Ok(control.checkpoint),
            Err(Stop::Unreadable(error)) => return Err(error),
        }
        if walk.validator().last_record().is_some_and(|last| last >= control.checkpoint) {
            return Ok(walk.validator().record_end());
        }
        limit = limit.saturating_add(8);
    }
}
