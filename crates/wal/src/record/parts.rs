//! The sub-headers between a record's header and its data: what they may say and how they add up.
//!
//! Block references come first, in ascending order; then the replication origin, the top-level transaction and the
//! length of the main data; then all data in the same order: each block's image and payload, last the main data.
//! Nothing is aligned. The walk allocates nothing and looks at no data. Source: `DecodeXLogRecord` in
//! `access/transam/xlogreader.c`, which this refuses everything that does, and a few images that it would fail to
//! restore.

use super::block::{BlockHeader, BlockNumber, Fork, RelFileLocator};
use super::image::ImageHeader;
use super::{RecordError, Xid};
use crate::bytes::Fields;

const ID_TOP_XID: u8 = 252;
const ID_ORIGIN: u8 = 253;
const ID_DATA_LONG: u8 = 254;
const ID_DATA_SHORT: u8 = 255;
pub(super) const MAX_BLOCK_ID: u8 = 32;

const FORK_MASK: u8 = 0x0F;
const HAS_IMAGE: u8 = 0x10;
const HAS_DATA: u8 = 0x20;
const WILL_INIT: u8 = 0x40;
const SAME_REL: u8 = 0x80;

/// What [`walk`] meets, in order.
pub(super) enum Part {
    Block(BlockHeader),
    Origin(u16),
    TopXid(Xid),
    MainData(u32),
}

/// More than the sub-headers of any record can take: 33 block references of at most 29 bytes, and the rest.
pub(crate) const MAX_SUB_HEADERS: usize = 1024;

/// Walks the sub-headers at the start of `body`, what follows the record's 24 bytes. `body` may be cut short after
/// [`MAX_SUB_HEADERS`] bytes; `length` is how long it really is. Returns where the data begins.
#[inline(always)]
pub(super) fn walk(body: &[u8], length: usize, mut visit: impl FnMut(Part)) -> Result<usize, RecordError> {
    let mut fields = Fields::new(body);
    let mut relation = None;
    let mut next_id = 0_u8;
    // Of the data announced so far; at most 33 * 2 * 64 KiB + 4 GiB.
    let mut data: u64 = 0;
    let left = |fields: &Fields<'_>| (length - (body.len() - fields.len())) as u64;
    while left(&fields) > data {
        let id = fields.u8().ok_or(RecordError::Length)?;
        match id {
            0..=MAX_BLOCK_ID => {
                if id < next_id {
                    return Err(RecordError::BlockOrder(id));
                }
                next_id = id + 1;
                let block = block_header(&mut fields, id, &mut relation)?;
                data += u64::from(block.data_length);
                data += block.image.map_or(0, |image| u64::from(image.length));
                visit(Part::Block(block));
            }
            ID_ORIGIN => visit(Part::Origin(fields.u16().ok_or(RecordError::Length)?)),
            ID_TOP_XID => visit(Part::TopXid(Xid::new(fields.u32().ok_or(RecordError::Length)?))),
            ID_DATA_SHORT | ID_DATA_LONG => {
                let main = if id == ID_DATA_SHORT { fields.u8().map(u32::from) } else { fields.u32() };
                let main = main.ok_or(RecordError::Length)?;
                data += u64::from(main);
                visit(Part::MainData(main));
                break;
            }
            _ => return Err(RecordError::BlockId(id)),
        }
    }
    if left(&fields) == data { Ok(body.len() - fields.len()) } else { Err(RecordError::Length) }
}

#[inline(always)]
fn block_header(
    fields: &mut Fields<'_>,
    id: u8,
    relation: &mut Option<RelFileLocator>,
) -> Result<BlockHeader, RecordError> {
    let [flags, data_length @ ..] = fields.array::<3>().ok_or(RecordError::Length)?;
    let data_length = u16::from_le_bytes(data_length);
    if (flags & HAS_DATA != 0) != (data_length != 0) {
        return Err(RecordError::DataFlag(id));
    }
    let image = if flags & HAS_IMAGE != 0 { Some(ImageHeader::read(fields, id)?) } else { None };
    if flags & SAME_REL == 0 {
        *relation = Some(RelFileLocator::read(fields).ok_or(RecordError::Length)?);
    }
    let relation = relation.ok_or(RecordError::NoRelation(id))?;
    let block = BlockNumber::new(fields.u32().ok_or(RecordError::Length)?);
    let will_init = flags & WILL_INIT != 0;
    Ok(BlockHeader { id, fork: Fork::new(flags & FORK_MASK), will_init, relation, block, image, data_length })
}

/// Appends the sub-header of a block reference; the relation is left out if it is `previous`.
pub(super) fn push_block(out: &mut Vec<u8>, block: &BlockHeader, previous: Option<RelFileLocator>) {
    let same_relation = previous == Some(block.relation);
    let mut flags = block.fork.as_u8() & FORK_MASK;
    for (set, flag) in [
        (block.image.is_some(), HAS_IMAGE),
        (block.data_length != 0, HAS_DATA),
        (block.will_init, WILL_INIT),
        (same_relation, SAME_REL),
    ] {
        if set {
            flags |= flag;
        }
    }
    out.extend_from_slice(&[block.id, flags]);
    out.extend_from_slice(&block.data_length.to_le_bytes());
    if let Some(image) = block.image {
        image.write(out);
    }
    if !same_relation {
        block.relation.write(out);
    }
    out.extend_from_slice(&block.block.as_u32().to_le_bytes());
}

/// Appends the sub-headers that follow the block references.
pub(super) fn push_tail(out: &mut Vec<u8>, origin: Option<u16>, top_xid: Option<Xid>, main_data: u32) {
    if let Some(origin) = origin {
        out.push(ID_ORIGIN);
        out.extend_from_slice(&origin.to_le_bytes());
    }
    if let Some(xid) = top_xid {
        out.push(ID_TOP_XID);
        out.extend_from_slice(&xid.as_u32().to_le_bytes());
    }
    match u8::try_from(main_data) {
        Ok(0) => {}
        Ok(short) => out.extend_from_slice(&[ID_DATA_SHORT, short]),
        Err(_) => {
            out.push(ID_DATA_LONG);
            out.extend_from_slice(&main_data.to_le_bytes());
        }
    }
}
