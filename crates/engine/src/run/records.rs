//! Generic records out of page changes, up to four blocks in each.
//!
//! Encoded straight into buffers that are used again and again: a commit of one row allocates nothing here.
//! Source: `access/xlogrecord.h`, `GenericXLogFinish` in `access/transam/generic_xlog.c`.

use wal::Lsn;
use wal::record::{ImageCompression, ResourceManager, Xid};

use super::diff::diff;
use super::image::push_image;
use super::overlay::{Before, Touched};
use crate::log::{Appender, Room, record};
use crate::{EngineError, PageId, TreeId};

/// The most blocks in a Generic record (`MAX_GENERIC_XLOG_PAGES`).
const MAX_BLOCKS: u8 = 4;

const HAS_IMAGE: u8 = 0x10;
const HAS_DATA: u8 = 0x20;
const SAME_RELATION: u8 = 0x80;

/// The record being put together.
#[derive(Debug, Default)]
pub(super) struct Records {
    xid: Xid,
    /// How much of the log's space they may take.
    room: Room,
    /// How many blocks are in it.
    blocks: u8,
    /// The last block's tree.
    tree: Option<TreeId>,
    /// The blocks' sub-headers, and what they announce.
    headers: Vec<u8>,
    data: Vec<u8>,
    record: Vec<u8>,
}

impl Records {
    /// Records of transaction `xid` from now on.
    pub(super) fn begin(&mut self, xid: Xid, room: Room) {
        (self.xid, self.room) = (xid, room);
        self.clear();
    }

    fn clear(&mut self) {
        self.blocks = 0;
        self.tree = None;
        self.headers.clear();
        self.data.clear();
    }

    /// A buffer for another record.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.record
    }

    /// Adds what became of a page: as an image if it is new or was not logged since `image_up_to`, otherwise as its
    /// differences. Appends a record once it is full, if the log has room for it. False if nothing differs.
    pub(super) fn add(
        &mut self,
        touched: &Touched,
        image_up_to: Lsn,
        compression: Option<ImageCompression>,
        appender: &mut Appender<'_>,
    ) -> Result<bool, EngineError> {
        assert!(self.blocks < MAX_BLOCKS, "a Generic record has {MAX_BLOCKS} blocks at most");
        let (header_start, data_start) = (self.headers.len(), self.data.len());
        match &touched.before {
            Before::Version(before) if before.lsn() > image_up_to && !before.is_new() => {
                diff(before, &touched.page, &mut self.data);
                let length = self.data.len() - data_start;
                if length == 0 {
                    return Ok(false);
                }
                self.push_header(HAS_DATA, length);
            }
            Before::Version(before) if before.bytes() == touched.page.bytes() => return Ok(false),
            _ => {
                self.push_header(HAS_IMAGE, 0);
                push_image(&touched.page, compression, &mut self.headers, &mut self.data);
            }
        }
        self.push_place(touched.id, header_start);
        self.blocks += 1;
        if self.blocks == MAX_BLOCKS {
            self.flush(appender)?;
        }
        Ok(true)
    }

    fn push_header(&mut self, flags: u8, data_length: usize) {
        // Fragments of one page are at most 8192 bytes and their headers, those bridging 4 equal bytes or more.
        assert!(
            data_length <= usize::from(u16::MAX),
            "a block's data, {data_length} bytes, has a length of two bytes"
        );
        self.headers.extend_from_slice(&[self.blocks, flags]);
        self.headers.extend_from_slice(&(data_length as u16).to_le_bytes());
    }

    /// Ends the sub-header that begins at `start` with the block's place.
    fn push_place(&mut self, id: PageId, start: usize) {
        if self.tree.replace(id.tree) == Some(id.tree) {
            if let Some(flags) = self.headers.get_mut(start + 1) {
                *flags |= SAME_RELATION;
            }
        } else {
            let locator = id.tree.locator();
            for number in [locator.tablespace, locator.database, locator.relation] {
                self.headers.extend_from_slice(&number.to_le_bytes());
            }
        }
        self.headers.extend_from_slice(&id.block.as_u32().to_le_bytes());
    }

    /// Appends the record, if it has any block, and the log room for it.
    pub(super) fn flush(&mut self, appender: &mut Appender<'_>) -> Result<(), EngineError> {
        if self.blocks == 0 {
            return Ok(());
        }
        record::begin(&mut self.record, ResourceManager::GENERIC, 0, self.xid);
        self.record.extend_from_slice(&self.headers);
        self.record.extend_from_slice(&self.data);
        appender.try_append(&mut self.record, self.room)?;
        self.clear();
        Ok(())
    }
}
