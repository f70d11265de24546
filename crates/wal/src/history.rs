//! Timeline history files: which timelines a timeline descends from, and where each was left.
//!
//! One line per ancestor, `parent TLI <tab> switch point <tab> reason`; blank lines and lines starting with `#` are
//! skipped. Timelines ascend and are smaller than the file's own. Switch points normally ascend too, but
//! need not: a recovery that stops before the point where its target timeline branched off leaves an ancestor of which
//! no WAL is used. So positions are looked up from the newest timeline backwards, as PostgreSQL does.
//! Source: `readTimeLineHistory`, `tliOfPointInHistory` in `access/transam/timeline.c`.

use crate::{Lsn, TimelineId};

/// One ancestor in a history file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryEntry {
    /// The ancestor.
    pub timeline: TimelineId,
    /// Where it was left: the first byte that is no longer its own.
    pub switch_point: Lsn,
    /// Why, in the words of the server that was promoted.
    pub reason: String,
}

/// A timeline and its ancestors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimelineHistory {
    timeline: TimelineId,
    /// Oldest first; timelines strictly ascend and are smaller than `timeline`.
    entries: Vec<HistoryEntry>,
}

/// A history file that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid history file of timeline {timeline}, line {line}: {reason}")]
pub struct HistoryError {
    /// Whose history was read.
    pub timeline: TimelineId,
    /// The line at fault, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: HistoryErrorKind,
}

/// What can be wrong with a line of a history file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryErrorKind {
    /// The line does not begin with a timeline number.
    #[error("expected a numeric timeline ID")]
    Timeline,
    /// No position follows the timeline.
    #[error("expected a write-ahead log switchpoint location")]
    SwitchPoint,
    /// Timelines must ascend from line to line.
    #[error("timeline IDs must be in increasing sequence")]
    Order,
    /// A timeline cannot descend from a later one, or from itself.
    #[error("timeline IDs must be less than the child timeline's ID")]
    NotAnAncestor,
}

impl TimelineHistory {
    /// The history of timeline 1, which `initdb` starts and which has no file.
    pub const fn root() -> Self {
        Self::without_ancestors(TimelineId::FIRST)
    }

    /// A history that knows of `timeline` alone.
    pub const fn without_ancestors(timeline: TimelineId) -> Self {
        Self { timeline, entries: Vec::new() }
    }

    /// Reads the history file of `timeline`. Bytes that are not UTF-8 in a reason are replaced.
    pub fn parse(timeline: TimelineId, content: &[u8]) -> Result<Self, HistoryError> {
        let mut history = Self::without_ancestors(timeline);
        for (index, line) in content.split(|&byte| byte == b'\n').enumerate() {
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fail = |reason| HistoryError { timeline, line: index + 1, reason };
            let entry = parse_line(line).map_err(fail)?;
            if history.entries.last().is_some_and(|last| entry.timeline <= last.timeline) {
                return Err(fail(HistoryErrorKind::Order));
            }
            if entry.timeline >= timeline {
                return Err(fail(HistoryErrorKind::NotAnAncestor));
            }
            history.entries.push(entry);
        }
        Ok(history)
    }

    /// The file's content, as PostgreSQL lays it out: a blank line between entries.
    pub fn to_bytes(&self) -> Vec<u8> {
        let lines: Vec<String> = self
            .entries
            .iter()
            .map(|entry| {
                format!("{}\t{}\t{}\n", entry.timeline, entry.switch_point, entry.reason.replace('\n', " "))
            })
            .collect();
        lines.join("\n").into_bytes()
    }

    /// The history of `child`, which leaves this timeline at `switch_point`. `None` if `child` is not newer.
    pub fn child(&self, child: TimelineId, switch_point: Lsn, reason: &str) -> Option<Self> {
        if child <= self.timeline {
            return None;
        }
        let mut entries = self.entries.clone();
        entries.push(HistoryEntry { timeline: self.timeline, switch_point, reason: reason.to_owned() });
        Some(Self { timeline: child, entries })
    }

    /// The part of this history that leads up to `timeline`. That is its whole history if it is an ancestor; for a number
    /// between two ancestors' it is that of a timeline which left the older one where this history did, for `reason`.
    pub fn ancestor(&self, timeline: TimelineId, reason: &str) -> Self {
        let is_ours = self.contains(timeline);
        let mut entries: Vec<_> =
            self.entries.iter().filter(|entry| entry.timeline < timeline).cloned().collect();
        if let Some(last) = entries.last_mut().filter(|_| !is_ours) {
            reason.clone_into(&mut last.reason);
        }
        Self { timeline, entries }
    }

