//! References from a record to the blocks of relations that it changes.

use std::fmt;

use super::image::{BlockImage, ImageHeader};
use crate::bytes::Fields;

/// Which of a relation's files a block lies in (`ForkNumber`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fork(u8);

impl Fork {
    /// The relation's data.
    pub const MAIN: Self = Self(0);
    /// The free space map.
    pub const FREE_SPACE_MAP: Self = Self(1);
    /// The visibility map.
    pub const VISIBILITY_MAP: Self = Self(2);
    /// The empty state of an unlogged relation.
    pub const INIT: Self = Self(3);

    /// Fork `number`, of which 4 bits are kept in a record.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// This fork's number.
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

/// The number of an 8 KiB block in its fork (`BlockNumber`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockNumber(u32);

impl BlockNumber {
    /// Block `number`.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// This block's number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// The files of a relation (`RelFileLocator`, before 16 `RelFileNode`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RelFileLocator {
    /// The tablespace's OID: 1663 is the default one, 1664 the one for shared relations.
    pub tablespace: u32,
    /// The database's OID; 0 for shared relations.
    pub database: u32,
    /// The number that names the files.
    pub relation: u32,
}

impl RelFileLocator {
    #[inline(always)]
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let mut fields = Fields::new(fields.take(12)?);
        Some(Self { tablespace: fields.u32()?, database: fields.u32()?, relation: fields.u32()? })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for number in [self.tablespace, self.database, self.relation] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

impl fmt::Display for RelFileLocator {
    /// As pg_waldump prints it: `1663/5/16405`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tablespace, self.database, self.relation)
    }
}

/// A block reference's sub-header, without the data it announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlockHeader {
    pub(super) id: u8,
    pub(super) fork: Fork,
    pub(super) will_init: bool,
    pub(super) relation: RelFileLocator,
    pub(super) block: BlockNumber,
    pub(super) image: Option<ImageHeader>,
    pub(super) data_length: u16,
}

/// A block that a record changes, with what it says about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockRef<'a> {
    /// The reference's number in its record, 0 to 32, ascending.
    pub id: u8,
    /// The relation the block belongs to.
    pub relation: RelFileLocator,
    /// Which of the relation's files.
    pub fork: Fork,
    /// Which block of it.
    pub block: BlockNumber,
    /// Whether replay begins with an empty page instead of reading the block.
    pub will_init: bool,
    /// The whole page, if the record carries it.
    pub image: Option<BlockImage<'a>>,
    /// The resource manager's own data about this block, at most 65535 bytes.
    pub data: &'a [u8],
}
