//! Reading the WAL that a backup needs, record by record.
//!
//! The manifest's ranges are one run of WAL, from the oldest timeline's start to the newest one's end, and each range
//! begins where the one before it was left. So they are read as one, which also proves that the timelines fit.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use wal::{Expectations, Lsn, SegmentNo, SegmentSize, Stop, TimelineHistory, TimelineId, Validator, Walk};

use super::{Context, Problem};
use crate::file_error::FileError;
use crate::manifest::WalRange;

/// A page of WAL, in bytes; validating starts at one.
const PAGE: u64 = 8192;

/// The run of WAL that a manifest's ranges make up.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The oldest first; each starts where the one before it ends.
    ranges: Vec<WalRange>,
}

impl Run {
    /// The run of these ranges; `None` if there are none.
    pub(super) fn new(ranges: &[WalRange]) -> Option<Result<Self, Problem>> {
        let mut ranges = ranges.to_vec();
        ranges.sort_by_key(|range| (range.timeline, range.start));
        ranges.first()?;
        let fits = |pair: &[WalRange; 2]| pair[0].end == pair[1].start && pair[0].timeline < pair[1].timeline;
        Some(match ranges.array_windows().find(|pair| !fits(pair)) {
            None => Ok(Self { ranges }),
            Some([_, newer]) => Err(Problem::Wal {
                timeline: newer.timeline.as_u32(),
                error: "the WAL ranges in the manifest do not follow each other".to_owned(),
            }),
        })
    }

    fn start(&self) -> Lsn {
        self.ranges.first().map_or(Lsn::INVALID, |range| range.start)
    }

    fn end(&self) -> Lsn {
        self.ranges.last().map_or(Lsn::INVALID, |range| range.end)
    }

    /// The segments, in order.
    pub(super) fn segments(&self, size: SegmentSize) -> impl Iterator<Item = SegmentNo> + use<> {
        let first = size.segment_of(self.start());
        let last = size.segment_ending_at(self.end()).max(first);
        (first.as_u64()..=last.as_u64()).map(SegmentNo::new)
    }

    /// On which timelines' names `segment` may be stored, the best first: the newest that has begun in it.
    pub(super) fn timelines(&self, segment: SegmentNo, size: SegmentSize) -> Vec<TimelineId> {
        let begun = |range: &&WalRange| size.segment_of(range.start) <= segment;
        self.ranges.iter().rev().filter(begun).map(|range| range.timeline).collect()
    }

    fn history(&self) -> Option<TimelineHistory> {
        let mut ranges = self.ranges.iter();
        let mut history = TimelineHistory::without_ancestors(ranges.next()?.timeline);
        for range in ranges {
            history = history.child(range.timeline, range.start, "")?;
        }
        Some(history)
    }

    /// The timeline at `lsn`, for messages.
    fn timeline_at(&self, lsn: Lsn) -> u32 {
        let begun = self.ranges.iter().rev().find(|range| range.start <= lsn);
        begun.or(self.ranges.first()).map_or(0, |range| range.timeline.as_u32())
    }

    /// For a backup that has no WAL at all.
    pub(super) fn missing(&self) -> Problem {
        self.problem(self.start(), "the backup has no WAL")
    }

    /// A problem at a position of this run.
    pub(super) fn problem(&self, at: Lsn, error: impl ToString) -> Problem {
        Problem::Wal { timeline: self.timeline_at(at), error: error.to_string() }
    }
}

/// A run being read, segment after segment.
pub(super) struct Reading {
    run: Run,
    size: SegmentSize,
    /// Stands at the end of the run once that has been read.
    walk: Walk,
}

impl Reading {
    /// Starts reading a run of segments of `size`.
    pub(super) fn new(run: Run, size: SegmentSize, context: &Context<'_>) -> Self {
        let mut expect = Expectations::new(size, run.history().unwrap_or_else(TimelineHistory::root));
        expect.system_id = context.manifest.system_id;
        let start = run.start().as_u64() / PAGE * PAGE;
        Self { walk: Walk::new(Validator::new(Lsn::new(start), expect)), run, size }
    }

