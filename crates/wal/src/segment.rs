//! Segment files: how the log is cut into files, and what those files are called.

use std::fmt;

use crate::{Lsn, TimelineId};

/// The size of a segment file in bytes: a power of two from 1 MiB to 1 GiB (`wal_segment_size`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SegmentSize(u32);

/// A number that cannot be a segment size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid WAL segment size {0}: it must be a power of two between 1 MB and 1 GB")]
pub struct InvalidSegmentSize(pub u64);

impl SegmentSize {
    /// What `initdb` chooses unless told otherwise: 16 MiB.
    pub const DEFAULT: Self = Self(16 << 20);
    const MIN: u32 = 1 << 20;
    const MAX: u32 = 1 << 30;

    /// Checks that `bytes` is a size PostgreSQL could have.
    pub const fn new(bytes: u64) -> Result<Self, InvalidSegmentSize> {
        if bytes >= Self::MIN as u64 && bytes <= Self::MAX as u64 && bytes.is_power_of_two() {
            Ok(Self(bytes as u32))
        } else {
            Err(InvalidSegmentSize(bytes))
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// The segment that holds the byte at `lsn`.
    pub const fn segment_of(self, lsn: Lsn) -> SegmentNo {
        SegmentNo(lsn.as_u64() / self.0 as u64)
    }

    /// The segment that holds the last byte before `end`: for positions that end something, such as a flush
    /// position or a switch point, which on a boundary belong to the segment before it.
    pub const fn segment_ending_at(self, end: Lsn) -> SegmentNo {
        SegmentNo(end.as_u64().saturating_sub(1) / self.0 as u64)
    }

    /// Where `lsn` lies in its segment file, in bytes from the file's start.
    pub const fn offset_of(self, lsn: Lsn) -> u32 {
        (lsn.as_u64() % self.0 as u64) as u32
    }

    /// The position of the first byte of `segment`.
    pub const fn start_of(self, segment: SegmentNo) -> Lsn {
        Lsn::new(segment.0.saturating_mul(self.0 as u64))
    }

    /// The position after the last byte of `segment`.
    pub const fn end_of(self, segment: SegmentNo) -> Lsn {
        self.start_of(segment).saturating_add(self.0 as u64)
    }

    /// `lsn` rounded down to the start of its segment.
    pub const fn floor(self, lsn: Lsn) -> Lsn {
        Lsn::new(lsn.as_u64() - lsn.as_u64() % self.0 as u64)
    }

    const fn segments_per_id(self) -> u64 {
        (1 << 32) / self.0 as u64
    }
}

impl fmt::Display for SegmentSize {
    /// As `SHOW wal_segment_size` prints it: `16MB`, `1GB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> 20 {
            1024 => f.write_str("1GB"),
            mebibytes => write!(f, "{mebibytes}MB"),
        }
    }
}

/// The number of a segment: its first byte's LSN divided by the segment size (`XLogSegNo`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentNo(u64);

impl SegmentNo {
    /// Segment `number`.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// This segment's number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The segment after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The name of this segment's file on `timeline`, 24 upper-case hexadecimal digits (`XLogFileName`).
    pub fn file_name(self, timeline: TimelineId, size: SegmentSize) -> String {
        let per_id = size.segments_per_id();
        format!("{:08X}{:08X}{:08X}", timeline.as_u32(), self.0 / per_id, self.0 % per_id)
    }
}

/// A name that a file in a WAL directory can have, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalFileName {
    /// A complete segment, `TTTTTTTTXXXXXXXXYYYYYYYY`.
    Segment(TimelineId, SegmentNo),
    /// A segment still being received, or left behind by a promotion, `….partial`.
    Partial(TimelineId, SegmentNo),
    /// A timeline's ancestry, `TTTTTTTT.history`.
    History(TimelineId),
}