    /// The ancestors and where each was left, without the reasons.
    pub fn positions(&self) -> Vec<(TimelineId, Lsn)> {
        self.entries.iter().map(|entry| (entry.timeline, entry.switch_point)).collect()
    }

    /// Where this timeline begins: where its parent was left; 0/0 without one.
    pub fn begin(&self) -> Lsn {
        self.entries.last().map_or(Lsn::INVALID, |parent| parent.switch_point)
    }

    /// Whose history this is.
    pub const fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// The ancestors, oldest first.
    pub fn entries(&self) -> &[HistoryEntry] {
        &self.entries
    }

    /// Whether `timeline` is this one or an ancestor of it.
    pub fn contains(&self, timeline: TimelineId) -> bool {
        timeline == self.timeline || self.entries.iter().any(|entry| entry.timeline == timeline)
    }

    /// Where `timeline` was left for its child; `None` for the newest timeline and for strangers.
    pub fn switch_point_of(&self, timeline: TimelineId) -> Option<Lsn> {
        self.entries.iter().find(|entry| entry.timeline == timeline).map(|entry| entry.switch_point)
    }

    /// Where this history and `other` part ways: the first position that is not of the same timeline in both, in what both
    /// of them know. `None` if `other` goes on where this one ends, or the other way round, or they are the same.
    pub fn parts_from(&self, other: &Self) -> Option<Lsn> {
        // Each timeline ends at the latest where a later one was left.
        let spans = |history: &Self| {
            let mut end = Lsn::MAX;
            let entries = history.entries.iter().rev().map(|entry| {
                end = end.min(entry.switch_point);
                (entry.timeline, end)
            });
            let mut spans: Vec<_> = [(history.timeline, Lsn::MAX)].into_iter().chain(entries).collect();
            spans.reverse();
            spans
        };
        let mut from = Lsn::INVALID;
        for ((ours, our_end), (theirs, their_end)) in spans(self).into_iter().zip(spans(other)) {
            if ours != theirs {
                return Some(from);
            }
            if our_end != their_end {
                return Some(our_end.min(their_end));
            }
            from = our_end;
        }
        None
    }

    /// The timeline that wrote the byte at `lsn`. A switch point itself belongs to the newer timeline.
    pub fn timeline_at(&self, lsn: Lsn) -> TimelineId {
        let mut newer = self.timeline;
        for (index, entry) in self.entries.iter().enumerate().rev() {
            let end = self.entries.get(index + 1).map(|next| next.switch_point);
            if entry.switch_point <= lsn && end.is_none_or(|end| lsn < end) {
                return newer;
            }
            newer = entry.timeline;
        }
        newer
    }
}

