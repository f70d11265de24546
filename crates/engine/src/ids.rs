//! The numbers that name trees and pages.

use std::fmt;

use wal::record::{BlockNumber, RelFileLocator};

/// A tree, by the relfilenode that names its files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TreeId(u32);

impl TreeId {
    /// The tree that everything else is found through: the embedder's catalog. It exists from the start.
    pub const CATALOG: Self = Self(1259);
    /// The first number given to a tree that somebody creates (`FirstNormalObjectId`).
    pub const FIRST_CREATED: u32 = 16384;
    /// The default tablespace's OID.
    pub const TABLESPACE: u32 = 1663;
    /// The OID of the only database, `postgres`.
    pub const DATABASE: u32 = 5;

    /// The tree whose files are named `relfilenode`.
    pub const fn new(relfilenode: u32) -> Self {
        Self(relfilenode)
    }

    /// The number that names its files.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// As WAL records name its files.
    pub const fn locator(self) -> RelFileLocator {
        RelFileLocator { tablespace: Self::TABLESPACE, database: Self::DATABASE, relation: self.0 }
    }
}

impl fmt::Display for TreeId {
    /// The path of its first file, relative to the data directory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "base/{}/{}", Self::DATABASE, self.0)
    }
}

/// A page: a block of a tree's files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageId {
    /// The tree it belongs to.
    pub tree: TreeId,
    /// Which block of it.
    pub block: BlockNumber,
}

impl PageId {
    /// Block `block` of `tree`.
    pub const fn new(tree: TreeId, block: u32) -> Self {
        Self { tree, block: BlockNumber::new(block) }
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} of {}", self.block.as_u32(), self.tree)
    }
}