impl WalFileName {
    /// Takes `name` apart; `None` for any other file. Compression suffixes (`.gz`, `.lz4`) are the caller's to
    /// strip. Segments whose low part does not fit `size` are not segments of that size.
    pub fn parse(name: &str, size: SegmentSize) -> Option<Self> {
        if let Some(stem) = name.strip_suffix(".history") {
            return Some(Self::History(TimelineId::new(hex8(stem)?)));
        }
        let (stem, partial) = match name.strip_suffix(".partial") {
            Some(stem) => (stem, true),
            None => (name, false),
        };
        if stem.len() != 24 || !stem.is_ascii() {
            return None;
        }
        let timeline = TimelineId::new(hex8(&stem[..8])?);
        let high = u64::from(hex8(&stem[8..16])?);
        let low = u64::from(hex8(&stem[16..])?);
        if low >= size.segments_per_id() {
            return None;
        }
        let segment = SegmentNo(high * size.segments_per_id() + low);
        Some(if partial { Self::Partial(timeline, segment) } else { Self::Segment(timeline, segment) })
    }
}

/// Exactly eight upper-case hexadecimal digits, as every WAL file name has them.
fn hex8(digits: &str) -> Option<u32> {
    let upper_hex = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    if digits.len() == 8 && digits.bytes().all(upper_hex) {
        u32::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TLI: TimelineId = TimelineId::new(2);

    #[test]
    fn names_follow_the_segment_size() {
        let lsn: Lsn = "1/2000000".parse().unwrap();
        let large = SegmentSize::DEFAULT;
        assert_eq!(large.segment_of(lsn).file_name(TLI, large), "000000020000000100000002");
        let small = SegmentSize::new(1 << 20).unwrap();
        assert_eq!(small.segment_of(lsn).file_name(TLI, small), "000000020000000100000020");
        let huge = SegmentSize::new(1 << 30).unwrap();
        assert_eq!(huge.segment_of(lsn).file_name(TLI, huge), "000000020000000100000000");
    }

    #[test]
    fn a_name_gives_back_what_it_was_made_from() {
        let size = SegmentSize::DEFAULT;
        let segment = SegmentNo::new(0x1FF);
        let name = segment.file_name(TLI, size);
        assert_eq!(WalFileName::parse(&name, size), Some(WalFileName::Segment(TLI, segment)));
        let partial = format!("{name}.partial");
        assert_eq!(WalFileName::parse(&partial, size), Some(WalFileName::Partial(TLI, segment)));
        assert_eq!(WalFileName::parse("00000002.history", size), Some(WalFileName::History(TLI)));
    }

    #[test]
    fn other_names_are_not_wal() {
        let size = SegmentSize::DEFAULT;
        for name in [
            "",
            "x",
            "00000001000000000000000",
            "0000000100000000000000ff",
            "000000010000000000000100",
            "00000001000000000000000A.gz",
            "00000001000000000000000A.00000028.backup",
            "2.history",
            "éééééééééééé",
        ] {
            assert_eq!(WalFileName::parse(name, size), None, "{name:?}");
        }
    }

    #[test]
    fn a_boundary_ends_the_segment_before_it() {
        let size = SegmentSize::DEFAULT;
        let boundary = size.start_of(SegmentNo::new(5));
        assert_eq!(size.segment_of(boundary), SegmentNo::new(5));
        assert_eq!(size.segment_ending_at(boundary), SegmentNo::new(4));
        assert_eq!(size.offset_of(boundary), 0);
        assert_eq!(size.end_of(SegmentNo::new(4)), boundary);
    }

    #[test]
    fn sizes_are_powers_of_two_in_range() {
        for bytes in [0, 1 << 19, (1 << 20) + 1, 1 << 31] {
            assert_eq!(SegmentSize::new(bytes), Err(InvalidSegmentSize(bytes)));
        }
        assert_eq!(SegmentSize::new(1 << 30).unwrap().to_string(), "1GB");
        assert_eq!(SegmentSize::DEFAULT.to_string(), "16MB");
    }
}
