//! What a directory has of each line of history: which files stand for a segment, and whether one that is not there is
//! the end of its line or a hole in it.
//!
//! A server that restores asks for one file after the other, and takes "not there" for the end of the log. So that answer
//! is right only where nothing is known of the same line further on. What is known: later segments of the timeline, and
//! the histories of timelines that left it, which say how far it was written. Where a timeline begins, or was left, within
//! a segment, each relative's file of that segment has the bytes up to there, and stands for one that is missing.
//!
//! Timelines are found by their numbers, one after the other, up to the first without a history
//! (`findNewestTimeLine` in `timeline.c`). Numbers that were skipped, because whoever took them was never heard of here,
//! would hide every later timeline. For them a history is made: that of a timeline which left the next known one's line
//! and came to nothing. It is the same as long as that one is here, and never the newest, because that one is newer.
//!
//! All this is told by names and histories alone; what the files are worth, a [`Walk`](wal::Walk) tells.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use wal::{HistoryError, Lsn, SegmentNo, SegmentSize, TimelineHistory, TimelineId};

use super::segment::OpenSegment;
use super::{SegmentFile, WalDir, WalDirError};

/// Why a timeline that nobody knows of was left, in the history made for it.
const NEVER_MADE: &str = "this timeline came to nothing: no server of this history went on with it";

/// A directory's files and histories, as of one look at it.
#[derive(Clone, Debug)]
pub struct Holdings {
    size: SegmentSize,
    /// The file that counts for each segment: a complete one before a partial one.
    files: BTreeMap<(TimelineId, SegmentNo), SegmentFile>,
    /// The histories that are here and make sense.
    histories: BTreeMap<TimelineId, TimelineHistory>,
    broken: BTreeMap<TimelineId, HistoryError>,
}

/// A file that has a segment's bytes, all or the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stand<'a> {
    /// The file.
    pub file: &'a SegmentFile,
    /// Up to where its bytes are those of the timeline asked for; [`Lsn::MAX`] if it is that timeline's own.
    pub end: Lsn,
}

/// What a segment's file has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// The file.
    pub path: PathBuf,
    /// Its bytes, unpacked; at most a segment's.
    pub bytes: Vec<u8>,
    /// Whether it is called `.partial`.
    pub partial: bool,
}

/// That a timeline goes on past a position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// A later segment of it is here.
    Segment(String),
    /// A history says that the timeline was left, or began, further on.
    History {
        /// Whose history.
        timeline: TimelineId,
        /// Where that was.
        switch_point: Lsn,
    },
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(name) => write!(f, "\"{name}\" is there"),
            Self::History { timeline, switch_point } => {
                write!(f, "\"{}\" tells of {switch_point}", timeline.history_file_name())
            }
        }
    }
}

/// What there is for a history's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HistoryAnswer {
    /// Its file.
    File,
    /// Its content, made out of that of a later timeline.
    Made(TimelineHistory),
    /// Nothing, and nothing later: timelines end before this one.
    Absent,
    /// Nothing, although that file's timeline has WAL here: what it descends from is not known.
    Lost(String),
}

