//! Where the slots of a table's columns are.

use crate::types::Type;

/// The top bit of the column count: offsets have four bytes.
pub(super) const WIDE: u16 = 0x8000;
/// The most columns that a table has (`MaxHeapAttributeNumber`).
pub(crate) const MOST_COLUMNS: usize = 1600;
/// Bytes in front of the bitmap.
pub(super) const HEADER: usize = 2;

/// How a column's value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In its slot, with this many bytes
    Fixed(u8),
    /// In the data; the slot holds the end
    Variable,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) ty: Type,
    pub(super) kind: Kind,
    /// Offset of the slot with narrow and with wide offsets
    pub(super) at: [u32; 2],
    /// The slot of the variable column in front of this one, if there is one: where this one's data begins
    pub(super) previous: [Option<u32>; 2],
}

/// The slots of a table's rows; made once per table.
#[derive(Clone, Debug)]
pub struct RowLayout {
    pub(super) slots: Box<[Slot]>,
    /// Offset of the data with narrow and with wide offsets
    pub(super) data: [u32; 2],
}

impl RowLayout {
    /// The layout of rows with columns of these types (at most 1600, which the planner checks, and whoever reads
    /// a table's definition).
    pub fn new(types: impl IntoIterator<Item = Type>) -> Self {
        let types: Vec<Type> = types.into_iter().collect();
        assert!(
            types.len() <= MOST_COLUMNS,
            "a table has {MOST_COLUMNS} columns at most, and not {}",
            types.len()
        );
        let start = (HEADER + types.len().div_ceil(8)) as u32;
        let mut data = [start; 2];
        let mut previous = [None; 2];
        let slots = types
            .iter()
            .map(|&ty| {
                let kind = match ty {
                    Type::Bool => Kind::Fixed(1),
                    Type::Int2 => Kind::Fixed(2),
                    Type::Int4 => Kind::Fixed(4),
                    Type::Int8 | Type::Float8 | Type::Timestamp | Type::Timestamptz => Kind::Fixed(8),
                    Type::Uuid => Kind::Fixed(16),
                    _ => Kind::Variable,
                };
                let slot = Slot { ty, kind, at: data, previous };
                for wide in [0, 1] {
                    data[wide] += match kind {
                        Kind::Fixed(size) => u32::from(size),
                        Kind::Variable => [2, 4][wide],
                    };
                    if kind == Kind::Variable {
                        previous[wide] = Some(slot.at[wide]);
                    }
                }
                slot
            })
            .collect();
        Self { slots, data }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.slots.len()
    }

    /// The type of a column.
    pub fn column_type(&self, column: usize) -> Option<Type> {
        self.slots.get(column).map(|slot| slot.ty)
    }
}
