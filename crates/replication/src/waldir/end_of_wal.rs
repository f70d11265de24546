//! Where a directory's WAL ends: after the last valid record of its newest timeline.

use std::collections::BTreeMap;

use wal::{
    Expectations, Lsn, SegmentNo, SegmentSize, Stop, SystemId, TimelineHistory, TimelineId, Validator,
    WalError, WalVersion, Walk,
};

use super::segment::OpenSegment;
use super::{SegmentFile, WalDir, WalDirError};

/// The end of a directory's WAL, and what was learnt on the way there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndOfWal {
    /// The timeline that goes on at `lsn`: the newest one, unless of that nothing but its history is there and its
    /// parent's WAL does not reach the switch point.
    pub timeline: TimelineId,
    /// The ancestry of the newest timeline: a history file makes one, as for PostgreSQL's recovery (`findNewestTimeLine`), whether
    /// or not there is WAL of it. Where it left its parent WAL ends, whatever that has further on.
    pub history: TimelineHistory,
    /// Of the newest timeline nothing is here but its history.
    pub only_history: bool,
    /// The end of the last valid record; the start of the first segment looked at if there is none.
    pub lsn: Lsn,
    /// Where the last valid record starts; `None` if no complete record is there.
    pub last_record: Option<Lsn>,
    /// The PostgreSQL version whose WAL it is, if any page told.
    pub version: Option<WalVersion>,
    /// The cluster whose WAL it is, if any page told.
    pub system_id: Option<SystemId>,
    /// The cluster's segment size.
    pub segment_size: SegmentSize,
    /// What stands where the next record would be: most often the zeros or the stale record of an unfinished segment.
    /// `None` if the files simply end.
    pub stopped_by: Option<WalError>,
}

/// Finds the end of the WAL in a directory; `None` if it holds no segments.
///
/// With a `hint`, a position at or before which records are known to begin (a checkpoint's redo position, the last
/// acknowledged record), every record from the start of its segment on is validated, and the first that is not valid
/// is the end, as for PostgreSQL. Beside a server's control file its redo position is the hint if none is given.
///
/// Without one, or if the hint's segment is not there, the highest segment in which a record begins decides: files
/// that hold stale or no WAL, as recycled and preallocated ones do, are passed over, and so are those that only
/// continue a record.
///
/// Memory is bounded by a chunk, or by a segment if segments are compressed.
pub fn find_end_of_wal(dir: &WalDir, hint: Option<Lsn>) -> Result<Option<EndOfWal>, WalDirError> {
    let Some(size) = dir.segment_size()? else { return Ok(None) };
    let listing = dir.list(size)?;
    let Some(newest) = listing.newest_timeline() else { return Ok(None) };
    let history = dir.history(newest)?;
    let segments = segments_of(&history, &listing.segments, size);
    let Some((&highest, _)) = segments.last_key_value() else { return Ok(None) };
    let hint = match hint {
        Some(hint) => Some(hint),
        None => dir.control_file()?.map(|control| control.redo),
    };
    let only_history = !listing.segments.iter().any(|file| file.timeline == newest);
    let scan = Scan { dir, size, history, only_history, segments };
    if let Some(first) =
        hint.map(|hint| size.segment_of(hint)).filter(|first| scan.segments.contains_key(first))
    {
        let end = scan.forward(first)?;
        if end.last_record.is_some() {
            return Ok(Some(end));
        }
    }
    for (&first, file) in scan.segments.iter().rev() {
        if scan.may_begin_record(first, file)? {
            let end = scan.forward(first)?;
            if end.last_record.is_some() {
                return Ok(Some(end));
            }
        }
    }
    // No record anywhere: all that can be said is where WAL could begin.
    let connected = |segment: &SegmentNo| {
        segment
            .as_u64()
            .checked_sub(1)
            .map(SegmentNo::new)
            .filter(|before| scan.segments.contains_key(before))
    };
    let lowest = std::iter::successors(Some(highest), connected).last().unwrap_or(highest);
    scan.forward(lowest).map(Some)
}

