//! Records: taken apart into what they say, and put together again byte for byte as PostgreSQL would.
//!
//! A record here is contiguous: page headers inside it were removed by whoever read it. Lengths it claims are
//! checked against the bytes at hand; nothing is allocated for them but the list of block references.
//! Source: `access/xlogrecord.h`, `XLogRecordAssemble` in `access/transam/xloginsert.c`.

mod block;
mod header;
mod image;
mod parts;
mod pglz;

pub use block::{BlockNumber, BlockRef, Fork, RelFileLocator};
pub use header::{MAX_RECORD, RECORD_HEADER, RecordHeader, ResourceManager, Xid, record_crc};
pub use image::{BLOCK_SIZE, BlockImage, ImageCompression, ImageError};

pub(crate) use header::{CHECKSUMMED_HEADER, record_crc_by};
pub(crate) use parts::MAX_SUB_HEADERS;

use crate::bytes::Fields;
use crate::{Lsn, WalVersion};
use block::BlockHeader;
use parts::Part;

/// A record's parts that do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The parts are longer or shorter than the record, or the record is longer or shorter than the bytes at hand.
    #[error("record with invalid length")]
    Length,
    /// Not the id of any part.
    #[error("invalid block_id {0}")]
    BlockId(u8),
    /// Block references must ascend.
    #[error("out-of-order block_id {0}")]
    BlockOrder(u8),
    /// The flag that says whether a block has data contradicts the data's length.
    #[error("block {0}: data flag and data length disagree")]
    DataFlag(u8),
    /// The first block reference takes its relation from a previous one.
    #[error("block {0}: same relation as the previous block, but there is none")]
    NoRelation(u8),
    /// Unknown or contradictory image flags.
    #[error("block {0}: invalid image flags {1:02X}")]
    ImageFlags(u8, u8),
    /// The hole does not lie on the page, or contradicts its flag.
    #[error("block {0}: invalid hole in the page image")]
    ImageHole(u8),
    /// The image is not as long as a page without its hole must be.
    #[error("block {0}: invalid length of the page image")]
    ImageLength(u8),
    /// The image does not decompress to a page without its hole.
    #[error("block {0}: the page image cannot be decompressed")]
    ImageContent(u8),
    /// The record's checksum does not match its content.
    #[error("incorrect checksum {found:08X}, computed {computed:08X}")]
    Checksum {
        /// The checksum in the header.
        found: u32,
        /// The one of the content.
        computed: u32,
    },
    /// More than a record can hold; only when putting one together.
    #[error("record is too long")]
    TooLong,
}

/// A record of any kind, borrowing its data from wherever it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// The header. Its length and checksum are written by [`Record::encode`] and need not be right before.
    pub header: RecordHeader,
    /// The blocks it changes, by ascending id.
    pub blocks: Vec<BlockRef<'a>>,
    /// Which replication origin the change came from.
    pub origin: Option<u16>,
    /// The transaction at the top, in the first record of a subtransaction at `wal_level = logical`.
    pub top_xid: Option<Xid>,
    /// The resource manager's own data.
    pub main_data: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record without blocks.
    pub fn new(resource_manager: ResourceManager, info: u8, xid: Xid, main_data: &'a [u8]) -> Self {
        let header =
            RecordHeader { total_length: 0, xid, prev: Lsn::INVALID, info, resource_manager, crc: 0 };
        Self { header, blocks: Vec::new(), origin: None, top_xid: None, main_data }
    }

    /// Takes apart the record that `bytes` consist of exactly, checksum included. The layout is the same in every
    /// version so far; `version` says whose it is.
    pub fn decode(bytes: &'a [u8], version: WalVersion) -> Result<Self, RecordError> {
        let record = Self::decode_unchecked(bytes, version)?;
        let (found, computed) = (record.header.crc, record_crc(bytes));
        if found == computed { Ok(record) } else { Err(RecordError::Checksum { found, computed }) }
    }

    /// Like [`Record::decode`], for bytes whose checksum is known to be right.
    pub fn decode_unchecked(bytes: &'a [u8], _version: WalVersion) -> Result<Self, RecordError> {
        let header = RecordHeader::decode(bytes).ok_or(RecordError::Length)?;
        let body = bytes.get(RECORD_HEADER..).ok_or(RecordError::Length)?;
        if header.total_length as usize != bytes.len() {
            return Err(RecordError::Length);
        }
        let mut record = Self { header, blocks: Vec::new(), origin: None, top_xid: None, main_data: &[] };
        // Where the data begins is known after one walk; the second takes each block's as it comes by.
        let mut blocks = 0;
        let data =
            parts::walk(body, body.len(), |part| blocks += usize::from(matches!(part, Part::Block(_))))?;
        record.blocks.reserve_exact(blocks);
        let mut data = Fields::new(body.get(data..).ok_or(RecordError::Length)?);
        let mut main_length = 0;
        parts::walk(body, body.len(), |part| match part {
            Part::Block(block) => record.blocks.extend(take_block(block, &mut data)),
            Part::Origin(origin) => record.origin = Some(origin),
            Part::TopXid(xid) => record.top_xid = Some(xid),
            Part::MainData(length) => main_length = length,
        })?;
        if record.blocks.len() != blocks {
            return Err(RecordError::Length);
        }
        record.main_data = data.take(main_length as usize).ok_or(RecordError::Length)?;
        Ok(record)
    }

    /// The record as it stands in the log, with its length and checksum.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let mut out = vec![0; RECORD_HEADER];
        let main_length = u32::try_from(self.main_data.len()).map_err(|_| RecordError::TooLong)?;
        let mut previous: Option<BlockHeader> = None;
        for block in &self.blocks {
            let header = block_header(block)?;
            if header.id > parts::MAX_BLOCK_ID || previous.is_some_and(|previous| previous.id >= header.id) {
                return Err(RecordError::BlockOrder(header.id));
            }
            parts::push_block(&mut out, &header, previous.map(|previous| previous.relation));
            previous = Some(header);
        }
        parts::push_tail(&mut out, self.origin, self.top_xid, main_length);
        for block in &self.blocks {
            if let Some(image) = &block.image {
                out.extend_from_slice(&image.stored);
            }
            out.extend_from_slice(block.data);
        }
        out.extend_from_slice(self.main_data);
        let total_length = u32::try_from(out.len()).ok().filter(|&length| length <= MAX_RECORD);
        let total_length = total_length.ok_or(RecordError::TooLong)?;
        seal(&mut out, RecordHeader { total_length, ..self.header });
        Ok(out)
    }
}

