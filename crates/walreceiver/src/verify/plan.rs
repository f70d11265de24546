//! What there is to verify, by names alone: histories, the files' lengths, and what to read.

use std::collections::{BTreeMap, BTreeSet};

use replication::waldir::{Compression, HistoryAnswer, Holdings, SegmentFile, WalDir, WalDirError};
use wal::{Lsn, SegmentNo, SegmentSize, TimelineHistory, TimelineId};

use super::SegmentKey;
use super::finding::Finding;
use super::job::Job;
use super::memory::Memory;
use super::verdict::Proof;

/// About how many bytes a job reads: enough to make its overlap with the next one negligible.
const JOB_BYTES: u64 = 128 << 20;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) size: SegmentSize,
    pub(super) holdings: Holdings,
    /// The ancestries of the timelines that have segments, as far as they are known.
    pub(super) histories: BTreeMap<TimelineId, TimelineHistory>,
    pub(super) findings: Vec<Finding>,
    /// Files of which it is clear without reading that they are of no use.
    pub(super) useless: BTreeMap<SegmentKey, Proof>,
}

impl Plan {
    pub(super) fn make(dir: &WalDir, size: SegmentSize) -> Result<Self, WalDirError> {
        let holdings = Holdings::read(dir, size)?;
        let mut plan = Self {
            size,
            histories: BTreeMap::new(),
            findings: Vec::new(),
            useless: BTreeMap::new(),
            holdings,
        };
        plan.look_at_histories();
        plan.look_at_files();
        Ok(plan)
    }

    /// Every history there is or should be.
    fn look_at_histories(&mut self) {
        let known: BTreeSet<TimelineId> =
            self.holdings.timelines().into_iter().chain(self.holdings.history_files()).collect();
        let mut before = TimelineId::FIRST;
        for timeline in known {
            self.look_for_skipped(before, timeline);
            before = timeline;
            if let Some(error) = self.holdings.broken(timeline) {
                let reason = error.to_string();
                self.findings.push(Finding::BadHistory { timeline: timeline.as_u32(), reason });
                continue;
            }
            if let Some(reason) = self.holdings.contradiction(timeline) {
                self.findings.push(Finding::BadHistory { timeline: timeline.as_u32(), reason });
            }
            let file = timeline.history_file_name();
            match self.holdings.history_answer(timeline) {
                HistoryAnswer::Lost(_) => {
                    self.findings.push(Finding::MissingHistory { timeline: timeline.as_u32(), file });
                }
                HistoryAnswer::Made(_) => {
                    self.findings.push(Finding::RepeatedHistory { timeline: timeline.as_u32(), file });
                }
                HistoryAnswer::File | HistoryAnswer::Absent => {}
            }
            if let Some(history) = self.holdings.history(timeline) {
                self.histories.insert(timeline, history);
            }
        }
    }

    /// Numbers between two timelines that are known.
    fn look_for_skipped(&mut self, before: TimelineId, timeline: TimelineId) {
        let (first, last) = (before.as_u32().saturating_add(1), timeline.as_u32().saturating_sub(1));
        if first > last {
            return;
        }
        let answer = self.holdings.history_answer(TimelineId::new(first));
        self.findings.push(match answer {
            HistoryAnswer::Made(_) => Finding::Skipped { first, last },
            _ => {
                Finding::MissingHistory { timeline: first, file: TimelineId::new(first).history_file_name() }
            }
        });
    }

    fn look_at_files(&mut self) {
        let expected = u64::from(self.size.bytes());
        for (&key, file) in self.holdings.files() {
            if !file.partial && file.compression == Compression::None && file.len != expected {
                let finding = Finding::WrongSize { file: file.name.clone(), found: file.len, expected };
                let proof = Proof::broken(self.size.start_of(file.segment), &finding);
                self.useless.insert(key, proof);
                self.findings.push(finding);
            }
            let begin = self.histories.get(&file.timeline).map(TimelineHistory::begin);
            if begin.is_some_and(|begin| file.segment < self.size.segment_of(begin)) {
                self.findings
                    .push(Finding::Stray { file: file.name.clone(), timeline: file.timeline.as_u32() });
            }
        }
    }