/// For each segment number the file that has it on the way to the newest timeline: the newest timeline's own, or that
/// of the nearest ancestor, but none of before a timeline began or after it was left (`XLogFileReadAnyTLI`).
fn segments_of<'a>(
    history: &TimelineHistory,
    files: &'a [SegmentFile],
    size: SegmentSize,
) -> BTreeMap<SegmentNo, &'a SegmentFile> {
    let mut segments: BTreeMap<SegmentNo, &SegmentFile> = BTreeMap::new();
    let mut begin = Lsn::INVALID;
    let timelines = history.entries().iter().map(|entry| (entry.timeline, entry.switch_point));
    for (timeline, end) in timelines.chain([(history.timeline(), Lsn::MAX)]) {
        let own = size.segment_of(begin)..=size.segment_ending_at(end);
        // Complete files come before partial ones, and are the ones kept.
        for file in files.iter().rev().filter(|file| file.timeline == timeline && own.contains(&file.segment))
        {
            segments.insert(file.segment, file);
        }
        begin = end;
    }
    segments
}

struct Scan<'a> {
    dir: &'a WalDir,
    size: SegmentSize,
    history: TimelineHistory,
    only_history: bool,
    segments: BTreeMap<SegmentNo, &'a SegmentFile>,
}

impl Scan<'_> {
    /// Whether a record can begin in a segment, by its first page alone: not if that is stale or empty, and not if
    /// the record continued there fills the segment.
    fn may_begin_record(&self, segment: SegmentNo, file: &SegmentFile) -> Result<bool, WalDirError> {
        let Some(header) = self.dir.first_page(file)? else { return Ok(false) };
        let here = header.page_addr == self.size.start_of(segment);
        Ok(here && header.rem_len < self.size.bytes())
    }

    /// Validates from the start of `first` on, over all segments that follow without a gap.
    fn forward(&self, first: SegmentNo) -> Result<EndOfWal, WalDirError> {
        let expectations = Expectations::new(self.size, self.history.clone());
        let mut walk = Walk::new(Validator::new(self.size.start_of(first), expectations));
        let mut stopped_by = None;
        let mut next = first;
        while let Some(file) = self.segments.get(&next) {
            match self.walk_segment(&mut walk, file) {
                Ok(true) => next = next.next(),
                Ok(false) | Err(Stop::Ended) => break,
                Err(Stop::Invalid(error)) => {
                    stopped_by = Some(error);
                    break;
                }
                Err(Stop::Unreadable(error)) => return Err(error),
            }
        }
        let validator = walk.validator();
        let lsn = validator.record_end();
        Ok(EndOfWal {
            timeline: self.history.timeline_at(lsn),
            history: self.history.clone(),
            only_history: self.only_history,
            lsn,
            last_record: validator.last_record(),
            version: validator.version(),
            system_id: validator.system_id(),
            segment_size: self.size,
            stopped_by,
        })
    }

    /// Walks to the segment's end, or to where its timeline was left; whether that is the segment's end.
    fn walk_segment(&self, walk: &mut Walk, file: &SegmentFile) -> Result<bool, Stop<WalDirError>> {
        let open = OpenSegment::open(self.dir, file.timeline, file.segment, self.size);
        let Some(open) = open.map_err(Stop::Unreadable)? else { return Ok(false) };
        let segment_end = self.size.end_of(file.segment);
        // Where this timeline was left its file may go on, with records that are no part of this history.
        let end = self.history.switch_point_of(file.timeline).unwrap_or(Lsn::MAX).min(segment_end);
        let mut source = |at: Lsn, buffer: &mut [u8]| open.read_at(buffer, self.size.offset_of(at));
        walk.advance(&mut source, end)?;
        Ok(end == segment_end)
    }
}
