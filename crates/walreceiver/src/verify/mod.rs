//! A whole archive, record by record: `walreceiver verify`.
//!
//! Every timeline's segments are validated in jobs of a few segments, on as many threads as asked for. A job starts
//! without knowing the record before it, and ends by reading on until it has seen a whole record that begins after its
//! last segment: so every record, every prev-link and every continuation is checked by somebody, whatever the
//! division. What was proved is remembered (`memory`), and a file that has not changed since is not read again.
//!
//! | file | |
//! |---|---|
//! | `plan` | names alone: runs of segments, holes, histories; what there is to read |
//! | `job` | validating a few segments |
//! | `tail` | whether an unfinished segment ends, or is damaged |
//! | `forks` | timelines against each other |
//! | `memory` | `walship.verified` |

mod finding;
mod forks;
mod job;
mod memory;
mod plan;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use replication::waldir::{WalDir, WalDirError};
use runtime::sync::Mutex;
use serde::Serialize;
use wal::{Lsn, SegmentNo, TimelineId};

pub use finding::Finding;
pub use memory::MEMORY_FILE;

use job::{Job, JobResult};
use memory::Memory;
use plan::Plan;

/// How to verify.
#[derive(Debug)]
pub struct VerifyOptions<'a> {
    /// Read everything again, whatever was proved before.
    pub full: bool,
    /// How many threads.
    pub jobs: NonZero<usize>,
    /// Counted up while reading, for whoever shows progress.
    pub progress: &'a Progress,
}

/// How far a verification is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of WAL to be read.
    pub total: AtomicU64,
    /// Bytes of WAL read.
    pub done: AtomicU64,
}

/// What a verification found out.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Verification {
    /// Whether everything is proved: no finding is a failure.
    pub proved: bool,
    /// Segment files looked at.
    pub segments: usize,
    /// Of these, how many had not changed since they were proved.
    pub remembered: usize,
    /// Bytes of WAL read.
    pub bytes: u64,
    /// Complete records in what was read.
    pub records: u64,
    /// What there is of each timeline.
    pub timelines: Vec<TimelineSummary>,
    /// Everything worth telling, failures and notices.
    pub findings: Vec<Finding>,
}

/// What an archive has of a timeline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TimelineSummary {
    /// Which timeline.
    pub timeline: u32,
    /// The start of its first segment.
    pub start: String,
    /// The end of its last valid record, or of its last segment if that was not read again.
    pub end: String,
}

/// Verifies everything in `dir`.
pub fn verify(dir: &WalDir, options: &VerifyOptions<'_>) -> Result<Verification, WalDirError> {
    dir.disk()
        .read_dir(dir.path())
        .map_err(|source| WalDirError::Io { path: dir.path().to_owned(), source })?;
    let Some(size) = dir.segment_size()? else {
        return Ok(Verification { findings: vec![Finding::Empty], ..Verification::default() });
    };
    let plan = Plan::make(dir, size)?;
    let memory = if options.full { Memory::default() } else { Memory::load(dir) };
    let jobs = plan.jobs(dir, &memory);
    let mut result = Verification {
        segments: plan.segment_count(),
        findings: plan.findings.clone(),
        ..Verification::default()
    };
    result.remembered = result.segments.saturating_sub(jobs.iter().map(Job::len).sum());
    let total: u64 = jobs.iter().map(|job| job.len() as u64 * u64::from(size.bytes())).sum();
    options.progress.total.store(total, Ordering::Relaxed);

    let mut ends: BTreeMap<TimelineId, Lsn> = BTreeMap::new();
    let mut proved = memory.kept(&plan, dir);
    for done in run_all(dir, jobs, options) {
        result.records += done.records;
        result.bytes += done.bytes;
        ends.insert(done.timeline, done.end.max(ends.get(&done.timeline).copied().unwrap_or(Lsn::INVALID)));
        proved.extend(done.proved);
        result.findings.extend(done.findings);
    }
    result.findings.extend(forks::find(dir, &plan, &ends)?);
    result.timelines = plan.summaries(&ends);
    result.proved = result.findings.iter().all(|finding| !finding.is_failure());
    proved.save(dir);
    Ok(result)
}

/// Runs the jobs on their threads; results in the order of the jobs.
fn run_all(dir: &WalDir, jobs: Vec<Job>, options: &VerifyOptions<'_>) -> Vec<JobResult> {
    let threads = options.jobs.get().min(jobs.len());
    let queue: Mutex<VecDeque<(usize, Job)>> = Mutex::new(jobs.into_iter().enumerate().collect());
    let results = Mutex::new(Vec::new());
    let take = || queue.lock().pop_front();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, job)) = take() {
                    let result = job.run(dir, &options.progress.done);
                    results.lock().push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner();
    results.sort_by_key(|&(number, _)| number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// A segment of a timeline.
type SegmentKey = (TimelineId, SegmentNo);
