//! Validating a few segments that follow each other on one timeline.

use std::sync::atomic::{AtomicU64, Ordering};

use replication::waldir::{SegmentFile, SegmentReader, WalDir, WalDirError};
use wal::page::PAGE_SIZE;
use wal::{
    Expectations, Lsn, SegmentNo, SegmentSize, TimelineHistory, TimelineId, Validator, ValidatorState,
};

use super::finding::Finding;
use super::memory::{Proved, Stat};
use super::tail;

/// Small enough to stay in a core's cache between being read and being validated.
const CHUNK: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) timeline: TimelineId,
    pub(super) history: TimelineHistory,
    pub(super) size: SegmentSize,
    /// The segments, in order and without gaps. Never empty.
    pub(super) files: Vec<SegmentFile>,
    /// What is proved of the segment before them.
    pub(super) state: Option<ValidatorState>,
    /// The segment before them is an ancestor's, and is read first.
    pub(super) lead_in: bool,
    /// The segment of the timeline that follows, which another job has.
    pub(super) next: Option<SegmentFile>,
}

#[derive(Debug)]
pub(super) struct JobResult {
    pub(super) timeline: TimelineId,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// The end of the last valid record.
    pub(super) end: Lsn,
    pub(super) proved: Vec<(String, Proved)>,
    pub(super) findings: Vec<Finding>,
}

impl Job {
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    fn first(&self) -> SegmentNo {
        self.files.first().map_or(SegmentNo::new(0), |file| file.segment)
    }

    pub(super) fn last(&self) -> SegmentNo {
        self.files.last().map_or(SegmentNo::new(0), |file| file.segment)
    }

    /// Validates, counting in `progress` what was read.
    pub(super) fn run(&self, dir: &WalDir, progress: &AtomicU64) -> JobResult {
        let mut run = Run {
            job: self,
            dir,
            reader: SegmentReader::new(dir.clone(), self.size, self.history.clone()),
            buffer: vec![0; CHUNK],
            progress,
            result: JobResult {
                timeline: self.timeline,
                records: 0,
                bytes: 0,
                end: self.size.start_of(self.first()),
                proved: Vec::new(),
                findings: Vec::new(),
            },
        };
        run.all();
        run.result
    }
}

struct Run<'a> {
    job: &'a Job,
    dir: &'a WalDir,
    reader: SegmentReader,
    buffer: Vec<u8>,
    progress: &'a AtomicU64,
    result: JobResult,
}

enum Stop {
    Invalid(wal::WalError),
    Unreadable(WalDirError),
    /// The file ends here.
    Short,
}

