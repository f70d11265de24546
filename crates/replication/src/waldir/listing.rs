//! What WAL a directory holds, by its names.

use std::collections::BTreeSet;

use wal::{SegmentNo, SegmentSize, TimelineId, WalFileName};

use super::Compression;

/// A segment file in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentFile {
    /// The file's name.
    pub name: String,
    /// The timeline in the name: of the segment's end, while its beginning may be an ancestor's.
    pub timeline: TimelineId,
    /// Which segment.
    pub segment: SegmentNo,
    /// Whether it is called `.partial`: still being received, or left behind by a promotion.
    pub partial: bool,
    /// How the content is compressed.
    pub compression: Compression,
    /// The file's length on disk.
    pub len: u64,
}

impl SegmentFile {
    /// What the file of a segment is called.
    pub fn name_of(
        timeline: TimelineId,
        segment: SegmentNo,
        size: SegmentSize,
        compression: Compression,
        partial: bool,
    ) -> String {
        let suffix = if partial { ".partial" } else { "" };
        format!("{}{}{suffix}", segment.file_name(timeline, size), compression.suffix())
    }

    /// `None` if `name` is not that of a segment of `size`.
    fn parse(name: &str, len: u64, size: SegmentSize) -> Option<Self> {
        let (stem, partial) = match name.strip_suffix(".partial") {
            Some(stem) => (stem, true),
            None => (name, false),
        };
        let (stem, compression) = [Compression::Gzip, Compression::Lz4]
            .into_iter()
            .find_map(|compression| Some((stem.strip_suffix(compression.suffix())?, compression)))
            .unwrap_or((stem, Compression::None));
        match WalFileName::parse(stem, size)? {
            WalFileName::Segment(timeline, segment) => {
                Some(Self { name: name.to_owned(), timeline, segment, partial, compression, len })
            }
            WalFileName::Partial(..) | WalFileName::History(_) => None,
        }
    }
}

/// The WAL in a directory. Files with other names, temporary ones included, are not in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// The size that the names were read with.
    pub segment_size: SegmentSize,
    /// Segment files, by segment, then timeline, complete ones before partial ones.
    pub segments: Vec<SegmentFile>,
    /// Timelines that have a history file, in order.
    pub histories: Vec<TimelineId>,
}

impl Listing {
    /// Makes a listing of names and file lengths.
    pub fn new<'a>(names: impl IntoIterator<Item = (&'a str, u64)>, segment_size: SegmentSize) -> Self {
        let mut segments = Vec::new();
        let mut histories = Vec::new();
        for (name, len) in names {
            match WalFileName::parse(name, segment_size) {
                Some(WalFileName::History(timeline)) => histories.push(timeline),
                _ => segments.extend(SegmentFile::parse(name, len, segment_size)),
            }
        }
        segments.sort_by_key(|file| (file.segment, file.timeline, file.partial, file.compression));
        histories.sort_unstable();
        Self { segment_size, segments, histories }
    }

    /// Every timeline that has a segment or a history file.
    pub fn timelines(&self) -> BTreeSet<TimelineId> {
        self.segments.iter().map(|file| file.timeline).chain(self.histories.iter().copied()).collect()
    }

    /// The highest timeline that has a segment or a history file; `None` for a directory without WAL.
    pub fn newest_timeline(&self) -> Option<TimelineId> {
        self.timelines().last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_file_is_told_apart() {
        let names = [
            "000000010000000000000003",
            "000000010000000000000002.gz",
            "000000010000000000000004.lz4",
            "000000020000000000000004.gz.partial",
            "000000010000000000000004.lz4.partial",
            "000000010000000000000004.partial",
            "00000002.history",
            "00000002.history.tmp",
            "000000010000000000000003.00000028.backup",
            "000000010000000000000005.zst",
            "xlogtemp.123",
            "archive_status",
            "walship.status",
            "walship.slots",
        ];
        let listing = Listing::new(names.map(|name| (name, 7)), SegmentSize::DEFAULT);
        let found: Vec<&str> = listing.segments.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            found,
            [
                "000000010000000000000002.gz",
                "000000010000000000000003",
                "000000010000000000000004.lz4",
                "000000010000000000000004.partial",
                "000000010000000000000004.lz4.partial",
                "000000020000000000000004.gz.partial",
            ]
        );
        assert_eq!(listing.histories, [TimelineId::new(2)]);
        assert_eq!(listing.newest_timeline(), Some(TimelineId::new(2)));
    }

    #[test]
    fn a_name_gives_back_what_it_was_made_from() {
        let (timeline, segment, size) = (TimelineId::new(3), SegmentNo::new(77), SegmentSize::DEFAULT);
        for compression in Compression::ALL {
            for partial in [false, true] {
                let name = SegmentFile::name_of(timeline, segment, size, compression, partial);
                let file = SegmentFile::parse(&name, 5, size).unwrap();
                assert_eq!(file, SegmentFile { name, timeline, segment, partial, compression, len: 5 });
            }
        }
    }

    proptest! {
        #[test]
        fn names_never_panic(name in "[0-9A-F.a-zé]{0,40}") {
            let _ = Listing::new([(name.as_str(), 0)], SegmentSize::DEFAULT);
        }
    }
}
