//! Where a directory ends, and how much of its unfinished segment is proven.

use disk::OpenMode;
use replication::waldir::{SegmentReader, StreamingStart, WalDir, WalDirError};
use wal::{Expectations, Lsn, SegmentSize, Stop, SystemId, TimelineHistory, TimelineId, Validator, Walk};

use super::{ArchiveError, Naming, SegmentFiles};

/// How to go on with a directory.
#[derive(Debug)]
pub(crate) struct ResumePoint {
    /// What to ask the server for.
    pub(crate) start: StreamingStart,
    /// Everything in the directory before is valid and durable: at or after `start`, inside the unfinished segment.
    pub(crate) proven: Lsn,
    /// Ready to be fed what the server sends from `start` on; knows the segment before, if that is here.
    pub(crate) validator: Validator,
}

/// Why a directory cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    #[error(transparent)]
    Dir(#[from] WalDirError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(
        "directory \"{}\" holds WAL of the system {found}, but the server is system {expected}; \
         use another directory for it", dir.display()
    )]
    OtherSystem { dir: std::path::PathBuf, found: SystemId, expected: SystemId },
    #[error(
        "directory \"{}\" holds WAL in segments of {found}, but the server's segments have {expected}; \
         use another directory for it", dir.display()
    )]
    OtherSegmentSize { dir: std::path::PathBuf, found: SegmentSize, expected: SegmentSize },
}

/// Refuses a directory whose WAL is in segments of another size; names alone would mislead.
pub(crate) fn check_segment_size(dir: &WalDir, expected: SegmentSize) -> Result<(), ResumeError> {
    match dir.segment_size()? {
        Some(found) if found != expected => {
            Err(ResumeError::OtherSegmentSize { dir: dir.path().to_owned(), found, expected })
        }
        _ => Ok(()),
    }
}

/// Goes back over unfinished segments that follow each other: a kill between writing a segment's last byte and giving it
/// its final name leaves it unfinished beside the next one, and it has to be taken up again first.
pub(crate) fn earliest_unfinished(
    dir: &WalDir,
    mut start: StreamingStart,
    size: SegmentSize,
) -> Result<StreamingStart, WalDirError> {
    let listing = dir.list(size)?;
    let here = |at: Lsn, partial| {
        let key = (start.timeline, size.segment_of(at), partial);
        listing.segments.iter().any(|file| (file.timeline, file.segment, file.partial) == key)
    };
    let mut lsn = start.lsn;
    while lsn.as_u64() >= u64::from(size.bytes()) {
        let before = Lsn::new(lsn.as_u64() - u64::from(size.bytes()));
        if !here(lsn, true) || !here(before, true) || here(before, false) {
            break;
        }
        lsn = before;
    }
    start.lsn = lsn;
    Ok(start)
}

/// Validates the end of `dir` from the segment before `start` on, and makes it durable up to where it is valid.
pub(crate) fn prove(
    dir: &WalDir,
    start: StreamingStart,
    history: &TimelineHistory,
    system_id: SystemId,
    size: SegmentSize,
    sync: bool,
    naming: Naming,
) -> Result<ResumePoint, ResumeError> {
    let expect = Expectations { system_id: Some(system_id), ..Expectations::new(size, history.clone()) };
    let mut reader = SegmentReader::new(dir.clone(), size, history.clone());
    let fresh = Validator::new(start.lsn, expect.clone());
    let before = Lsn::new(start.lsn.as_u64().saturating_sub(u64::from(size.bytes())));
    let previous = Validator::new(before, expect);
    let validator = match validate_segment(&mut reader, previous, |at| history.timeline_at(at)) {
        Ok(validator) if validator.position() == start.lsn => validator,
        Ok(_) => fresh,
        Err(Stopped::Dir(WalDirError::MissingSegment { .. })) => fresh,
        Err(Stopped::Dir(error)) => return Err(error.into()),
        Err(Stopped::Invalid(validator, error)) => {
            check_system(dir, &error, system_id)?;
            tracing::warn!(directory = %dir.path().display(), "segment before the end of the archive is damaged: {error}");
            drop(validator);
            fresh
        }
    };
    // The unfinished segment's own file, even where an ancestor has the same bytes: that one will be compared with.
    let files = SegmentFiles {
        disk: std::sync::Arc::clone(dir.disk()),
        dir: dir.path().to_owned(),
        timeline: start.timeline,
        size,
        naming,
    };
    files.remove_temporaries()?;
    let partial = files.partial_path(size.segment_of(start.lsn));
    // Not to be guessed: of a file that is there what is durable, and may have been acknowledged, is never written again.
    let is_there = dir.disk().exists(&partial).map_err(ArchiveError::on("look for", &partial))?;
    let proven = if is_there {
        match validate_segment(&mut reader, validator.clone(), |_| start.timeline) {
            Ok(validator) => validator.record_end(),
            Err(Stopped::Dir(WalDirError::MissingSegment { .. })) => start.lsn,
            Err(Stopped::Dir(error)) => return Err(error.into()),
            Err(Stopped::Invalid(stopped, error)) => {
                check_system(dir, &error, system_id)?;
                stopped.record_end()
            }
        }
    } else {
        start.lsn
    };
    let proven = proven.max(start.lsn);
    if sync {
        make_durable(&files, start)?;
    }
    Ok(ResumePoint { start, proven, validator })
}

fn check_system(dir: &WalDir, error: &wal::WalError, expected: SystemId) -> Result<(), ResumeError> {
    match error.reason {
        wal::WalErrorKind::SystemId { found, .. } => {
            Err(ResumeError::OtherSystem { dir: dir.path().to_owned(), found, expected })
        }
        _ => Ok(()),
    }
}

enum Stopped {
    Dir(WalDirError),
    Invalid(Box<Validator>, wal::WalError),
}

impl From<WalDirError> for Stopped {
    fn from(error: WalDirError) -> Self {
        Self::Dir(error)
    }
}

/// Feeds the validator the segment it stands at the start of, as far as its file goes: one that is shorter than its segment,
/// or empty, is what a full disk left of one that was being made.
fn validate_segment(
    reader: &mut SegmentReader,
    validator: Validator,
    timeline_at: impl Fn(Lsn) -> TimelineId,
) -> Result<Validator, Stopped> {
    let end = validator.segment_size().end_of(validator.segment_size().segment_of(validator.position()));
    let mut walk = Walk::new(validator);
    let mut source = |at: Lsn, buffer: &mut [u8]| match reader.read_at(timeline_at(at), at, buffer) {
        Err(WalDirError::ShortSegment { .. }) => Ok(0),
        other => other,
    };
    match walk.advance(&mut source, end) {
        Ok(()) | Err(Stop::Ended) => Ok(walk.into_validator()),
        Err(Stop::Invalid(error)) => Err(Stopped::Invalid(Box::new(walk.into_validator()), error)),
        Err(Stop::Unreadable(error)) => Err(error.into()),
    }
}

/// Syncs the last finished and the unfinished segment and the directory: their writer may have been killed, or told
/// not to sync, in between.
fn make_durable(files: &SegmentFiles, start: StreamingStart) -> Result<(), ArchiveError> {
    let segment = files.size.segment_of(start.lsn);
    let last = wal::SegmentNo::new(segment.as_u64().saturating_sub(1));
    for path in [files.finished_path(last), files.partial_path(segment)] {
        match files.disk.open(&path, OpenMode::ReadWrite) {
            Ok(file) => file.sync_data().map_err(ArchiveError::on("fsync", &path))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(ArchiveError::on("open", &path)(error)),
        }
    }
    files.sync_dir()
}
