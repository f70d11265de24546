//! The verdict: from where a server that restores out of this archive gets to where.
//!
//! For each timeline the line of history that leads to it is gone along, as a server does that has it for its target: for
//! each segment it asks for the file of the newest timeline that has begun by then, and is given what
//! [`fetch`](crate::fetch) gives, which goes by the same [`Holdings`]. What is handed out makes up stretches. A server
//! that starts in one gets to its end: there it finds the end of the line, or it is stopped with an error.

use std::collections::BTreeMap;

use replication::waldir::{Evidence, Holdings, Reach, SegmentAnswer, Stand};
use serde::Serialize;
use wal::{Lsn, SegmentNo, SystemId, TimelineHistory, TimelineId, ValidatorState};

use super::SegmentKey;
use super::finding::Finding;

/// What is known of a file's content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Proof {
    /// The end of its last valid record; of what came before, if it has none.
    pub(super) record_end: Lsn,
    /// The page with which it stops being good, if it does with one.
    pub(super) page: Option<Lsn>,
    pub(super) content: Proven,
    pub(super) system_id: Option<SystemId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Proven {
    /// All of it.
    Whole,
    /// Up to the last record, after which it simply ends.
    Beginning,
    /// It is damaged, or cannot be read: why.
    Broken(String),
}

impl Proof {
    pub(super) fn whole(state: &ValidatorState) -> Self {
        let (record_end, system_id) = (state.record_end, state.system_id);
        Self { record_end, page: None, content: Proven::Whole, system_id }
    }

    pub(super) fn broken(record_end: Lsn, finding: &Finding) -> Self {
        Self { record_end, page: None, content: Proven::Broken(finding.to_string()), system_id: None }
    }

    /// How far the file is good for the segment that ends at `segment_end`, of which it has the line's bytes up to `end`.
    ///
    /// # Errors
    /// Why it is damaged, if it is not good so far.
    fn reach(&self, end: Lsn, segment_end: Lsn) -> Result<Reach, String> {
        let end = end.min(segment_end);
        let good_to = self.page.unwrap_or_default().max(self.record_end);
        match &self.content {
            Proven::Whole => Ok(Reach { end, page: None }),
            // Past a fork it may be as it likes.
            _ if good_to >= end => Ok(Reach { end, page: None }),
            Proven::Beginning => Ok(Reach { end: self.record_end, page: self.page }),
            Proven::Broken(why) => Err(why.clone()),
        }
    }
}

/// Where a server gets that starts in a stretch of WAL.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Stretch {
    /// The start of its first segment.
    pub from: String,
    /// The end of its last record.
    pub to: String,
    /// What stops a server there with an error; nothing if it is the end of the line.
    pub stopped_by: Option<String>,
}

/// What there is of a segment of a timeline.
enum Answer {
    /// All of it.
    Whole { record_end: Lsn },
    /// Its beginning, and nothing is known to come after.
    Beginning { record_end: Lsn },
    /// It is not there, or not to be had.
    Stopped { why: String, hole: Option<Finding> },
    /// There is nothing, and nothing is known to have been.
    Nothing,
}

/// The line that leads to a timeline.
pub(super) struct Line<'a> {
    pub(super) holdings: &'a Holdings,
    pub(super) history: &'a TimelineHistory,
    pub(super) proofs: &'a BTreeMap<SegmentKey, Proof>,
}