fn parse_line(line: &str) -> Result<HistoryEntry, HistoryErrorKind> {
    let (timeline, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let timeline = match timeline.parse::<u32>() {
        Ok(number) if number != 0 => TimelineId::new(number),
        _ => return Err(HistoryErrorKind::Timeline),
    };
    let rest = rest.trim_start();
    let (position, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let switch_point = position.parse().map_err(|_| HistoryErrorKind::SwitchPoint)?;
    Ok(HistoryEntry { timeline, switch_point, reason: reason.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"1\t0/1902138\tno recovery target specified\n\n2\t0/2400120\tbefore 2026\n";

    fn tli(number: u32) -> TimelineId {
        TimelineId::new(number)
    }

    #[test]
    fn a_real_file_is_read_and_written_back() {
        let history = TimelineHistory::parse(tli(3), FILE).unwrap();
        assert_eq!(history.to_bytes(), FILE);
        assert_eq!(history.entries().len(), 2);
        assert_eq!(history.switch_point_of(tli(1)), Some(Lsn::new(0x190_2138)));
        assert_eq!(history.switch_point_of(tli(3)), None);
        assert!(history.contains(tli(3)) && history.contains(tli(1)) && !history.contains(tli(4)));
        let parent =
            TimelineHistory::root().child(tli(2), Lsn::new(0x190_2138), "no recovery target specified");
        let child = parent.unwrap().child(tli(3), Lsn::new(0x240_0120), "before 2026").unwrap();
        assert_eq!(child, history);
        assert_eq!(child.child(tli(3), Lsn::new(0x240_0120), ""), None);
    }

    #[test]
    fn a_switch_point_belongs_to_the_newer_timeline() {
        let history = TimelineHistory::parse(tli(3), FILE).unwrap();
        let at = |lsn: u64| history.timeline_at(Lsn::new(lsn)).as_u32();
        assert_eq!((at(0), at(0x190_2137), at(0x190_2138)), (1, 1, 2));
        assert_eq!((at(0x240_011f), at(0x240_0120), at(u64::MAX)), (2, 3, 3));
        assert_eq!(TimelineHistory::root().timeline_at(Lsn::MAX), TimelineId::FIRST);
    }

    #[test]
    fn an_ancestors_history_is_part_of_its_descendants() {
        let history = TimelineHistory::parse(tli(7), FILE).unwrap();
        assert_eq!(history.ancestor(tli(7), "x"), history);
        assert_eq!(history.ancestor(tli(2), "x").to_bytes(), b"1\t0/1902138\tno recovery target specified\n");
        assert_eq!(history.ancestor(tli(1), "x"), TimelineHistory::root());
        let made = history.ancestor(tli(5), "x");
        assert_eq!(made.to_bytes(), b"1\t0/1902138\tno recovery target specified\n\n2\t0/2400120\tx\n");
        assert_eq!((made.begin(), made.positions()), (history.begin(), history.positions()));
    }

    #[test]
    fn histories_part_where_they_first_differ() {
        let parse = |number, file: &[u8]| TimelineHistory::parse(tli(number), file).unwrap();
        let (one, two) = (TimelineHistory::root(), parse(2, b"1\t0/100\tx\n"));
        let three = parse(3, b"1\t0/100\tx\n2\t0/200\tx\n");
        let at = |ours: &TimelineHistory, other: &TimelineHistory| {
            let parts = ours.parts_from(other);
            assert_eq!(parts, other.parts_from(ours));
            parts.map(Lsn::as_u64)
        };
        assert_eq!((at(&one, &one), at(&three, &three)), (None, None));
        assert_eq!(
            (at(&one, &two), at(&two, &three), at(&one, &three)),
            (Some(0x100), Some(0x200), Some(0x100))
        );
        // Two that have the same number.
        let other = parse(2, b"1\t0/180\ty\n");
        assert_eq!((at(&two, &other), at(&three, &other)), (Some(0x100), Some(0x100)));
        let other = parse(3, b"1\t0/180\ty\n");
        assert_eq!((at(&two, &other), at(&three, &other)), (Some(0x100), Some(0x100)));
        assert_eq!(at(&TimelineHistory::without_ancestors(tli(5)), &one), Some(0));
        let odd = parse(3, b"1\t0/200\tx\n2\t0/150\tx\n");
        assert_eq!(at(&one, &odd), Some(0x150), "of timeline 1 it uses no more than that");
    }

    #[test]
    fn an_ancestor_left_before_it_began_owns_nothing() {
        let history = TimelineHistory::parse(tli(3), b"1\t0/200\tx\n2\t0/150\tx\n").unwrap();
        let at = |lsn: u64| history.timeline_at(Lsn::new(lsn)).as_u32();
        assert_eq!((at(0x14f), at(0x150), at(0x1ff), at(0x200)), (1, 3, 3, 3));
    }

    #[test]
    fn comments_spaces_and_missing_reasons_are_fine() {
        let history = TimelineHistory::parse(tli(9), b"# c\n\n  4  1/0\n7\t1/10\ta b\tc\r\n").unwrap();
        assert_eq!(history.entries()[0].reason, "");
        assert_eq!(history.entries()[1].reason, "a b\tc");
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        for (content, line, reason) in [
            (&b"x\t0/1\n"[..], 1, HistoryErrorKind::Timeline),
            (b"0\t0/1\n", 1, HistoryErrorKind::Timeline),
            (b"\n1\n", 2, HistoryErrorKind::SwitchPoint),
            (b"1\tzz\n", 1, HistoryErrorKind::SwitchPoint),
            (b"2\t0/1\n1\t0/2\n", 2, HistoryErrorKind::Order),
            (b"3\t0/1\n", 1, HistoryErrorKind::NotAnAncestor),
        ] {
            let error = TimelineHistory::parse(tli(3), content).unwrap_err();
            assert_eq!(error, HistoryError { timeline: tli(3), line, reason });
        }
    }
}
