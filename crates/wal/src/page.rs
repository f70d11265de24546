//! Page headers: every 8192 bytes of the log begin with one.
//!
//! | offset | size | field | |
//! |---|---|---|---|
//! | 0 | 2 | magic | which PostgreSQL wrote it ([`WalVersion`]) |
//! | 2 | 2 | info | flags ([`PageFlags`]) |
//! | 4 | 4 | timeline | the one current when the page was begun |
//! | 8 | 8 | page address | LSN of the page's first byte |
//! | 16 | 4 | rem_len | bytes of the continued record still to come, from this page on |
//! | 20 | 4 | padding | zero |
//! | 24 | 8 | system identifier | long header only, as all that follows |
//! | 32 | 4 | segment size | |
//! | 36 | 4 | block size | 8192 |
//!
//! The first page of a segment has the long header, every other the short one. All integers are little-endian.
//! Source: `XLogPageHeaderData` and `XLogLongPageHeaderData` in `access/xlog_internal.h`.

use crate::bytes::Fields;
use crate::{Lsn, SegmentSize, SystemId, TimelineId, WalVersion};

/// Bytes in a page of the log (`XLOG_BLCKSZ` as every distribution builds it).
pub const PAGE_SIZE: usize = 8192;
/// Bytes in the header of a page that does not begin a segment.
pub const SHORT_HEADER: usize = 24;
/// Bytes in the header of a segment's first page.
pub const LONG_HEADER: usize = 40;

/// The flags of a page (`xlp_info`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PageFlags(u16);

impl PageFlags {
    /// The page begins in the middle of a record.
    pub const FIRST_IS_CONTRECORD: Self = Self(0x0001);
    /// The header is a long one.
    pub const LONG_HEADER: Self = Self(0x0002);
    /// Full-page images on the page may be removed: no backup was being taken.
    pub const BKP_REMOVABLE: Self = Self(0x0004);
    /// The continuation that belonged here was lost in a crash, and something else is written instead.
    pub const FIRST_IS_OVERWRITE_CONTRECORD: Self = Self(0x0008);
    const ALL: u16 = 0x000F;

    /// Whether every flag of `other` is set here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags but those of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The flags as they stand on the page.
    pub const fn bits(self) -> u16 {
        self.0
    }
}

/// What only the first page of a segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LongHeader {
    /// The cluster that wrote the segment.
    pub system_id: SystemId,
    /// The segment's size in bytes, as claimed; [`SegmentSize::new`] says whether it can be.
    pub segment_size: u32,
    /// The page size in bytes, as claimed.
    pub block_size: u32,
}

/// A page header, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageHeader {
    /// The version whose magic the page carries.
    pub version: WalVersion,
    /// The flags; [`PageFlags::LONG_HEADER`] is set exactly if `long` is there.
    pub flags: PageFlags,
    /// The timeline current when the page was begun. The page that holds a switch point keeps the old one.
    pub timeline: TimelineId,
    /// Where the page says it lies.
    pub page_addr: Lsn,
    /// How many bytes of the continued record are still to come, page headers and padding not counted.
    pub rem_len: u32,
    /// The long header's own fields.
    pub long: Option<LongHeader>,
}

/// Bytes that are not a page header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Fewer bytes than the header needs.
    #[error("page header is cut short after {0} bytes")]
    Short(usize),
    /// Not the magic of PostgreSQL 15 to 18.
    #[error("invalid page magic {0:04X}")]
    Magic(u16),
    /// Flags that do not exist.
    #[error("invalid page flags {0:04X}")]
    Flags(u16),
    /// The unused bytes of the header, which PostgreSQL leaves zero.
    #[error("padding in the page header is not zero")]
    Padding,
}

impl PageHeader {
    /// Takes the header at the start of `bytes` apart. What follows it is ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        Self::decode_fields(bytes).unwrap_or(Err(PageError::Short(bytes.len())))
    }

    fn decode_fields(bytes: &[u8]) -> Option<Result<Self, PageError>> {
        let mut fields = Fields::new(bytes);
        let magic = fields.u16()?;
        let Some(version) = WalVersion::from_magic(magic) else { return Some(Err(PageError::Magic(magic))) };
        let flags = PageFlags(fields.u16()?);
        if flags.0 & !PageFlags::ALL != 0 {
            return Some(Err(PageError::Flags(flags.0)));
        }
        let mut header = Self {
            version,
            flags,
            timeline: TimelineId::new(fields.u32()?),
            page_addr: Lsn::new(fields.u64()?),
            rem_len: fields.u32()?,
            long: None,
        };
        if fields.u32()? != 0 {
            return Some(Err(PageError::Padding));
        }
        if flags.contains(PageFlags::LONG_HEADER) {
            header.long = Some(LongHeader {
                system_id: SystemId::new(fields.u64()?),
                segment_size: fields.u32()?,
                block_size: fields.u32()?,
            });
        }
        Some(Ok(header))
    }

    /// Appends the header as it stands on a page. The long flag follows `long`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let flags = match self.long {
            Some(_) => self.flags.with(PageFlags::LONG_HEADER),
            None => self.flags.without(PageFlags::LONG_HEADER),
        };
        out.extend_from_slice(&self.version.magic().to_le_bytes());
        out.extend_from_slice(&flags.bits().to_le_bytes());
        out.extend_from_slice(&self.timeline.as_u32().to_le_bytes());
        out.extend_from_slice(&self.page_addr.as_u64().to_le_bytes());
        out.extend_from_slice(&self.rem_len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        if let Some(long) = self.long {
            out.extend_from_slice(&long.system_id.as_u64().to_le_bytes());
            out.extend_from_slice(&long.segment_size.to_le_bytes());
            out.extend_from_slice(&long.block_size.to_le_bytes());
        }
    }

    /// The bytes this header takes on its page: 24 or 40.
    pub const fn size(&self) -> usize {
        if self.long.is_some() { LONG_HEADER } else { SHORT_HEADER }
    }
}

