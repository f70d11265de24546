//! Rows as bytes.
//!
//! ```text
//! u16 LE   count of columns; the top bit says that offsets are wide
//! bitmap   one bit per column, least significant first, 1 = NULL; whole bytes
//! slots    one per column in order: the value itself (little endian) for types of fixed size,
//!          for the others the offset of the value's end in the data, as u16 (u32 when wide)
//! data     the values of variable size in column order, without gaps
//! ```
//! The place of every slot follows from the table alone, so that one column is read without looking at the others, and
//! changing a column of fixed size changes only its own bytes: what the log has to carry. A NULL keeps its slot (zeros, or
//! an empty range).

mod layout;
mod view;
mod writer;

pub(crate) use layout::MOST_COLUMNS;
pub use layout::RowLayout;
pub use view::RowView;
pub use writer::RowWriter;

#[cfg(test)]
mod tests;
