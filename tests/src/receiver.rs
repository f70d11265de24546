//! Receivers, ours and PostgreSQL's, and what lies in their directories.

use std::path::Path;

use wal::page::end_of_record;
use wal::{Lsn, SegmentSize, TimelineId};

use crate::root::TempRoot;
use crate::tool::Tool;
use crate::version::Version;

/// `walreceiver` from that server into that directory, to be given more options or started.
#[track_caller]
pub fn walreceiver(root: &TempRoot, conninfo: &str, directory: &Path) -> Tool {
    Tool::ours(root, "walreceiver").arg("-D").arg(directory).args(["-d", conninfo])
}

/// `pg_receivewal` from that server into that directory, to be given more options or started.
#[track_caller]
pub fn pg_receivewal(root: &TempRoot, version: Version, conninfo: &str, directory: &Path) -> Tool {
    Tool::postgres(root, version, "pg_receivewal").arg("-D").arg(directory).args(["-d", conninfo])
}

/// The bytes of WAL from `from` up to `to` of one timeline, as the directory's files have them, finished or not; `None`
/// if some are in no file. What was allocated and not written reads as zeros.
pub fn read_wal(directory: &Path, timeline: u32, size: SegmentSize, from: Lsn, to: Lsn) -> Option<Vec<u8>> {
    let timeline = TimelineId::new(timeline);
    let (mut bytes, mut at) = (Vec::new(), from);
    while at < to {
        let segment = size.segment_of(at);
        let name = segment.file_name(timeline, size);
        let unfinished = directory.join(format!("{name}.partial"));
        let file = std::fs::read(directory.join(name)).or_else(|_| std::fs::read(unfinished)).ok()?;
        let end = to.min(size.end_of(segment));
        let start = size.offset_of(at) as usize;
        let length = usize::try_from(end.bytes_since(at)).ok()?;
        bytes.extend_from_slice(file.get(start..start + length)?);
        at = end;
    }
    Some(bytes)
}

/// Insists that the archive has everything from `from` up to `to` as the server's `pg_wal` has it.
#[track_caller]
pub fn assert_holds(
    archive: &Path,
    original: &Path,
    timeline: u32,
    size: SegmentSize,
    (from, to): (Lsn, Lsn),
) {
    let read = |directory: &Path| {
        read_wal(directory, timeline, size, from, to).unwrap_or_else(|| {
            let files = crate::archive::wal_files(directory);
            panic!("not all of {from} to {to} is in {}: {files:?}", directory.display())
        })
    };
    let (ours, theirs) = (read(archive), read(original));
    if let Some(at) = ours.iter().zip(&theirs).position(|(our, their)| our != their) {
        let lsn = from.saturating_add(at as u64);
        panic!("{} of {from} to {to} differs from the server's WAL, first at {lsn}", archive.display());
    }
}

/// A record as pg_waldump lists it.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// Where it starts.
    pub start: Lsn,
    /// Its length, without page headers and padding.
    pub length: u64,
}

impl Listed {
    /// Where the next record would start, or the page that it would start on.
    pub fn end(self, size: SegmentSize) -> Lsn {
        let length = self.length.try_into().expect("a length of 32 bits");
        end_of_record(self.start, length, size).align8()
    }
}

/// The records that pg_waldump finds in a directory of finished segments, up to where it finds no more; without `from`
/// it begins with the directory's first segment.
#[track_caller]
pub fn records_in(root: &TempRoot, directory: &Path, from: Option<Lsn>) -> Vec<Listed> {
    let dump = Tool::postgres(root, Version::V15, "pg_waldump").arg("-p").arg(directory);
    let dump = match from {
        Some(from) => dump.args(["-s", &from.to_string()]),
        None => {
            let segments = crate::archive::segments(directory);
            dump.args([segments.first().expect("a segment"), segments.last().expect("a segment")])
        }
    };
    listed(&dump.run().stdout)
}

/// The records in what pg_waldump has printed.
pub(crate) fn listed(dump: &str) -> Vec<Listed> {
    let length =
        |line: &str| line.split_once("tot):")?.1.split_once('/')?.1.split(',').next()?.trim().parse().ok();
    let start = |line: &str| line.split_once(" lsn: ")?.1.split(',').next()?.parse().ok();
    dump.lines().filter_map(|line| Some(Listed { start: start(line)?, length: length(line)? })).collect()
}