/// Writes `header` over the start of a contiguous record, with the checksum that then is right.
pub(crate) fn seal(record: &mut [u8], header: RecordHeader) {
    if let Some(place) = record.first_chunk_mut::<RECORD_HEADER>() {
        *place = header.encode();
        let crc = record_crc(record).to_le_bytes();
        if let Some(place) = record.get_mut(CHECKSUMMED_HEADER..RECORD_HEADER) {
            place.copy_from_slice(&crc);
        }
    }
}

/// Checks the sub-headers of a record of `total_length` bytes, of which `record` holds the first
/// [`MAX_SUB_HEADERS`] at least. Allocates nothing. Whether it has an image that is compressed.
#[inline(always)]
pub(crate) fn check_structure(record: &[u8], total_length: usize) -> Result<bool, RecordError> {
    let body = record.get(RECORD_HEADER..).ok_or(RecordError::Length)?;
    let mut compressed = false;
    parts::walk(body, total_length.saturating_sub(RECORD_HEADER), |part| {
        if let Part::Block(BlockHeader { image: Some(image), .. }) = part {
            compressed |= image.compression.is_some();
        }
    })?;
    Ok(compressed)
}

/// Decompresses the images of a whole record that has passed [`check_structure`], one after the other into `page`. Whether it
/// has any that are compressed.
pub(crate) fn check_images(record: &[u8], page: &mut [u8; BLOCK_SIZE]) -> Result<bool, RecordError> {
    if !check_structure(record, record.len())? {
        return Ok(false);
    }
    let record = Record::decode_unchecked(record, WalVersion::V15)?;
    for block in record.blocks {
        if block.image.is_some_and(|image| image.restore_to(page).is_err()) {
            return Err(RecordError::ImageContent(block.id));
        }
    }
    Ok(true)
}

fn take_block<'a>(header: BlockHeader, data: &mut Fields<'a>) -> Option<BlockRef<'a>> {
    let image = match header.image {
        Some(image) => Some(BlockImage::from_parts(image, data.take(usize::from(image.length))?)),
        None => None,
    };
    Some(BlockRef {
        id: header.id,
        relation: header.relation,
        fork: header.fork,
        block: header.block,
        will_init: header.will_init,
        image,
        data: data.take(usize::from(header.data_length))?,
    })
}

fn block_header(block: &BlockRef<'_>) -> Result<BlockHeader, RecordError> {
    Ok(BlockHeader {
        id: block.id,
        fork: block.fork,
        will_init: block.will_init,
        relation: block.relation,
        block: block.block,
        image: block.image.as_ref().map(|image| image.header(block.id)).transpose()?,
        data_length: u16::try_from(block.data.len()).map_err(|_| RecordError::TooLong)?,
    })
}
