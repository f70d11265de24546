//! Validating a few segments that follow each other on one timeline.

use std::sync::atomic::{AtomicU64, Ordering};

use replication::waldir::{SegmentFile, SegmentReader, WalDir, WalDirError};
use wal::page::PAGE_SIZE;
use wal::{
    Expectations, Lsn, SegmentNo, SegmentSize, Stop, Tail, TimelineHistory, TimelineId, Validator,
    ValidatorState, WalError, Walk,
};

use super::SegmentKey;
use super::finding::Finding;
use super::memory::{Proved, Stat};
use super::verdict::{Proof, Proven};

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
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// What the files have turned out to be; of one that was read into from before, if that went wrong.
    pub(super) proofs: Vec<(SegmentKey, Proof)>,
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
            progress,
            result: JobResult {
                records: 0,
                bytes: 0,
                proofs: Vec::new(),
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
    progress: &'a AtomicU64,
    result: JobResult,
}

impl Run<'_> {
    fn all(&mut self) {
        let size = self.job.size;
        let mut walk = Some(self.beginning());
        for file in &self.job.files {
            let start = size.start_of(file.segment);
            let mut current = match walk.take() {
                Some(walk) => walk,
                None => self.fresh(start),
            };
            let before = current.validator().records();
            // Taken before reading: a file that changes meanwhile will not match it.
            let stat = Stat::of(self.dir, &file.name);
            let outcome = self.walk_to(&mut current, size.end_of(file.segment));
            self.result.records += current.validator().records().saturating_sub(before);
            match outcome {
                Ok(()) => {
                    self.remember(file, stat, current.validator());
                    walk = Some(current);
                }
                Err(stop) => self.stopped(file, stop, current.validator()),
            }
        }
        if let Some(walk) = walk
            && let Some(next) = &self.job.next
        {
            self.join_next(next, walk);
        }
    }

    fn fresh(&self, start: Lsn) -> Walk {
        Walk::new(Validator::new(start, Expectations::new(self.job.size, self.job.history.clone())))
    }

    /// A walk at the first segment's start that knows as much as there is to know of what comes before.
    fn beginning(&mut self) -> Walk {
        let job = self.job;
        let start = job.size.start_of(job.first());
        let expect = Expectations::new(job.size, job.history.clone());
        let earlier = match job.state {
            Some(state) => Validator::resume(state, expect).ok().map(Walk::new),
            None if job.lead_in => {
                Some(self.fresh(Lsn::new(start.as_u64().saturating_sub(u64::from(job.size.bytes())))))
            }
            None => None,
        };
        if let Some(mut walk) = earlier
            && self.walk_to(&mut walk, start).is_ok()
        {
            return walk;
        }
        // What is wrong before is told by whoever reads it.
        self.fresh(start)
    }

    /// Walks up to `end`. Where the timeline began, a record must have ended.
    fn walk_to(&mut self, walk: &mut Walk, end: Lsn) -> Result<(), Halt> {
        let begin = self.job.history.begin();
        if (walk.validator().position()..end).contains(&begin) && begin > walk.validator().position() {
            self.advance(walk, begin)?;
            let validator = walk.validator();
            let on_new_page = begin.as_u64().is_multiple_of(PAGE_SIZE as u64);
            if validator.last_record().is_some() && validator.record_end() != begin && !on_new_page {
                return Err(Halt::Begin(begin));
            }
        }
        self.advance(walk, end)
    }

    fn advance(&mut self, walk: &mut Walk, end: Lsn) -> Result<(), Halt> {
        let first = self.job.size.start_of(self.job.first());
        let (job, reader, progress) = (self.job, &mut self.reader, self.progress);
        let before = walk.read();
        let mut source = |at: Lsn, buffer: &mut [u8]| {
            let timeline = if at >= first { job.timeline } else { job.history.timeline_at(at) };
            let count = reader.read_at(timeline, at, buffer)?;
            progress.fetch_add(count as u64, Ordering::Relaxed);
            Ok(count)
        };
        let outcome = walk.advance(&mut source, end);
        self.result.bytes += walk.read() - before;
        outcome.map_err(Halt::At)
    }

    /// Reads on into the next segment until a record that begins there is complete: the seam between the two, prev-link
    /// and continued record, is then proved.
    fn join_next(&mut self, next: &SegmentFile, mut walk: Walk) {
        let boundary = self.job.size.end_of(self.job.last());
        let end = self.job.size.end_of(next.segment);
        let is_joined = |walk: &Walk| walk.validator().last_record().is_some_and(|last| last >= boundary);
        while !is_joined(&walk) && walk.validator().position() < end {
            let step = walk.validator().position().saturating_add(PAGE_SIZE as u64).min(end);
            match self.walk_to(&mut walk, step) {
                Ok(()) => {}
                Err(Halt::At(Stop::Invalid(_))) if is_joined(&walk) => return,
                Err(Halt::At(Stop::Invalid(error)))
                    if self.is_clean_end(next, walk.validator(), Some(&error)) =>
                {
                    return;
                }
                Err(Halt::At(Stop::Invalid(error))) => {
                    self.broken(next, walk.validator().record_end(), self.damage(next, &error));
                    // Neither side of the seam counts as proved.
                    let last = self.job.last().file_name(self.job.timeline, self.job.size);
                    self.result.proved.retain(|(name, _)| !name.starts_with(&last));
                    return;
                }
                // In the next segment itself; its own job tells.
                Err(_) => return,
            }
        }
    }

    fn remember(&mut self, file: &SegmentFile, stat: Option<Stat>, validator: &Validator) {
        self.proof(file, validator, Proven::Whole);
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

    fn proof(&mut self, file: &SegmentFile, validator: &Validator, content: Proven) {
        let (record_end, system_id) = (validator.record_end(), validator.system_id());
        let key = (file.timeline, file.segment);
        self.result.proofs.push((key, Proof { record_end, content, system_id }));
    }

    fn broken(&mut self, file: &SegmentFile, end: Lsn, finding: Finding) {
        self.result.proofs.push(((file.timeline, file.segment), Proof::broken(end, &finding)));
        self.result.findings.push(finding);
    }

    /// A segment that could not be validated to its end.
    fn stopped(&mut self, file: &SegmentFile, halt: Halt, validator: &Validator) {
        let name = file.name.clone();
        let unreadable = |reason: String| Finding::Unreadable { file: name.clone(), reason };
        let error = match halt {
            Halt::Begin(begin) => {
                let (timeline, switch_point) = (file.timeline.as_u32(), begin.to_string());
                let finding = Finding::BadBegin { file: name, timeline, switch_point };
                return self.broken(file, validator.record_end(), finding);
            }
            Halt::At(Stop::Unreadable(error)) => {
                return self.broken(file, validator.record_end(), unreadable(error.to_string()));
            }
            Halt::At(Stop::Ended) if !file.partial => {
                let finding = unreadable("it ends before its segment does".to_owned());
                return self.broken(file, validator.record_end(), finding);
            }
            Halt::At(Stop::Ended) => None,
            Halt::At(Stop::Invalid(error)) => Some(error),
        };
        if self.is_clean_end(file, validator, error.as_ref()) {
            self.proof(file, validator, Proven::Beginning);
            let end = validator.record_end().to_string();
            return self.result.findings.push(Finding::Unfinished { file: name, end });
        }
        let finding = match &error {
            Some(error) => self.damage(file, error),
            None => Finding::Damaged {
                file: name,
                lsn: validator.record_end().to_string(),
                reason: wal::WalErrorKind::HiddenEnd.to_string(),
            },
        };
        self.broken(file, validator.record_end(), finding);
    }

    /// Names the file in which it shows, and the one in which the record begins, if that is another: either may be damaged.
    fn damage(&self, file: &SegmentFile, error: &WalError) -> Finding {
        let size = self.job.size;
        let (lsn, mut reason) = (error.lsn.to_string(), error.reason.to_string());
        if error.lsn < size.start_of(file.segment) {
            let timeline = self.job.history.timeline_at(error.lsn);
            let begin = size.segment_of(error.lsn).file_name(timeline, size);
            reason = format!("{reason}, in a record that begins in \"{begin}\"");
        }
        Finding::Damaged { file: file.name.clone(), lsn, reason }
    }

    /// Whether an unfinished segment that stops being valid simply ends there. If it cannot be read, it does not.
    fn is_clean_end(&mut self, file: &SegmentFile, validator: &Validator, error: Option<&WalError>) -> bool {
        if !file.partial {
            return false;
        }
        let size = self.job.size;
        // The record that has not come whole may have begun in a segment before; one that is even longer is not looked at.
        let earliest = Lsn::new(size.start_of(file.segment).as_u64().saturating_sub(u64::from(size.bytes())));
        let record = validator.record_under_way();
        if record.is_some_and(|record| record < earliest) {
            return true;
        }
        let from = record.unwrap_or(size.start_of(file.segment));
        let start = Lsn::new(from.as_u64() / PAGE_SIZE as u64 * PAGE_SIZE as u64);
        let mut log = vec![0; size.end_of(file.segment).bytes_since(start) as usize];
        let mut filled = 0;
        while let Some(rest) = log.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = start.saturating_add(filled as u64);
            let own = at >= size.start_of(file.segment);
            let timeline = if own { file.timeline } else { self.job.history.timeline_at(at) };
            match self.reader.read_at(timeline, at, rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(_) => return false,
            }
        }
        log.truncate(filled);
        Tail { log: &log, start, segment_size: size, record, stopped_by: error }.is_clean()
    }
}

/// Why a segment was not walked to its end.
enum Halt {
    /// The walk itself stopped.
    At(Stop<WalDirError>),
    /// No record ends where the timeline is said to begin.
    Begin(Lsn),
}
