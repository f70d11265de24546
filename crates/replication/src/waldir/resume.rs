//! Where a receiver goes on: right after what its directory holds (`FindStreamingStart` in `pg_receivewal.c`).

use std::io;

use wal::{Lsn, TimelineId};

use super::{Listing, SegmentFile};

/// Where to start streaming.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamingStart {
    /// The timeline to ask for.
    pub timeline: TimelineId,
    /// The position to ask for: always the start of a segment.
    pub lsn: Lsn,
}

/// A complete segment that is not what its name says, and was therefore not counted.
#[derive(Debug)]
pub struct SkippedSegment {
    /// The file.
    pub file: SegmentFile,
    /// Its uncompressed length in bytes, or why that could not be found out.
    pub found: io::Result<u64>,
}

impl std::fmt::Display for SkippedSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.file.name;
        match &self.found {
            Ok(len) => write!(f, "segment file \"{name}\" has incorrect size {len}, skipping"),
            Err(error) => write!(f, "could not read segment file \"{name}\": {error}, skipping"),
        }
    }
}

/// The position that follows a directory's highest segment, `None` if it has none to go by; and what was skipped.
///
/// The highest segment number counts, then the highest timeline, then a complete file before a partial one. After a
/// complete segment comes the next one; a partial one is received anew from its start. A complete segment counts only
/// if its uncompressed length, which `content_len` finds out, is exactly a segment's.
pub fn find_streaming_start(
    listing: &Listing,
    mut content_len: impl FnMut(&SegmentFile) -> io::Result<u64>,
) -> (Option<StreamingStart>, Vec<SkippedSegment>) {
    let size = listing.segment_size;
    let mut best_first: Vec<&SegmentFile> = listing.segments.iter().collect();
    best_first.sort_by_key(|file| std::cmp::Reverse((file.segment, file.timeline, !file.partial)));
    let mut skipped = Vec::new();
    for file in best_first {
        if file.partial {
            let start = StreamingStart { timeline: file.timeline, lsn: size.start_of(file.segment) };
            return (Some(start), skipped);
        }
        match content_len(file) {
            Ok(len) if len == u64::from(size.bytes()) => {
                let start = StreamingStart { timeline: file.timeline, lsn: size.end_of(file.segment) };
                return (Some(start), skipped);
            }
            found => skipped.push(SkippedSegment { file: file.clone(), found }),
        }
    }
    (None, skipped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal::SegmentSize;

    const FULL: u64 = 16 << 20;

    fn start(names: &[(&str, u64)]) -> (Option<(u32, u64)>, usize) {
        let listing = Listing::new(names.iter().copied(), SegmentSize::DEFAULT);
        let (start, skipped) = find_streaming_start(&listing, |file| Ok(file.len));
        (start.map(|start| (start.timeline.as_u32(), start.lsn.as_u64() / FULL)), skipped.len())
    }

    #[test]
    fn goes_on_after_the_highest_complete_segment() {
        let names = [("000000010000000000000003", FULL), ("000000010000000000000002", FULL)];
        assert_eq!(start(&names), (Some((1, 4)), 0));
        assert_eq!(start(&[("00000001000000000000000A.gz", FULL)]), (Some((1, 11)), 0));
    }

    #[test]
    fn receives_a_partial_segment_again_from_its_start() {
        let names = [("000000010000000000000003.partial", FULL), ("000000010000000000000002", FULL)];
        assert_eq!(start(&names), (Some((1, 3)), 0));
        assert_eq!(start(&[("000000010000000000000003.lz4.partial", 9)]), (Some((1, 3)), 0));
    }

    #[test]
    fn prefers_the_newer_timeline_and_the_complete_file() {
        let names = [("000000010000000000000003", FULL), ("000000020000000000000003.partial", FULL)];
        assert_eq!(start(&names), (Some((2, 3)), 0));
        let names = [("000000010000000000000003", FULL), ("000000010000000000000003.partial", FULL)];
        assert_eq!(start(&names), (Some((1, 4)), 0));
        let names = [("000000010000000000000004", FULL), ("000000020000000000000003", FULL)];
        assert_eq!(start(&names), (Some((1, 5)), 0));
    }

    #[test]
    fn skips_complete_segments_of_another_size() {
        let names = [("000000010000000000000003", FULL - 1), ("000000010000000000000002", FULL)];
        assert_eq!(start(&names), (Some((1, 3)), 1));
        assert_eq!(start(&[("000000010000000000000003", 0)]), (None, 1));
        assert_eq!(start(&[("00000002.history", 9)]), (None, 0));
    }

    #[test]
    fn a_segment_that_cannot_be_read_is_skipped_and_named() {
        let listing = Listing::new([("000000010000000000000003.gz", 1)], SegmentSize::DEFAULT);
        let (start, skipped) = find_streaming_start(&listing, |_| Err(io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(start, None);
        assert!(skipped[0].to_string().contains("000000010000000000000003.gz"));
    }
}