impl Line<'_> {
    /// The line's stretches, oldest first, and the holes between them.
    pub(super) fn judge(&self) -> (Vec<Stretch>, Vec<(SegmentKey, Finding)>) {
        let size = self.holdings.segment_size();
        let mut stretches = Vec::new();
        let mut holes = Vec::new();
        let mut open: Option<(Lsn, Lsn)> = None;
        let mut close = |open: &mut Option<(Lsn, Lsn)>, stopped_by: Option<String>| {
            if let Some((from, to)) = open.take() {
                stretches.push(Stretch { from: from.to_string(), to: to.to_string(), stopped_by });
            }
        };
        let Some((first, last)) = self.extent() else { return (stretches, holes) };
        for number in first.as_u64()..=last.as_u64().saturating_add(1) {
            let segment = SegmentNo::new(number);
            let start = size.start_of(segment);
            let owner = self.holdings.owner(self.history, segment);
            match self.answer(owner, segment) {
                Answer::Whole { record_end } => {
                    let (from, to) = open.unwrap_or((start, start));
                    open = Some((from, to.max(record_end)));
                }
                Answer::Beginning { record_end } => {
                    let (from, to) = open.unwrap_or((start, start));
                    open = Some((from, to.max(record_end)));
                    close(&mut open, None);
                }
                Answer::Nothing => close(&mut open, None),
                Answer::Stopped { why, hole } => {
                    close(&mut open, Some(why));
                    holes.extend(hole.map(|hole| ((owner, segment), hole)));
                }
            }
        }
        close(&mut open, None);
        (stretches, holes)
    }

    /// The first segment that the line has a file of, and the last of its target: where that begins if it has none.
    fn extent(&self) -> Option<(SegmentNo, SegmentNo)> {
        let target = self.history.timeline();
        let on_line = |&&(timeline, segment): &&SegmentKey| {
            self.history.contains(timeline) && self.holdings.owner(self.history, segment) >= timeline
        };
        let files = || self.holdings.files().keys().filter(on_line);
        let first = files().map(|&(_, segment)| segment).min()?;
        let own = files().filter(|&&(timeline, _)| timeline == target).map(|&(_, segment)| segment).max();
        let begin = self.holdings.segment_size().segment_of(self.history.begin());
        Some((first, own.unwrap_or(begin).max(begin).max(first)))
    }

    fn answer(&self, timeline: TimelineId, segment: SegmentNo) -> Answer {
        let size = self.holdings.segment_size();
        let prove = |stand: Stand<'_>| -> Result<_, String> {
            let Some(proof) = self.proofs.get(&(stand.file.timeline, segment)) else { return Ok(None) };
            let reach = proof.reach(stand.end, size.end_of(segment))?;
            let record_end = proof.record_end.min(stand.end);
            let answer = match proof.content {
                Proven::Whole if stand.end == Lsn::MAX => Answer::Whole { record_end },
                _ => Answer::Beginning { record_end },
            };
            Ok(Some((reach, answer)))
        };
        let found = self.holdings.find(timeline, segment, prove);
        match found {
            Ok(SegmentAnswer::Found(answer)) => answer,
            Ok(SegmentAnswer::Nothing) => Answer::Nothing,
            Ok(SegmentAnswer::Hole { from, cut_short, evidence }) => {
                let hole = hole(timeline, segment.file_name(timeline, size), from, cut_short, &evidence);
                Answer::Stopped { why: hole.to_string(), hole: Some(hole) }
            }
            Err(why) => Answer::Stopped { why, hole: None },
        }
    }
}

/// A segment that is not there, or not to its end, although the archive goes on.
fn hole(
    timeline: TimelineId,
    name: String,
    end: Lsn,
    cut_short: Option<String>,
    evidence: &Evidence,
) -> Finding {
    match cut_short {
        None => Finding::Hole { timeline: timeline.as_u32(), first: name.clone(), last: name },
        Some(file) => Finding::UnfinishedInside {
            file,
            missing: name,
            end: end.to_string(),
            evidence: evidence.to_string(),
        },
    }
}

/// Holes that follow each other as one finding.
pub(super) fn merge(holes: BTreeMap<SegmentKey, Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    let mut before: Option<SegmentKey> = None;
    for ((timeline, segment), finding) in holes {
        let follows = before.is_some_and(|(other, last)| other == timeline && last.next() == segment);
        before = Some((timeline, segment));
        match (merged.last_mut(), &finding) {
            (Some(Finding::Hole { last, .. }), Finding::Hole { last: next, .. }) if follows => {
                last.clone_from(next);
            }
            _ => merged.push(finding),
        }
    }
    merged
}
