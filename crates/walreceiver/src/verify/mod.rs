//! A whole archive, record by record: `walreceiver verify`.
//!
//! Every timeline's segments are validated in jobs of a few segments, on as many threads as asked for. A job starts
//! without knowing the record before it, and ends by reading on until it has seen a whole record that begins after its
//! last segment: so every record, every prev-link and every continuation is checked by somebody, whatever the
//! division. What was proved is remembered (`memory`), and a file that has not changed since is not read again.
//!
//! | file | |
//! |---|---|
//! | `plan` | names alone: histories, lengths; what there is to read |
//! | `job` | validating a few segments |
//! | `verdict` | from where a server gets to where |
//! | `forks` | timelines against each other |
//! | `memory` | `walship.verified` |

mod finding;
mod forks;
mod job;
mod memory;
mod plan;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use replication::waldir::{STATUS_FILE, StatusReader, WalDir, WalDirError};
use runtime::sync::Mutex;
use serde::Serialize;
use wal::{Lsn, SegmentNo, SystemId, TimelineId};

pub use finding::Finding;
pub use memory::MEMORY_FILE;
pub use verdict::Stretch;

use job::{Job, JobResult};
use memory::Memory;
use plan::Plan;
use verdict::{Line, Proof, Proven};

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
    /// The end of its last valid record.
    pub end: String,
    /// Where a server gets that restores with this timeline as its target, ancestors' WAL included: the stretches of WAL
    /// that can be had, oldest first.
    pub stretches: Vec<Stretch>,
}

/// Verifies everything in `dir`.
pub fn verify(dir: &WalDir, options: &VerifyOptions<'_>) -> Result<Verification, WalDirError> {
    dir.disk()
        .read_dir(dir.path())
        .map_err(|source| WalDirError::Io { path: dir.path().to_owned(), source })?;
    let Some(size) = dir.segment_size()? else {
        return Ok(Verification { findings: vec![Finding::Empty], ..Verification::default() });
    };
    // Before the files are looked at: what is durable by now must be among them.
    let status = StatusReader::open(dir);
    let status = status.map_err(|source| WalDirError::Io { path: dir.path().join(STATUS_FILE), source })?;
    let live = status.and_then(|reader| reader.read().live().copied());
    let plan = Plan::make(dir, size)?;
    let memory = if options.full { Memory::default() } else { Memory::load(dir) };
    let mut proofs = plan.remembered(dir, &memory);
    let jobs = plan.jobs(dir, &memory, &proofs)?;
    let mut result = Verification {
        segments: plan.segment_count(),
        remembered: proofs.len(),
        findings: plan.findings.clone(),
        ..Verification::default()
    };
    let total: u64 = jobs.iter().map(|job| job.len() as u64 * u64::from(size.bytes())).sum();
    options.progress.total.store(total, Ordering::Relaxed);

    let files = plan.holdings.files();
    let names = proofs.keys().filter_map(|key| files.get(key)).map(|file| file.name.as_str());
    let mut proved = memory.kept(names);
    proofs.extend(plan.useless.clone());
    for done in run_all(dir, jobs, options) {
        result.records += done.records;
        result.bytes += done.bytes;
        done.proofs.into_iter().for_each(|(key, proof)| add_proof(&mut proofs, key, proof));
        proved.extend(done.proved);
        result.findings.extend(done.findings);
    }
    result.findings.extend(foreign(&plan, &mut proofs));
    if let Some(status) = live.filter(|status| status.flush.is_valid()) {
        let key = (status.timeline, size.segment_ending_at(status.flush));
        if !files.contains_key(&key) && status.segment_size == Some(size) {
            let file = key.1.file_name(key.0, size);
            result.findings.push(Finding::Removed { file, flush: status.flush.to_string() });
        }
    }
    let ends = ends(&proofs);
    result.findings.extend(forks::find(dir, &plan, &ends)?);
    judge(&plan, &proofs, &ends, &mut result);
    result.proved = result.findings.iter().all(|finding| !finding.is_failure());
    proved.save(dir);
    Ok(result)
}

/// A file that is damaged is so whoever else has read the rest of it.
fn add_proof(proofs: &mut BTreeMap<SegmentKey, Proof>, key: SegmentKey, proof: Proof) {
    let known = proofs.get(&key);
    if known.is_none_or(|known| !matches!(known.content, Proven::Broken(_))) {
        proofs.insert(key, proof);
    }
}

/// The end of the last valid record of each timeline.
fn ends(proofs: &BTreeMap<SegmentKey, Proof>) -> BTreeMap<TimelineId, Lsn> {
    let mut ends: BTreeMap<TimelineId, Lsn> = BTreeMap::new();
    for (&(timeline, _), proof) in proofs {
        let end = ends.entry(timeline).or_default();
        *end = proof.record_end.max(*end);
    }
    ends
}

/// Segments of another system than most.
fn foreign(plan: &Plan, proofs: &mut BTreeMap<SegmentKey, Proof>) -> Vec<Finding> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for system in proofs.values().filter_map(|proof| proof.system_id) {
        *counts.entry(system.as_u64()).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|&(_, count)| count).map(|(system, _)| SystemId::new(system));
    let mut findings = Vec::new();
    for (key, proof) in proofs {
        let (Some(system), Some(expected), Some(file)) =
            (proof.system_id, most, plan.holdings.files().get(key))
        else {
            continue;
        };
        if system != expected && !matches!(proof.content, Proven::Broken(_)) {
            let (system, expected) = (system.to_string(), expected.to_string());
            let finding = Finding::Foreign { file: file.name.clone(), system, expected };
            *proof = Proof::broken(plan.size.start_of(file.segment), &finding);
            findings.push(finding);
        }
    }
    findings
}

/// Where a server gets along each line of history.
fn judge(
    plan: &Plan,
    proofs: &BTreeMap<SegmentKey, Proof>,
    ends: &BTreeMap<TimelineId, Lsn>,
    result: &mut Verification,
) {
    let mut holes = BTreeMap::new();
    for (&timeline, history) in &plan.histories {
        let line = Line { holdings: &plan.holdings, history, proofs };
        let (stretches, found) = line.judge();
        holes.extend(found);
        // Of a timeline without WAL, where it begins.
        let begin = Some(history.begin()).filter(|begin| begin.is_valid());
        let Some(start) = plan.first_of(timeline).or(begin) else { continue };
        let end = ends.get(&timeline).copied().unwrap_or(start);
        let (start, end) = (start.to_string(), end.to_string());
        result.timelines.push(TimelineSummary { timeline: timeline.as_u32(), start, end, stretches });
    }
    result.findings.extend(verdict::merge(holes));
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
