//! What there is to verify, by names alone: each timeline's runs of segments, holes between them, histories.

use std::collections::BTreeMap;

use replication::waldir::{Compression, SegmentFile, WalDir, WalDirError};
use wal::{Lsn, SegmentNo, SegmentSize, TimelineHistory, TimelineId};

use super::finding::Finding;
use super::job::Job;
use super::memory::Memory;
use super::{SegmentKey, TimelineSummary};

/// About how many bytes a job reads: enough to make its overlap with the next one negligible.
const JOB_BYTES: u64 = 128 << 20;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) size: SegmentSize,
    /// The file that counts for each segment: a complete one before a partial one.
    pub(super) files: BTreeMap<SegmentKey, SegmentFile>,
    /// Histories of the timelines that have segments, as far as they can be read.
    pub(super) histories: BTreeMap<TimelineId, TimelineHistory>,
    pub(super) findings: Vec<Finding>,
}

impl Plan {
    pub(super) fn make(dir: &WalDir, size: SegmentSize) -> Result<Self, WalDirError> {
        let listing = dir.list(size)?;
        let mut plan =
            Self { size, files: BTreeMap::new(), histories: BTreeMap::new(), findings: Vec::new() };
        for file in listing.segments {
            let expected = u64::from(size.bytes());
            if !file.partial && file.compression == Compression::None && file.len != expected {
                plan.findings.push(Finding::WrongSize { file: file.name, found: file.len, expected });
                continue;
            }
            plan.files.entry((file.timeline, file.segment)).or_insert(file);
        }
        let mut timelines: Vec<TimelineId> = plan.files.keys().map(|&(timeline, _)| timeline).collect();
        timelines.extend(&listing.histories);
        timelines.sort_unstable();
        timelines.dedup();
        for timeline in timelines {
            plan.read_history(dir, timeline)?;
        }
        plan.find_holes();
        Ok(plan)
    }

    fn read_history(&mut self, dir: &WalDir, timeline: TimelineId) -> Result<(), WalDirError> {
        match dir.history(timeline) {
            Ok(history) => {
                self.histories.insert(timeline, history);
            }
            Err(WalDirError::MissingHistory { .. }) => self.findings.push(Finding::MissingHistory {
                timeline: timeline.as_u32(),
                file: timeline.history_file_name(),
            }),
            Err(WalDirError::History { source, .. }) => self
                .findings
                .push(Finding::BadHistory { timeline: timeline.as_u32(), reason: source.to_string() }),
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// The numbers of a timeline's segments.
    fn numbers(&self, timeline: TimelineId) -> impl Iterator<Item = u64> {
        let all = (timeline, SegmentNo::new(0))..=(timeline, SegmentNo::new(u64::MAX));
        self.files.range(all).map(|(&(_, segment), _)| segment.as_u64())
    }

    fn timelines(&self) -> Vec<TimelineId> {
        let mut timelines: Vec<_> = self.files.keys().map(|&(timeline, _)| timeline).collect();
        timelines.dedup();
        timelines
    }

    fn find_holes(&mut self) {
        let mut findings = Vec::new();
        let mut hole = |timeline: TimelineId, first: u64, last: u64| {
            let name = |number| SegmentNo::new(number).file_name(timeline, self.size);
            findings.push(Finding::Hole {
                timeline: timeline.as_u32(),
                first: name(first),
                last: name(last),
            });
        };
        for timeline in self.timelines() {
            let numbers: Vec<u64> = self.numbers(timeline).collect();
            for pair in numbers.windows(2) {
                if let [before, after] = *pair
                    && after > before + 1
                {
                    hole(timeline, before + 1, after - 1);
                }
            }
            // Between what is left of the ancestors and where this timeline begins.
            let (Some(&first), Some(history)) = (numbers.first(), self.histories.get(&timeline)) else {
                continue;
            };
            if let Some((ancestor, last)) = self.last_before(history, first)
                && first > last + 1
            {
                hole(ancestor, last + 1, first - 1);
            }
        }
        findings.extend(self.files.values().filter(|file| file.partial).filter_map(|file| {
            let next = (file.timeline, file.segment.next());
            self.files.contains_key(&next).then(|| Finding::UnfinishedInside { file: file.name.clone() })
        }));
        self.findings.extend(findings);
    }

    /// The last segment before `first` that an ancestor has and that belongs to this history.
    fn last_before(&self, history: &TimelineHistory, first: u64) -> Option<(TimelineId, u64)> {
        history.entries().iter().rev().find_map(|entry| {
            let left_in = self.size.segment_ending_at(entry.switch_point).as_u64();
            let last =
                self.numbers(entry.timeline).filter(|&number| number < first && number <= left_in).last();
            last.map(|last| (entry.timeline, last))
        })
    }

    pub(super) fn segment_count(&self) -> usize {
        self.files.len()
    }

    /// Everything that is not remembered as proved, cut into jobs.
    pub(super) fn jobs(&self, dir: &WalDir, memory: &Memory) -> Vec<Job> {
        let per_job = (JOB_BYTES / u64::from(self.size.bytes())).max(1) as usize;
        let mut jobs: Vec<Job> = Vec::new();
        for (&(timeline, segment), file) in &self.files {
            let Some(history) = self.histories.get(&timeline) else { continue };
            if memory.proves(dir, file, history).is_some() {
                continue;
            }
            let key_before = segment.as_u64().checked_sub(1).map(|number| (timeline, SegmentNo::new(number)));
            if let Some(job) = jobs.last_mut()
                && Some((job.timeline, job.last())) == key_before
                && job.len() < per_job
            {
                job.files.push(file.clone());
                continue;
            }
            let before = key_before.and_then(|key| self.files.get(&key));
            let state = before.and_then(|before| memory.proves(dir, before, history));
            // Where the timeline begins, its predecessor is an ancestor's segment.
            let lead_in = before.is_none() && self.ancestor_has(history, segment);
            jobs.push(Job {
                timeline,
                history: history.clone(),
                size: self.size,
                files: vec![file.clone()],
                state,
                lead_in,
                next: None,
            });
        }
        for job in &mut jobs {
            job.next = self.files.get(&(job.timeline, job.last().next())).cloned();
        }
        jobs
    }

    fn ancestor_has(&self, history: &TimelineHistory, segment: SegmentNo) -> bool {
        let Some(before) = segment.as_u64().checked_sub(1).map(SegmentNo::new) else { return false };
        let ancestor = history.timeline_at(self.size.start_of(before));
        self.files.get(&(ancestor, before)).is_some_and(|file| !file.partial)
    }

    pub(super) fn summaries(&self, ends: &BTreeMap<TimelineId, Lsn>) -> Vec<TimelineSummary> {
        self.timelines()
            .into_iter()
            .filter_map(|timeline| {
                let first = self.numbers(timeline).next()?;
                let last = self.numbers(timeline).last()?;
                let end = match ends.get(&timeline) {
                    Some(&end) if end > self.size.start_of(SegmentNo::new(last)) => end,
                    _ => self.size.end_of(SegmentNo::new(last)),
                };
                let start = self.size.start_of(SegmentNo::new(first)).to_string();
                Some(TimelineSummary { timeline: timeline.as_u32(), start, end: end.to_string() })
            })
            .collect()
    }
}
