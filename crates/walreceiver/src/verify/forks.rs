//! Timelines against each other: what a child copied from its parent, and what the parent did afterwards.

use std::collections::BTreeMap;

use replication::waldir::{SegmentReader, WalDir, WalDirError};
use wal::{HistoryEntry, Lsn, TimelineHistory, TimelineId};

use super::finding::Finding;
use super::plan::Plan;

const CHUNK: usize = 256 << 10;

/// Compares every timeline with its parent. `ends` says where the records of the timelines end that were read.
pub(super) fn find(
    dir: &WalDir,
    plan: &Plan,
    ends: &BTreeMap<TimelineId, Lsn>,
) -> Result<Vec<Finding>, WalDirError> {
    let mut findings = Vec::new();
    for (&timeline, history) in &plan.histories {
        let Some(parent) = history.entries().last() else { continue };
        if let Some(finding) = divergence(dir, plan, timeline, parent)? {
            findings.push(finding);
        }
        if let Some(&end) = ends.get(&parent.timeline)
            && end > parent.switch_point
        {
            findings.push(Finding::Fork {
                timeline: parent.timeline.as_u32(),
                child: timeline.as_u32(),
                switch_point: parent.switch_point.to_string(),
                end: end.to_string(),
            });
        }
    }
    Ok(findings)
}

/// The head of the segment in which the timeline began is the parent's, byte for byte.
fn divergence(
    dir: &WalDir,
    plan: &Plan,
    timeline: TimelineId,
    parent: &HistoryEntry,
) -> Result<Option<Finding>, WalDirError> {
    let size = plan.size;
    let segment = size.segment_of(parent.switch_point);
    let files = plan.holdings.files();
    let (Some(own), true) =
        (files.get(&(timeline, segment)), files.contains_key(&(parent.timeline, segment)))
    else {
        return Ok(None);
    };
    // With histories that know of no ancestors, each file is read as it is.
    let reader = |of| SegmentReader::new(dir.clone(), size, TimelineHistory::without_ancestors(of));
    let (mut ours, mut theirs) = (reader(timeline), reader(parent.timeline));
    let mut at = size.start_of(segment);
    while at < parent.switch_point {
        let len = (parent.switch_point.bytes_since(at) as usize).min(CHUNK);
        let (mut mine, mut other) = (vec![0; len], vec![0; len]);
        let counts = (ours.read_at(timeline, at, &mut mine), theirs.read_at(parent.timeline, at, &mut other));
        // What cannot be read has been told already.
        let (Ok(count), Ok(also)) = counts else { return Ok(None) };
        let count = count.min(also);
        if count == 0 {
            return Ok(None);
        }
        if let Some(differs) = mine.iter().zip(&other).take(count).position(|(mine, other)| mine != other) {
            return Ok(Some(Finding::Divergent {
                timeline: timeline.as_u32(),
                parent: parent.timeline.as_u32(),
                lsn: at.saturating_add(differs as u64).to_string(),
                file: own.name.clone(),
            }));
        }
        at = at.saturating_add(count as u64);
    }
    Ok(None)
}
