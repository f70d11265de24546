//! Which file has a segment of a line of history, and up to where: the one rule by which `fetch` hands out and `verify`
//! judges.
//!
//! More than one file may stand for a segment, where timelines begin or were left in it. What is known of the line says how
//! far its WAL goes at least. The first file that is good as far as that is the one; if none is, there is a hole.

use std::fmt;
use std::path::PathBuf;

use wal::{Lsn, SegmentNo, TimelineId};

use super::holdings::LAST;
use super::segment::OpenSegment;
use super::{Form, Holdings, SegmentFile, WalDir, WalDirError};

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

/// How far a file was found to be good for a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// Up to where its WAL counts.
    pub end: Lsn,
    /// The page with which it stops, if it does with one ([`page_at_fault`](super::page_at_fault)).
    pub page: Option<Lsn>,
}

/// What there is of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SegmentAnswer<T> {
    /// The file that has as much of it as there is known to have been.
    Found(T),
    /// No file has as much.
    Hole {
        /// Where the hole begins.
        from: Lsn,
        /// The file that has the most of it, if one has anything.
        cut_short: Option<String>,
        /// How it is known that there was more.
        evidence: Evidence,
    },
    /// There is nothing, and nothing is known to have been.
    Nothing,
}

impl Holdings {
    /// Looks for the file that has `segment` of `timeline`. What `prove` finds each good for decides; `None` is for one that is
    /// gone, or of no use to anybody.
    ///
    /// # Errors
    /// Those of `prove`: what is damaged is not passed over.
    pub fn find<T, E>(
        &self,
        timeline: TimelineId,
        segment: SegmentNo,
        mut prove: impl FnMut(Stand<'_>) -> Result<Option<(Reach, T)>, E>,
    ) -> Result<SegmentAnswer<T>, E> {
        let needed = self.must_reach(timeline, segment);
        let start = self.segment_size().start_of(segment);
        let (mut from, mut cut_short) = (start, None);
        for stand in self.stands(timeline, segment) {
            let Some((reach, found)) = prove(stand)? else { continue };
            let enough = |needed: Lsn| needed <= reach.end || reach.page == Some(needed);
            if needed.as_ref().is_none_or(|&(needed, _)| enough(needed)) {
                // Of its own a segment has nothing before its first record ends.
                if reach.end <= start && stand.end == Lsn::MAX {
                    continue;
                }
                return Ok(SegmentAnswer::Found(found));
            }
            from = from.max(reach.end);
            cut_short = Some(stand.file.name.clone());
        }
        Ok(match needed {
            Some((_, evidence)) => SegmentAnswer::Hole { from, cut_short, evidence },
            None => SegmentAnswer::Nothing,
        })
    }

    /// How the file of `segment`, partial or not, may end. In a server's own `pg_wal` the segment being written has a finished
    /// one's name, and stale bytes after its end.
    ///
    /// # Errors
    /// A control file that cannot be read.
    pub fn form(&self, dir: &WalDir, segment: SegmentNo, partial: bool) -> Result<Form, WalDirError> {
        Ok(match partial {
            true => Form::Unfinished,
            false if segment >= self.last_segment() && dir.control_file()?.is_some() => Form::Recycled,
            false => Form::Finished,
        })
    }

    /// Up to where at least `timeline` has WAL in `segment`, and how that is known; `None` if nothing says so.
    pub fn must_reach(&self, timeline: TimelineId, segment: SegmentNo) -> Option<(Lsn, Evidence)> {
        let (start, end) = (self.segment_size().start_of(segment), self.segment_size().end_of(segment));
        let begin = self.history(timeline).map_or(Lsn::INVALID, |history| history.begin());
        if begin >= end {
            return None;
        }
        let later = self.files().range((timeline, segment.next())..=(timeline, LAST)).next();
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
        let file = |of: TimelineId| self.files().get(&(of, segment));
        let is_here = |at: Lsn| self.segment_size().segment_of(at) == segment;
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

    /// Everything that the file of a segment has, a whole one's or else a partial one's; `None` if it is gone by now.
    ///
    /// # Errors
    /// A file that cannot be read or unpacked.
    pub fn content(&self, dir: &WalDir, file: &SegmentFile) -> Result<Option<Content>, WalDirError> {
        let Some(open) = OpenSegment::open(dir, file.timeline, file.segment, self.segment_size())? else {
            return Ok(None);
        };
        let mut bytes = vec![0; self.segment_size().bytes() as usize];
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
