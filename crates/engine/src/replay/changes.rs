//! What committed runs do to pages, copied out of their records: small enough to be handed to another thread.

use wal::Lsn;
use wal::record::{BlockImage, BlockRef, Fork, ImageCompression};

use crate::{EngineError, PageId, TreeId};

/// What one record says about one page.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) page: PageId,
    /// Where the record ends.
    pub(super) record_end: Lsn,
    /// Where its run ends: the page's `pd_lsn` afterwards.
    pub(super) run_end: Lsn,
    pub(super) what: What<'a>,
}

#[derive(Debug)]
pub(super) enum What<'a> {
    /// The page is this image.
    Image(BlockImage<'a>),
    /// The page is changed by these fragments.
    Fragments(&'a [u8]),
}

/// Changes in the order of the log, with memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Changes {
    entries: Vec<Entry>,
    /// What the entries are made of, one after the other.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    page: PageId,
    record_end: Lsn,
    run_end: Lsn,
    kind: Kind,
    /// How many of the bytes are its own.
    length: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Image { hole_offset: u16, hole_length: u16, compression: Option<ImageCompression> },
    Fragments,
}

/// The page that `block` names, in a record that ends at `record_end`.
pub(super) fn page_of(block: &BlockRef<'_>, record_end: Lsn) -> Result<PageId, EngineError> {
    let locator = block.relation;
    let tree = TreeId::new(locator.relation);
    if locator != tree.locator() || block.fork != Fork::MAIN {
        let reason = format!("it changes relation {locator}, which this engine does not keep");
        return Err(EngineError::Replay { lsn: record_end, reason });
    }
    Ok(PageId { tree, block: block.block })
}

impl Changes {
    /// Adds what a record that ends at `record_end` says about `block`, which is `page`, in a run that ends at `run_end`.
    pub(super) fn add(&mut self, page: PageId, block: &BlockRef<'_>, record_end: Lsn, run_end: Lsn) {
        let (kind, bytes) = match block.image.as_ref().filter(|image| image.apply) {
            Some(&BlockImage { hole_offset, hole_length, compression, ref stored, .. }) => {
                (Kind::Image { hole_offset, hole_length, compression }, stored.as_ref())
            }
            None => (Kind::Fragments, block.data),
        };
        self.bytes.extend_from_slice(bytes);
        self.entries.push(Entry { page, record_end, run_end, kind, length: bytes.len() });
    }

    /// How much memory they take, in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        let mut rest = self.bytes.as_slice();
        self.entries.iter().map(move |&Entry { page, record_end, run_end, kind, length }| {
            let bytes;
            (bytes, rest) = rest.split_at(length);
            let what = match kind {
                Kind::Fragments => What::Fragments(bytes),
                Kind::Image { hole_offset, hole_length, compression } => What::Image(BlockImage {
                    hole_offset,
                    hole_length,
                    apply: true,
                    compression,
                    stored: bytes.into(),
                }),
            };
            Change { page, record_end, run_end, what }
        })
    }
}
