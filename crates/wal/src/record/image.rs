//! Full-page images: whole pages inside records, without their hole and possibly compressed.
//!
//! The hole is the unused middle of a page, left out of the image and zero when it is restored. Everything a
//! record claims about an image is checked against the 8192 bytes of a page before anything is decompressed, and
//! decompression writes into a page-sized buffer only. Source: `XLogRecordBlockImageHeader` in
//! `access/xlogrecord.h`, `RestoreBlockImage` in `access/transam/xlogreader.c`.

use std::borrow::Cow;
use std::cell::RefCell;

use super::{RecordError, pglz};
use crate::bytes::Fields;

/// Bytes in a page of a relation (`BLCKSZ`).
pub const BLOCK_SIZE: usize = 8192;

const HAS_HOLE: u8 = 0x01;
const APPLY: u8 = 0x02;
const PGLZ: u8 = 0x04;
const LZ4: u8 = 0x08;
const ZSTD: u8 = 0x10;

/// How an image is compressed (`wal_compression`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ImageCompression {
    /// PostgreSQL's own, without the length that it has in tables.
    Pglz,
    /// A raw LZ4 block.
    Lz4,
    /// A Zstandard frame.
    Zstd,
}

/// An image's sub-header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ImageHeader {
    pub(super) length: u16,
    pub(super) hole_offset: u16,
    pub(super) hole_length: u16,
    pub(super) apply: bool,
    pub(super) compression: Option<ImageCompression>,
}

impl ImageHeader {
    #[inline]
    pub(super) fn read(fields: &mut Fields<'_>, id: u8) -> Result<Self, RecordError> {
        let length = fields.u16().ok_or(RecordError::Length)?;
        let hole_offset = fields.u16().ok_or(RecordError::Length)?;
        let info = fields.u8().ok_or(RecordError::Length)?;
        let has_hole = info & HAS_HOLE != 0;
        let compression = match info & !(HAS_HOLE | APPLY) {
            0 => None,
            PGLZ => Some(ImageCompression::Pglz),
            LZ4 => Some(ImageCompression::Lz4),
            ZSTD => Some(ImageCompression::Zstd),
            _ => return Err(RecordError::ImageFlags(id, info)),
        };
        let hole_length = match (compression, has_hole) {
            (Some(_), true) => fields.u16().ok_or(RecordError::Length)?,
            (Some(_), false) => 0,
            (None, _) => (BLOCK_SIZE as u16).checked_sub(length).ok_or(RecordError::ImageLength(id))?,
        };
        let header = Self { length, hole_offset, hole_length, apply: info & APPLY != 0, compression };
        if has_hole != (hole_length != 0) || has_hole != (hole_offset != 0) {
            return Err(RecordError::ImageHole(id));
        }
        header.check(id)?;
        Ok(header)
    }

    fn check(&self, id: u8) -> Result<(), RecordError> {
        let hole_end = usize::from(self.hole_offset) + usize::from(self.hole_length);
        if hole_end > BLOCK_SIZE || (self.hole_length == 0) != (self.hole_offset == 0) {
            return Err(RecordError::ImageHole(id));
        }
        let stored = usize::from(self.length);
        let fits = match self.compression {
            Some(_) => stored < BLOCK_SIZE,
            None => stored + usize::from(self.hole_length) == BLOCK_SIZE,
        };
        if fits { Ok(()) } else { Err(RecordError::ImageLength(id)) }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut info = match self.compression {
            None => 0,
            Some(ImageCompression::Pglz) => PGLZ,
            Some(ImageCompression::Lz4) => LZ4,
            Some(ImageCompression::Zstd) => ZSTD,
        };
        if self.hole_length != 0 {
            info |= HAS_HOLE;
        }
        if self.apply {
            info |= APPLY;
        }
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.hole_offset.to_le_bytes());
        out.push(info);
        if self.compression.is_some() && self.hole_length != 0 {
            out.extend_from_slice(&self.hole_length.to_le_bytes());
        }
    }
}

/// A page inside a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockImage<'a> {
    /// Where the hole begins on the page; 0 if there is none.
    pub hole_offset: u16,
    /// How many bytes the hole has; 0 if there is none.
    pub hole_length: u16,
    /// Whether replay restores the image; if not, it is there for checking only.
    pub apply: bool,
    /// How `stored` is compressed.
    pub compression: Option<ImageCompression>,
    /// The page without its hole, compressed or not.
    pub stored: Cow<'a, [u8]>,
}