    /// The files that can be read, of timelines that are known.
    fn readable(&self) -> impl Iterator<Item = (SegmentKey, &SegmentFile, &TimelineHistory)> {
        self.holdings.files().iter().filter_map(|(&key, file)| {
            let history = self.histories.get(&key.0).filter(|_| !self.useless.contains_key(&key))?;
            Some((key, file, history))
        })
    }

    pub(super) fn segment_count(&self) -> usize {
        self.holdings.files().len() - self.useless.len()
    }

    /// What is remembered of the files that are as they were. Where a timeline begins its first file follows one of an
    /// ancestor's, and counts as it was only if that does, too.
    pub(super) fn remembered(&self, dir: &WalDir, memory: &Memory) -> BTreeMap<SegmentKey, Proof> {
        let is_kept = |file: &SegmentFile, history: &TimelineHistory| memory.proves(dir, file, history);
        let mut kept = BTreeMap::new();
        for (key, file, history) in self.readable() {
            let Some(state) = is_kept(file, history) else { continue };
            let follows = self.ancestor_before(history, key.1).is_none_or(|before| {
                let ancestry = self.histories.get(&before.timeline);
                ancestry.is_some_and(|ancestry| is_kept(before, ancestry).is_some())
            });
            if follows {
                kept.insert(key, Proof::whole(&state));
            }
        }
        kept
    }

    /// Everything that is not remembered as proved, cut into jobs.
    pub(super) fn jobs(
        &self,
        dir: &WalDir,
        memory: &Memory,
        remembered: &BTreeMap<SegmentKey, Proof>,
    ) -> Result<Vec<Job>, WalDirError> {
        let per_job = (JOB_BYTES / u64::from(self.size.bytes())).max(1) as usize;
        let mut jobs: Vec<Job> = Vec::new();
        for (key, file, history) in self.readable() {
            let (timeline, segment) = key;
            if remembered.contains_key(&key) {
                continue;
            }
            let key_before = segment.as_u64().checked_sub(1).map(|number| (timeline, SegmentNo::new(number)));
            if let Some(job) = jobs.last_mut()
                && Some((job.timeline, job.last())) == key_before
                && job.len() < per_job
            {
                job.files.push((file.clone(), self.holdings.form(dir, segment, file.partial)?));
                continue;
            }
            let before = key_before.filter(|key| remembered.contains_key(key));
            let before = before.and_then(|key| self.holdings.files().get(&key));
            let state = before.and_then(|before| memory.proves(dir, before, history));
            // Where the timeline begins, its predecessor is an ancestor's segment.
            let lead_in = self.ancestor_before(history, segment).is_some();
            jobs.push(Job {
                timeline,
                history: history.clone(),
                size: self.size,
                files: vec![(file.clone(), self.holdings.form(dir, segment, file.partial)?)],
                state,
                lead_in,
                next: None,
            });
        }
        for job in &mut jobs {
            let next = (job.timeline, job.last().next());
            let file = self.holdings.files().get(&next).filter(|_| !self.useless.contains_key(&next));
            job.next = match file {
                Some(file) => Some((file.clone(), self.holdings.form(dir, next.1, file.partial)?)),
                None => None,
            };
        }
        Ok(jobs)
    }

    /// The file before a segment, if it is an ancestor's because the timeline has none itself.
    fn ancestor_before(&self, history: &TimelineHistory, segment: SegmentNo) -> Option<&SegmentFile> {
        let before = segment.as_u64().checked_sub(1).map(SegmentNo::new)?;
        if self.holdings.files().contains_key(&(history.timeline(), before)) {
            return None;
        }
        let ancestor = self.holdings.owner(history, before);
        let file = self.holdings.files().get(&(ancestor, before))?;
        (!file.partial && !self.useless.contains_key(&(ancestor, before))).then_some(file)
    }

    /// Where each timeline's WAL begins here.
    pub(super) fn first_of(&self, timeline: TimelineId) -> Option<Lsn> {
        let all = (timeline, SegmentNo::new(0))..=(timeline, SegmentNo::new(u64::MAX));
        let first = self.holdings.files().range(all).next().map(|(&(_, segment), _)| segment);
        first.map(|segment| self.size.start_of(segment))
    }
}
