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
//! All this is told by names and histories alone; what the files are worth, a [`LineWalk`](super::LineWalk) tells, and
//! which of them has a segment, [`Holdings::find`].

use std::collections::BTreeMap;

use wal::{HistoryError, Lsn, SegmentNo, SegmentSize, TimelineHistory, TimelineId};

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
    /// The last segment of any timeline.
    last: SegmentNo,
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
        let mut holdings = Self {
            size,
            files: BTreeMap::new(),
            histories: BTreeMap::new(),
            broken: BTreeMap::new(),
            last: SegmentNo::new(0),
        };
        // A server keeps files for segments to come, which hold nothing yet or what they were before.
        let recycled = dir.is_servers()?;
        for file in listing.segments {
            if recycled && !begins_where_it_should(dir, &file, size)? {
                continue;
            }
            holdings.last = holdings.last.max(file.segment);
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

    /// The last segment that a file is here of, of any timeline.
    pub(super) fn last_segment(&self) -> SegmentNo {
        self.last
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
    pub(super) fn left_by(&self, timeline: TimelineId) -> impl Iterator<Item = (TimelineId, Lsn)> {
        self.histories
            .values()
            .filter_map(move |history| Some((history.timeline(), history.switch_point_of(timeline)?)))
    }

    /// Which timeline's name the segment bears on the line of `history`: that of the newest which has begun by its end.
    pub fn owner(&self, history: &TimelineHistory, segment: SegmentNo) -> TimelineId {
        let last_byte = Lsn::new(self.size.end_of(segment).as_u64().saturating_sub(1));
        history.timeline_at(last_byte)
    }
}

fn begins_where_it_should(dir: &WalDir, file: &SegmentFile, size: SegmentSize) -> Result<bool, WalDirError> {
    let header = dir.first_page(file)?;
    Ok(header.is_some_and(|header| header.page_addr == size.start_of(file.segment)))
}

/// After every segment's number.
pub(super) const LAST: SegmentNo = SegmentNo::new(u64::MAX);
