//! How far WAL is valid that came into `pg_wal` by other ways than the receiver's, and making it durable.

use disk::OpenMode;
use replication::waldir::{SegmentReader, WalDir, WalDirError};
use wal::{Expectations, Lsn, SegmentNo, SegmentSize, Stop, SystemId, TimelineHistory, Validator, Walk};

/// What a cluster's WAL looks like.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub(super) system_id: SystemId,
    pub(super) segment_size: SegmentSize,
}

/// How far the files in `pg_wal` go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The end of the last valid record; not before where the search began.
    pub(super) end: Lsn,
    /// The segment whose file is missing, or is not valid further on, begins here.
    pub(super) wanted: Lsn,
}

/// How far the files go along `history` from `from` on, the end of a record: looks at its segment and the next. They are
/// durable then.
pub(super) fn extent(
    dir: &WalDir,
    cluster: &Cluster,
    history: &TimelineHistory,
    from: Lsn,
) -> Result<Extent, WalDirError> {
    let size = cluster.segment_size;
    let expect =
        Expectations { system_id: Some(cluster.system_id), ..Expectations::new(size, history.clone()) };
    let segment = size.segment_of(from);
    let limit = size.end_of(segment.next());
    // What began in the segment before has its first part there.
    let before = size.start_of(SegmentNo::new(segment.as_u64().saturating_sub(1)));
    let mut found = validate(dir, &expect, history, before, limit)?;
    if found.end < from {
        found = validate(dir, &expect, history, size.start_of(segment), limit)?;
    }
    if found.end > from {
        for segment in [segment, segment.next()] {
            let timelines = [size.start_of(segment), size.end_of(segment), found.end];
            for timeline in timelines.map(|at| history.timeline_at(at)) {
                make_durable(dir, &segment.file_name(timeline, size))?;
            }
        }
    }
    Ok(Extent { end: found.end.max(from), wanted: found.wanted.max(size.floor(from)) })
}

/// How far WAL is valid from `start` on, a segment's start, up to `limit`.
fn validate(
    dir: &WalDir,
    expect: &Expectations,
    history: &TimelineHistory,
    start: Lsn,
    limit: Lsn,
) -> Result<Extent, WalDirError> {
    let mut reader = SegmentReader::new(dir.clone(), expect.segment_size, history.clone());
    let mut walk = Walk::new(Validator::new(start, expect.clone()));
    // What was read before the piece in which it stops being valid.
    let mut good = start;
    let mut source = |at: Lsn, buffer: &mut [u8]| {
        good = at;
        reader.read_at(history.timeline_at(at), at, buffer)
    };
    match walk.advance(&mut source, limit) {
        Ok(()) => good = limit,
        Err(Stop::Unreadable(WalDirError::MissingSegment { .. } | WalDirError::ShortSegment { .. })) => {}
        Err(Stop::Ended | Stop::Invalid(_)) => {}
        Err(Stop::Unreadable(error)) => return Err(error),
    }
    Ok(Extent { end: walk.validator().record_end(), wanted: expect.segment_size.floor(good) })
}

/// Syncs a segment's file, if it is there.
fn make_durable(dir: &WalDir, name: &str) -> Result<(), WalDirError> {
    let path = dir.path().join(name);
    match dir.disk().open(&path, OpenMode::Read) {
        Ok(file) => file.sync_all().map_err(|source| WalDirError::Io { path, source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(WalDirError::Io { path, source }),
    }
}
