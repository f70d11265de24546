//! Validating a few segments that follow each other on one timeline.

use std::sync::atomic::{AtomicU64, Ordering};

use replication::waldir::{
    Form, Halt, LineWalk, SegmentFile, SegmentReader, WalDir, WalDirError, Worth, page_at_fault,
};
use wal::page::PAGE_SIZE;
use wal::{
    LogBytes, Lsn, SegmentNo, SegmentSize, Stop, TimelineHistory, TimelineId, Validator, ValidatorState,
    WalError,
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
    /// The segments, in order and without gaps, and how each may end. Never empty.
    pub(super) files: Vec<(SegmentFile, Form)>,
    /// What is proved of the segment before them.
    pub(super) state: Option<ValidatorState>,
    /// The segment before them is an ancestor's, and is read first.
    pub(super) lead_in: bool,
    /// The segment of the timeline that follows, which another job has.
    pub(super) next: Option<(SegmentFile, Form)>,
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
        self.files.first().map_or(SegmentNo::new(0), |(file, _)| file.segment)
    }

    pub(super) fn last(&self) -> SegmentNo {
        self.files.last().map_or(SegmentNo::new(0), |(file, _)| file.segment)
    }

    /// Validates, counting in `progress` what was read.
    pub(super) fn run(&self, dir: &WalDir, progress: &AtomicU64) -> JobResult {
        let mut run = Run {
            job: self,
            dir,
            bytes: JobBytes {
                job: self,
                reader: SegmentReader::new(dir.clone(), self.size, self.history.clone()),
                progress,
            },
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
    bytes: JobBytes<'a>,
    result: JobResult,
}

/// The bytes of a job's segments, and of what comes before and after them on its line.
struct JobBytes<'a> {
    job: &'a Job,
    reader: SegmentReader,
    progress: &'a AtomicU64,
}

impl LogBytes for JobBytes<'_> {
    type Error = WalDirError;

    fn read_at(&mut self, at: Lsn, buffer: &mut [u8]) -> Result<usize, WalDirError> {
        let job = self.job;
        let own = at >= job.size.start_of(job.first());
        let timeline = if own { job.timeline } else { job.history.timeline_at(at) };
        let count = self.reader.read_at(timeline, at, buffer)?;
        self.progress.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Run<'_> {
    fn all(&mut self) {
        let size = self.job.size;
        let mut walk = Some(self.beginning());
        for (file, form) in &self.job.files {
            let mut current = match walk.take() {
                Some(walk) => walk,
                None => LineWalk::new(size.start_of(file.segment), size, &self.job.history).unpacking(),
            };
            let (records, read) = (current.validator().records(), current.read());
            // Taken before reading: a file that changes meanwhile will not match it.
            let stat = Stat::of(self.dir, &file.name);
            let worth = current.segment(&mut self.bytes, file.segment, size.end_of(file.segment), *form);
            self.result.records += current.validator().records().saturating_sub(records);
            self.result.bytes += current.read() - read;
            if matches!(worth, Worth::Whole) {
                self.remember(file, stat, current.validator());
                walk = Some(current);
            } else {
                self.stopped(file, worth, &current);
            }
        }
        if let Some(walk) = walk
            && let Some((next, form)) = &self.job.next
        {
            self.join_next(next, *form, walk);
        }
    }

    /// A walk at the first segment's start that knows as much as there is to know of what comes before.
    fn beginning(&mut self) -> LineWalk {
        let job = self.job;
        let start = job.size.start_of(job.first());
        // What is wrong before is told by whoever reads it.
        let fresh = || LineWalk::new(start, job.size, &job.history);
        let walk = match job.state {
            Some(state) => LineWalk::resume(state, job.size, &job.history)
                .and_then(|mut walk| walk.reach(&mut self.bytes, start).is_ok().then_some(walk))
                .unwrap_or_else(fresh),
            None if job.lead_in => LineWalk::led_in(&mut self.bytes, job.first(), job.size, &job.history),
            None => fresh(),
        };
        self.result.bytes += walk.read();
        walk.unpacking()
    }

    /// Reads on into the next segment until a record that begins there is complete: the seam between the two, prev-link
    /// and continued record, is then proved.
    fn join_next(&mut self, next: &SegmentFile, form: Form, mut walk: LineWalk) {
        let boundary = self.job.size.end_of(self.job.last());
        let end = self.job.size.end_of(next.segment);
        let read = walk.read();
        let is_joined = |walk: &LineWalk| walk.validator().last_record().is_some_and(|last| last >= boundary);
        while !is_joined(&walk) && walk.validator().position() < end {
            let step = walk.validator().position().saturating_add(PAGE_SIZE as u64).min(end);
            let error = match walk.reach(&mut self.bytes, step) {
                Ok(()) => continue,
                Err(Halt::Stopped(Stop::Invalid(error))) if !is_joined(&walk) => error,
                // In the next segment itself; its own job tells.
                Err(_) => break,
            };
            if !walk.ends_cleanly(&mut self.bytes, next.segment, end, form, Some(&error)) {
                self.broken(next, walk.record_end(), page_at_fault(&error), self.damage(next, &error));
                // Neither side of the seam counts as proved.
                let last = self.job.last().file_name(self.job.timeline, self.job.size);
                self.result.proved.retain(|(name, _)| !name.starts_with(&last));
            }
            break;
        }
        self.result.bytes += walk.read() - read;
    }

    fn remember(&mut self, file: &SegmentFile, stat: Option<Stat>, validator: &Validator) {
        self.proof(file, validator, Proven::Whole, None);
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

    fn proof(&mut self, file: &SegmentFile, validator: &Validator, content: Proven, page: Option<Lsn>) {
        let (record_end, system_id) = (validator.record_end(), validator.system_id());
        let key = (file.timeline, file.segment);
        self.result.proofs.push((key, Proof { record_end, page, content, system_id }));
    }

    fn broken(&mut self, file: &SegmentFile, end: Lsn, page: Option<Lsn>, finding: Finding) {
        let proof = Proof { page, ..Proof::broken(end, &finding) };
        self.result.proofs.push(((file.timeline, file.segment), proof));
        self.result.findings.push(finding);
    }

    /// A segment that was not walked to its end.
    fn stopped(&mut self, file: &SegmentFile, worth: Worth<WalDirError>, walk: &LineWalk) {
        let unreadable = |reason: String| Finding::Unreadable { file: file.name.clone(), reason };
        let (finding, page) = match worth {
            Worth::Whole => return,
            Worth::Beginning(error) => {
                let page = error.as_ref().and_then(page_at_fault);
                self.proof(file, walk.validator(), Proven::Beginning, page);
                let end = walk.record_end().to_string();
                return self.result.findings.push(Finding::Unfinished { file: file.name.clone(), end });
            }
            Worth::Damaged(error) => (self.damage(file, &error), page_at_fault(&error)),
            Worth::Begin(begin) => {
                let (timeline, switch_point) = (file.timeline.as_u32(), begin.to_string());
                (Finding::BadBegin { file: file.name.clone(), timeline, switch_point }, None)
            }
            Worth::Unreadable(error) => (unreadable(error.to_string()), None),
            Worth::Short => (unreadable("it ends before its segment does".to_owned()), None),
        };
        self.broken(file, walk.record_end(), page, finding);
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
}