impl Holdings {
    /// Looks at a directory. Histories that make no sense are remembered as such.
    ///
    /// # Errors
    /// A directory or a history file that cannot be read.
    pub fn read(dir: &WalDir, size: SegmentSize) -> Result<Self, WalDirError> {
        let listing = dir.list(size)?;
        let mut holdings =
            Self { size, files: BTreeMap::new(), histories: BTreeMap::new(), broken: BTreeMap::new() };
        // A server keeps files for segments to come, which hold nothing yet or what they were before.
        let recycled = dir.is_servers()?;
        for file in listing.segments {
            if recycled && !begins_where_it_should(dir, &file, size)? {
                continue;
            }
            holdings.files.entry((file.timeline, file.segment)).or_insert(file);
        }
        for timeline in listing.histories {
            match dir.history(timeline) {
                Ok(history) => drop(holdings.histories.insert(timeline, history)),
                Err(WalDirError::History { source, .. }) => drop(holdings.broken.insert(timeline, source)),
                // Removed since.
                Err(WalDirError::MissingHistory { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(holdings)
    }

    /// The size of the segments.
    pub fn segment_size(&self) -> SegmentSize {
        self.size
    }

    /// The files, by timeline and segment.
    pub fn files(&self) -> &BTreeMap<(TimelineId, SegmentNo), SegmentFile> {
        &self.files
    }

    /// The timelines that have segments here, ascending.
    pub fn timelines(&self) -> Vec<TimelineId> {
        let mut timelines: Vec<_> = self.files.keys().map(|&(timeline, _)| timeline).collect();
        timelines.dedup();
        timelines
    }

    /// Every timeline that is told of by a history file, whether or not that makes sense.
    pub fn history_files(&self) -> impl Iterator<Item = TimelineId> {
        self.histories.keys().chain(self.broken.keys()).copied()
    }

    /// Why the history file of `timeline` makes no sense, if so.
    pub fn broken(&self, timeline: TimelineId) -> Option<&HistoryError> {
        self.broken.get(&timeline)
    }

    /// The ancestry of `timeline`: from its file, or from that of a descendant, which repeats it. Timeline 1 needs none.
    pub fn history(&self, timeline: TimelineId) -> Option<TimelineHistory> {
        if let Some(history) = self.histories.get(&timeline) {
            return Some(history.clone());
        }
        if self.broken.contains_key(&timeline) {
            return None;
        }
        if timeline == TimelineId::FIRST {
            return Some(TimelineHistory::root());
        }
        let descendant = self.histories.values().find(|history| history.contains(timeline))?;
        Some(descendant.ancestor(timeline, NEVER_MADE))
    }

    /// What there is for the name of `timeline`'s history file.
    pub fn history_answer(&self, timeline: TimelineId) -> HistoryAnswer {
        if self.histories.contains_key(&timeline) || self.broken.contains_key(&timeline) {
            return HistoryAnswer::File;
        }
        if timeline <= TimelineId::FIRST {
            return HistoryAnswer::Absent;
        }
        if let Some(history) = self.history(timeline) {
            return HistoryAnswer::Made(history);
        }
        let later = (timeline, SegmentNo::new(0))..;
        if let Some(file) = self.files.range((timeline, SegmentNo::new(0))..=(timeline, LAST)).next() {
            return HistoryAnswer::Lost(file.1.name.clone());
        }
        match self.histories.range(timeline..).next() {
            Some((_, next)) => HistoryAnswer::Made(next.ancestor(timeline, NEVER_MADE)),
            // Later timelines have WAL here, and none says from where.
            None => match self.files.range(later).next() {
                Some((_, file)) => HistoryAnswer::Lost(file.name.clone()),
                None => HistoryAnswer::Absent,
            },
        }
    }

    /// How the history of `timeline` contradicts that of its parent or of a child, if so: then two servers have had a
    /// timeline of the same number, or a file was damaged.
    pub fn contradiction(&self, timeline: TimelineId) -> Option<String> {
        let own = self.histories.get(&timeline)?;
        let contradicts = |child: &TimelineHistory, parent: &TimelineHistory| {
            child.ancestor(parent.timeline(), "").positions() != parent.positions()
        };
        let parent = own.entries().last().and_then(|parent| self.histories.get(&parent.timeline));
        if let Some(parent) = parent.filter(|parent| contradicts(own, parent)) {
            return Some(format!("it contradicts the history of its parent, timeline {}", parent.timeline()));
        }
        let is_child = |other: &&TimelineHistory| {
            other.entries().last().is_some_and(|parent| parent.timeline == timeline)
        };
        let child = self.histories.values().filter(is_child).find(|child| contradicts(child, own))?;
        Some(format!("it contradicts the history of its child, timeline {}", child.timeline()))
    }

    /// The timelines that left `timeline`, with where.
    fn left_by(&self, timeline: TimelineId) -> impl Iterator<Item = (TimelineId, Lsn)> {
        self.histories
            .values()
            .filter_map(move |history| Some((history.timeline(), history.switch_point_of(timeline)?)))
    }

    /// Which timeline's name the segment bears on the line of `history`: that of the newest which has begun by its end.
    pub fn owner(&self, history: &TimelineHistory, segment: SegmentNo) -> TimelineId {
        let last_byte = Lsn::new(self.size.end_of(segment).as_u64().saturating_sub(1));
        history.timeline_at(last_byte)
    }

    /// Up to where at least `timeline` has WAL in `segment`, and how that is known; `None` if nothing says so.
    pub fn must_reach(&self, timeline: TimelineId, segment: SegmentNo) -> Option<(Lsn, Evidence)> {
        let (start, end) = (self.size.start_of(segment), self.size.end_of(segment));
        let begin = self.history(timeline).map_or(Lsn::INVALID, |history| history.begin());
        if begin >= end {
            return None;
        }
        let later = self.files.range((timeline, segment.next())..=(timeline, LAST)).next();
        if let Some((_, file)) = later {
            return Some((end, Evidence::Segment(file.name.clone())));
        }
        let left = self.left_by(timeline).max_by_key(|&(_, at)| at);
        [Some((timeline, begin)), left]
            .into_iter()
            .flatten()
            .filter(|&(_, at)| at > start)
            .max_by_key(|&(_, at)| at)
            .map(|(timeline, switch_point)| {
                (switch_point.min(end), Evidence::History { timeline, switch_point })
            })
    }

    /// The files that have the bytes of `segment` of `timeline`, its own first.
    pub fn stands(&self, timeline: TimelineId, segment: SegmentNo) -> Vec<Stand<'_>> {
        let file = |of: TimelineId| self.files.get(&(of, segment));
        let is_here = |at: Lsn| self.size.segment_of(at) == segment;
        let mut stands: Vec<_> =
            file(timeline).map(|file| Stand { file, end: Lsn::MAX }).into_iter().collect();
        let borrowed = |left: TimelineId, from: Lsn| {
            self.left_by(left)
                .filter(move |&(other, at)| other != timeline && at >= from && is_here(at))
                .filter_map(move |(other, at)| Some(Stand { file: file(other)?, end: at }))
        };
        // Who left it here has its bytes up to there.
        stands.extend(borrowed(timeline, Lsn::INVALID));
        // Where it began it has its parent's bytes, and so has every other that left the parent later.
        let begin = self.history(timeline).and_then(|history| {
            let parent = history.entries().last()?;
            is_here(parent.switch_point).then_some((parent.timeline, parent.switch_point))
        });
        if let Some((parent, at)) = begin {
            stands.extend(file(parent).map(|file| Stand { file, end: at }));
            stands.extend(borrowed(parent, at).map(|stand| Stand { end: at, ..stand }));
        }
        stands
    }
}

impl Holdings {
    /// Everything that the file of a segment has, a whole one's or else a partial one's; `None` if it is gone by now.
    ///
    /// # Errors
    /// A file that cannot be read or unpacked.
    pub fn content(&self, dir: &WalDir, file: &SegmentFile) -> Result<Option<Content>, WalDirError> {
        let Some(open) = OpenSegment::open(dir, file.timeline, file.segment, self.size)? else {
            return Ok(None);
        };
        let mut bytes = vec![0; self.size.bytes() as usize];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match open.read_at(rest, filled as u32)? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(Some(Content { path: open.path, bytes, partial: open.partial }))
    }
}

fn begins_where_it_should(dir: &WalDir, file: &SegmentFile, size: SegmentSize) -> Result<bool, WalDirError> {
    let header = dir.first_page(file)?;
    Ok(header.is_some_and(|header| header.page_addr == size.start_of(file.segment)))
}

/// After every segment's number.
const LAST: SegmentNo = SegmentNo::new(u64::MAX);