    /// Takes bytes of a segment from `offset` on; those not wanted are skipped.
    pub(super) fn feed(&mut self, segment: SegmentNo, offset: u64, bytes: &[u8]) -> Result<(), Problem> {
        let at = self.size.start_of(segment).saturating_add(offset);
        self.walk.take(at, bytes, self.run.end()).map_err(|error| self.run.problem(error.lsn, &error))
    }

    /// Reads a segment's file as far as it is wanted.
    fn read(&mut self, segment: SegmentNo, path: &Path, file: &fs::File) -> Result<(), Problem> {
        let (start, size) = (self.size.start_of(segment), self.size);
        let end = self.size.end_of(segment).min(self.run.end());
        if self.walk.validator().position() < start {
            // After a segment that was too short.
            return Ok(());
        }
        let mut bytes = |at: Lsn, buffer: &mut [u8]| file.read_at(buffer, size.offset_of(at).into());
        match self.walk.advance(&mut bytes, end) {
            Ok(()) | Err(Stop::Ended) => Ok(()),
            Err(Stop::Invalid(error)) => Err(self.run.problem(error.lsn, &error)),
            Err(Stop::Unreadable(error)) => {
                Err(self.run.problem(start, FileError::on("read file", path)(error)))
            }
        }
    }

    /// The run should be complete, and end with a record. Gives the number of records.
    pub(super) fn finish(self) -> Result<u64, Problem> {
        let validator = self.walk.validator();
        let (end, at, record_end) = (self.run.end(), validator.position(), validator.record_end());
        if at < end {
            return Err(self.run.problem(at, format!("WAL ends at {at}, before {end}")));
        }
        if record_end < end {
            return Err(self.run.problem(end, format!("the last record ends at {record_end}, not at {end}")));
        }
        Ok(validator.records())
    }
}

/// Segments in a directory.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The size of the segments: that of the first one.
    fn segment_size(&self, run: &Run) -> Result<SegmentSize, Problem> {
        let missing = || run.problem(run.start(), format!("no WAL in \"{}\"", self.0.display()));
        let entries = fs::read_dir(&self.0)
            .map_err(|error| run.problem(run.start(), FileError::on("open directory", &self.0)(error)))?;
        let is_segment = |name: &str| name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let sizes = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let segment = entry.file_name().to_str().is_some_and(is_segment);
            SegmentSize::new(entry.metadata().ok().filter(|_| segment)?.len()).ok()
        });
        sizes.max_by_key(|size| size.bytes()).ok_or_else(missing)
    }

    fn read(&self, run: &Run, segment: SegmentNo, reading: &mut Reading) -> Result<(), Problem> {
        let mut names = run.timelines(segment, reading.size).into_iter();
        let (path, file) = loop {
            let Some(timeline) = names.next() else {
                let start = reading.size.start_of(segment).max(run.start());
                let name = run
                    .timelines(segment, reading.size)
                    .first()
                    .map(|timeline| segment.file_name(*timeline, reading.size));
                return Err(
                    run.problem(start, format!("WAL segment {} is missing", name.unwrap_or_default()))
                );
            };
            let path = self.0.join(segment.file_name(timeline, reading.size));
            if let Ok(file) = fs::File::open(&path) {
                break (path, file);
            }
        };
        reading.read(segment, &path, &file)
    }
}

/// Reads the WAL that the manifest asks for; gives the number of records.
pub(super) fn verify(context: &Context<'_>, directory: Directory) -> u64 {
    let result = match Run::new(&context.manifest.wal_ranges) {
        None => Ok(0),
        Some(run) => run.and_then(|run| {
            let size = directory.segment_size(&run)?;
            let mut reading = Reading::new(run.clone(), size, context);
            for segment in run.segments(size) {
                if context.stopped() {
                    return Ok(0);
                }
                directory.read(&run, segment, &mut reading)?;
            }
            reading.finish()
        }),
    };
    result.unwrap_or_else(|problem| {
        context.report(problem);
        0
    })
}
