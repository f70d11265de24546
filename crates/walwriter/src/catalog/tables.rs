//! All tables at one moment.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use engine::{Direction, Transaction, TreeId};
use sql::TableDef;
use wal::Lsn;

use crate::exec::Result;

/// Keys of tables' definitions begin with this.
const TABLE: u8 = b't';
/// The key of the stamp, which each change of a definition replaces by another number.
pub(crate) const STAMP_KEY: &[u8] = b"s";

/// The key of a table's definition in the catalog tree, by the table's full name.
pub(crate) fn table_key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(TABLE);
    key.extend_from_slice(name.as_bytes());
    key
}

/// The tables as of a snapshot. Never changed.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    /// Names this state of the definitions; [`super::NO_GENERATION`] if it is not to be used again.
    pub(super) generation: u64,
    /// The snapshot that they were read at.
    pub(super) as_of: Lsn,
    /// The latest snapshot for which they were found to be valid. Used on standbys.
    pub(super) checked_at: Lsn,
    /// What the tree says under [`STAMP_KEY`].
    pub(super) stamp: u64,
    pub(super) by_name: Arc<HashMap<String, Arc<TableDef>>>,
}

impl Tables {
    /// No tables, which are never valid.
    pub(crate) fn empty() -> Self {
        Self {
            generation: 0,
            as_of: Lsn::INVALID,
            checked_at: Lsn::INVALID,
            stamp: 0,
            by_name: Arc::default(),
        }
    }

    /// Names this state of the definitions among all states there have been in this process.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// A table by its full name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<TableDef>> {
        self.by_name.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<TableDef>> {
        self.by_name.values()
    }

    pub(super) fn read(transaction: &Transaction, generation: u64) -> Result<Self> {
        let as_of = transaction.snapshot_lsn();
        let bounds = (Bound::Included(vec![TABLE]), Bound::Excluded(vec![TABLE + 1]));
        let mut scan = transaction.scan(TreeId::CATALOG, bounds, Direction::Forward);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut by_name = HashMap::new();
        while scan.next(transaction, &mut key, &mut value)? {
            let table = TableDef::decode(&value)?;
            by_name.insert(table.full_name(), Arc::new(table));
        }
        let stamp = Self::read_stamp(transaction)?;
        Ok(Self { generation, as_of, checked_at: as_of, stamp, by_name: Arc::new(by_name) })
    }

    pub(super) fn read_stamp(transaction: &Transaction) -> Result<u64> {
        let stamp = transaction.get_with(TreeId::CATALOG, STAMP_KEY, |bytes| {
            bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
        })?;
        Ok(stamp.unwrap_or(0))
    }
}