/// The bytes as one LZ4 block.
fn lz4(bytes: &[u8]) -> Option<Vec<u8>> {
    use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
    thread_local! {
        /// 8 KiB that need not be had anew for every image.
        static TABLE: RefCell<CompressTable> = RefCell::default();
    }
    let mut out = vec![0; get_maximum_output_size(bytes.len())];
    let length = TABLE.with_borrow_mut(|table| compress_into_with_table(bytes, &mut out, table)).ok()?;
    out.truncate(length);
    Some(out)
}

/// An image that cannot be restored, or a page that cannot become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Hole and stored bytes do not make up a page.
    #[error("image and hole do not make up a page")]
    Size,
    /// The compressed bytes are malformed, or are not exactly as long as the page without its hole.
    #[error("could not decompress the image with {0:?}")]
    Compressed(ImageCompression),
}

impl<'a> BlockImage<'a> {
    /// The image of `page`, without the bytes of `hole`, to be restored at replay.
    pub fn of_page(page: &'a [u8; BLOCK_SIZE], hole: std::ops::Range<u16>) -> Result<Self, ImageError> {
        let (start, end) = (usize::from(hole.start), usize::from(hole.end));
        let mut image = Self {
            hole_offset: 0,
            hole_length: 0,
            apply: true,
            compression: None,
            stored: Cow::Borrowed(page.as_slice()),
        };
        if hole.is_empty() {
            return Ok(image);
        }
        let (Some(before), Some(after), 1..) = (page.get(..start), page.get(end..), start) else {
            return Err(ImageError::Size);
        };
        image.hole_offset = hole.start;
        image.hole_length = hole.end - hole.start;
        image.stored = Cow::Owned([before, after].concat());
        Ok(image)
    }

    /// The image compressed, or as it is if that would save nothing.
    pub fn compressed(self, method: ImageCompression) -> Self {
        if self.compression.is_some() {
            return self;
        }
        let compressed = match method {
            ImageCompression::Pglz => pglz::compress(&self.stored),
            ImageCompression::Lz4 => lz4(&self.stored),
            ImageCompression::Zstd => zstd::bulk::compress(&self.stored, 0).ok(),
        };
        // As in PostgreSQL, the two bytes of the hole's length, which only compressed images carry, count too.
        let extra = if self.hole_length == 0 { 0 } else { 2 };
        match compressed {
            Some(bytes) if bytes.len() + extra < self.stored.len() => {
                Self { compression: Some(method), stored: Cow::Owned(bytes), ..self }
            }
            _ => self,
        }
    }

    /// The page as it was, its hole zero.
    pub fn restore(&self) -> Result<[u8; BLOCK_SIZE], ImageError> {
        let mut page = [0; BLOCK_SIZE];
        self.restore_to(&mut page)?;
        Ok(page)
    }

    /// Like [`BlockImage::restore`], over whatever is in `page`. That is left undefined if it fails.
    pub fn restore_to(&self, page: &mut [u8; BLOCK_SIZE]) -> Result<(), ImageError> {
        let hole =
            usize::from(self.hole_offset)..usize::from(self.hole_offset) + usize::from(self.hole_length);
        let length = BLOCK_SIZE.checked_sub(hole.len()).ok_or(ImageError::Size)?;
        let packed = page.get_mut(..length).ok_or(ImageError::Size)?;
        match self.compression {
            None if self.stored.len() == length => packed.copy_from_slice(&self.stored),
            None => return Err(ImageError::Size),
            Some(method) => {
                let restored = match method {
                    ImageCompression::Pglz => pglz::decompress(&self.stored, packed),
                    ImageCompression::Lz4 => lz4_flex::block::decompress_into(&self.stored, packed).ok(),
                    ImageCompression::Zstd => zstd::bulk::decompress_to_buffer(&self.stored, packed).ok(),
                };
                if restored != Some(length) {
                    return Err(ImageError::Compressed(method));
                }
            }
        }
        if hole.is_empty() {
            return Ok(());
        }
        if hole.end > BLOCK_SIZE {
            return Err(ImageError::Size);
        }
        page.copy_within(hole.start..length, hole.end);
        page[hole].fill(0);
        Ok(())
    }

    pub(super) fn header(&self, id: u8) -> Result<ImageHeader, RecordError> {
        let header = ImageHeader {
            length: u16::try_from(self.stored.len()).map_err(|_| RecordError::ImageLength(id))?,
            hole_offset: self.hole_offset,
            hole_length: self.hole_length,
            apply: self.apply,
            compression: self.compression,
        };
        header.check(id)?;
        Ok(header)
    }

    pub(super) fn from_parts(header: ImageHeader, stored: &'a [u8]) -> Self {
        Self {
            hole_offset: header.hole_offset,
            hole_length: header.hole_length,
            apply: header.apply,
            compression: header.compression,
            stored: Cow::Borrowed(stored),
        }
    }
}
