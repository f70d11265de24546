//! The WAL that comes with a backup (`-X fetch`).

use std::fs;

use replication::error::{ServerError, SqlState};
use wal::{TimelineId, WalFileName};

use super::stream::failed;
use super::{BackupSource, StartPoint, StopPoint};
use crate::RelativePath;
use crate::tar::{Header, MemberKind};

/// The segments from `start` to `stop`, each of the newest timeline that has it, with what marks them as archived, and
/// the timelines' histories.
pub(super) fn needed(
    source: &impl BackupSource,
    start: &StartPoint,
    stop: &StopPoint,
) -> Result<Vec<Header>, Box<ServerError>> {
    let directory = source.data_directory().join("pg_wal");
    let size = source.segment_size();
    let (first, last) = (size.segment_of(start.redo), size.segment_ending_at(stop.end));
    let mut histories = Vec::new();
    let mut segments = Vec::new();
    let entries = fs::read_dir(&directory).map_err(|error| failed("read directory", &directory, &error))?;
    for entry in entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok()) {
        match WalFileName::parse(&entry, size) {
            Some(WalFileName::History(_)) => histories.push(entry),
            Some(WalFileName::Segment(timeline, segment))
                if timeline <= stop.timeline && (first..=last).contains(&segment) =>
            {
                segments.push((segment, timeline));
            }
            _ => {}
        }
    }
    segments.sort_unstable();
    let mut members = Vec::new();
    let mut segment = first;
    while segment <= last {
        let newest = segments.iter().rev().find(|(number, _)| *number == segment);
        let timeline: TimelineId = newest.map(|(_, timeline)| *timeline).ok_or_else(|| {
            let message = format!("could not find WAL file \"{}\"", segment.file_name(stop.timeline, size));
            Box::new(ServerError::error(SqlState::INTERNAL_ERROR, message))
        })?;
        let name = segment.file_name(timeline, size);
        members.push(member(&format!("pg_wal/{name}"), size.bytes().into()));
        members.push(member(&format!("pg_wal/archive_status/{name}.done"), 0));
        segment = segment.next();
    }
    histories.sort_unstable();
    for name in histories {
        let length = fs::metadata(directory.join(&name)).map_or(0, |found| found.len());
        members.push(member(&format!("pg_wal/{name}"), length));
        members.push(member(&format!("pg_wal/archive_status/{name}.done"), 0));
    }
    members.into_iter().collect::<Option<_>>().ok_or_else(|| {
        let message = "a WAL file has a name that cannot be archived";
        Box::new(ServerError::error(SqlState::INTERNAL_ERROR, message))
    })
}

fn member(path: &str, size: u64) -> Option<Header> {
    let path = RelativePath::new(path.as_bytes()).ok()?;
    Some(Header { path, kind: MemberKind::File, mode: 0o600, size, modified: 0 })
}