/// Where the next record can start at or after `lsn`: past the page header if `lsn` begins a page.
pub fn first_record_position(lsn: Lsn, segment_size: SegmentSize) -> Lsn {
    match segment_size.offset_of(lsn) {
        0 => lsn.saturating_add(LONG_HEADER as u64),
        offset if (offset as usize).is_multiple_of(PAGE_SIZE) => lsn.saturating_add(SHORT_HEADER as u64),
        _ => lsn,
    }
}

/// Where the last byte of a record of `length` bytes (without the padding behind it) has its end, if the record begins at
/// `start`: past every page header in between. Takes as long as the record has pages.
pub fn end_of_record(start: Lsn, length: u32, segment_size: SegmentSize) -> Lsn {
    let (mut at, mut left) = (first_record_position(start, segment_size), u64::from(length));
    loop {
        let room = PAGE_SIZE as u64 - at.as_u64() % PAGE_SIZE as u64;
        if left <= room || at == Lsn::MAX {
            return at.saturating_add(left);
        }
        left -= room;
        at = first_record_position(at.saturating_add(room), segment_size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of a segment of PostgreSQL 15 with 1 MiB segments.
    const SEGMENT_START: [u8; 40] = [
        0x10, 0xd1, 0x07, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x60, 0x00, 0x00, 0x00, 0x00, 0x00, 0x38,
        0x1b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xee, 0xd7, 0xac, 0x98, 0xdb, 0x1c, 0x02, 0x6b, 0x00, 0x00,
        0x10, 0x00, 0x00, 0x20, 0x00, 0x00,
    ];

    #[test]
    fn a_real_segment_start_is_taken_apart_and_put_together() {
        let header = PageHeader::decode(&SEGMENT_START).unwrap();
        assert_eq!(header.version, WalVersion::V15);
        assert_eq!(header.timeline, TimelineId::FIRST);
        assert_eq!(header.page_addr, Lsn::new(0x60_0000));
        assert_eq!(header.rem_len, 0x1b38);
        assert!(header.flags.contains(PageFlags::FIRST_IS_CONTRECORD.with(PageFlags::BKP_REMOVABLE)));
        let long = header.long.unwrap();
        assert_eq!(long.system_id, SystemId::new(0x6b02_1cdb_98ac_d7ee));
        assert_eq!((long.segment_size, long.block_size), (1 << 20, 8192));
        assert_eq!(header.size(), LONG_HEADER);
        let mut again = Vec::new();
        header.encode_into(&mut again);
        assert_eq!(again, SEGMENT_START);
    }

    #[test]
    fn what_is_cut_short_or_foreign_is_refused() {
        for length in 0..SEGMENT_START.len() {
            assert_eq!(PageHeader::decode(&SEGMENT_START[..length]), Err(PageError::Short(length)));
        }
        assert_eq!(PageHeader::decode(&[0; 24]), Err(PageError::Magic(0)));
        let mut bytes = SEGMENT_START;
        bytes[2] = 0x17;
        assert_eq!(PageHeader::decode(&bytes), Err(PageError::Flags(0x17)));
        let mut bytes = SEGMENT_START;
        bytes[20] = 1;
        assert_eq!(PageHeader::decode(&bytes), Err(PageError::Padding));
    }

    #[test]
    fn records_start_past_page_headers() {
        let size = SegmentSize::DEFAULT;
        let at = |lsn: u64| first_record_position(Lsn::new(lsn), size).as_u64();
        assert_eq!(at(0x100_0000), 0x100_0028);
        assert_eq!(at(0x100_2000), 0x100_2018);
        assert_eq!(at(0x100_2100), 0x100_2100);
    }

    #[test]
    fn records_end_past_the_headers_of_the_pages_that_they_cross() {
        let end = |start: u64, length| {
            end_of_record(Lsn::new(start), length, SegmentSize::new(1 << 20).unwrap()).as_u64()
        };
        assert_eq!(end(0x10_0028, 50), 0x10_005A);
        assert_eq!(end(0x10_1FF8, 8), 0x10_2000, "just on the page");
        assert_eq!(end(0x10_1FF8, 9), 0x10_2019, "one byte on the next");
        assert_eq!(end(0x0F_FFF8, 24), 0x10_0038, "into the next segment");
        assert_eq!(end(0x10_1FF8, 8 + 8168 + 1), 0x10_4019, "over a whole page");
        assert_eq!(end(u64::MAX - 7, u32::MAX), u64::MAX);
    }
}