impl Run<'_> {
    fn all(&mut self) {
        let size = self.job.size;
        let mut validator = Some(self.beginning());
        for file in &self.job.files {
            let start = size.start_of(file.segment);
            let mut current = match validator.take() {
                Some(validator) => validator,
                None => self.fresh(start),
            };
            let before = current.records();
            // Taken before reading: a file that changes meanwhile will not match it.
            let stat = Stat::of(self.dir, &file.name);
            let outcome = self.feed_to(&mut current, size.end_of(file.segment), CHUNK);
            self.result.records += current.records().saturating_sub(before);
            self.result.end = self.result.end.max(current.record_end());
            match outcome {
                Ok(()) => {
                    self.remember(file, stat, &current);
                    validator = Some(current);
                }
                Err(stop) => self.stopped(file, stop, &current),
            }
        }
        if let Some(validator) = validator
            && let Some(next) = &self.job.next
        {
            self.join_next(next, validator);
        }
    }

    fn fresh(&self, start: Lsn) -> Validator {
        Validator::new(start, Expectations::new(self.job.size, self.job.history.clone()))
    }

    /// A validator at the first segment's start that knows as much as there is to know of what comes before.
    fn beginning(&mut self) -> Validator {
        let job = self.job;
        let start = job.size.start_of(job.first());
        let expect = Expectations::new(job.size, job.history.clone());
        let earlier = match job.state {
            Some(state) => Validator::resume(state, expect).ok(),
            None if job.lead_in => {
                let before = Lsn::new(start.as_u64().saturating_sub(u64::from(job.size.bytes())));
                Some(self.fresh(before))
            }
            None => None,
        };
        if let Some(mut validator) = earlier
            && self.feed_to(&mut validator, start, CHUNK).is_ok()
        {
            return validator;
        }
        // What is wrong before is told by whoever reads it.
        self.fresh(start)
    }

    fn feed_to(&mut self, validator: &mut Validator, end: Lsn, step: usize) -> Result<(), Stop> {
        let first = self.job.size.start_of(self.job.first());
        while validator.position() < end {
            let at = validator.position();
            let room = (end.bytes_since(at) as usize).min(step).min(self.buffer.len());
            let timeline = if at >= first { self.job.timeline } else { self.job.history.timeline_at(at) };
            let buffer = self.buffer.split_at_mut(room).0;
            let count = self.reader.read_at(timeline, at, buffer).map_err(Stop::Unreadable)?;
            if count == 0 {
                return Err(Stop::Short);
            }
            self.result.bytes += count as u64;
            self.progress.fetch_add(count as u64, Ordering::Relaxed);
            validator.feed(buffer.split_at(count).0).map_err(Stop::Invalid)?;
        }
        Ok(())
    }

    /// Reads on into the next segment until a record that begins there is complete: the seam between the two, prev-link
    /// and continued record, is then proved.
    fn join_next(&mut self, next: &SegmentFile, mut validator: Validator) {
        let boundary = self.job.size.end_of(self.job.last());
        let end = self.job.size.end_of(next.segment);
        let is_joined = |validator: &Validator| validator.last_record().is_some_and(|last| last >= boundary);
        while !is_joined(&validator) && validator.position() < end {
            let step = validator.position().saturating_add(PAGE_SIZE as u64).min(end);
            match self.feed_to(&mut validator, step, PAGE_SIZE) {
                Ok(()) => {}
                // In the next segment itself; its own job tells.
                Err(Stop::Short | Stop::Unreadable(_)) => return,
                Err(Stop::Invalid(_)) if is_joined(&validator) => return,
                Err(Stop::Invalid(error)) if tail::is_clean_end(&mut self.reader, next, &error) => return,
                Err(Stop::Invalid(error)) => {
                    self.result.findings.push(Finding::Damaged {
                        file: next.name.clone(),
                        lsn: error.lsn.to_string(),
                        reason: error.reason.to_string(),
                    });
                    // Neither side of the seam counts as proved.
                    let last = self.job.last().file_name(self.job.timeline, self.job.size);
                    self.result.proved.retain(|(name, _)| !name.starts_with(&last));
                    return;
                }
            }
        }
    }

    fn remember(&mut self, file: &SegmentFile, stat: Option<Stat>, validator: &Validator) {
        if file.partial {
            let end = validator.record_end().to_string();
            self.result.findings.push(Finding::Unfinished { file: file.name.clone(), end });
            return;
        }
        if let Some(stat) = stat
            && Stat::of(self.dir, &file.name) == Some(stat)
        {
            let proved = Proved::new(stat, &self.job.history, validator.checkpoint());
            self.result.proved.push((file.name.clone(), proved));
        }
    }

    /// A segment that could not be validated to its end.
    fn stopped(&mut self, file: &SegmentFile, stop: Stop, validator: &Validator) {
        let name = file.name.clone();
        let unfinished =
            || Finding::Unfinished { file: name.clone(), end: validator.record_end().to_string() };
        let finding = match stop {
            Stop::Unreadable(error) => Finding::Unreadable { file: name, reason: error.to_string() },
            Stop::Short if file.partial => unfinished(),
            Stop::Short => {
                Finding::Unreadable { file: name, reason: "it ends before its segment does".to_owned() }
            }
            Stop::Invalid(error) => {
                if tail::is_clean_end(&mut self.reader, file, &error) {
                    unfinished()
                } else {
                    let (lsn, reason) = (error.lsn.to_string(), error.reason.to_string());
                    Finding::Damaged { file: name, lsn, reason }
                }
            }
        };
        self.result.findings.push(finding);
    }
}
