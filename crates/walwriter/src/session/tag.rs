//! What CommandComplete says.

use std::io::Write as _;

/// A command and, for some, how many rows it touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandTag {
    /// There was no command: EmptyQueryResponse takes the place of CommandComplete.
    Empty,
    /// Just a name: `BEGIN`, `CREATE TABLE`.
    Name(&'static str),
    /// A name and a number of rows: `SELECT 5`, `UPDATE 1`, `COPY 100`.
    Rows(&'static str, u64),
    /// `INSERT 0 n`; the zero was an OID once.
    Insert(u64),
}

impl CommandTag {
    /// Appends the text.
    pub fn put(self, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _infallible = match self {
            Self::Empty => Ok(()),
            Self::Name(name) => out.write_all(name.as_bytes()),
            Self::Rows(name, rows) => write!(out, "{name} {rows}"),
            Self::Insert(rows) => write!(out, "INSERT 0 {rows}"),
        };
    }
}
