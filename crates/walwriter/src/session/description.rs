//! What Describe tells of a statement.

use crate::protocol::{Format, ResultFormats, backend};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The OID of the table it comes from, 0 if it is an expression.
    pub table: u32,
    /// Its number in that table, from 1; 0 for an expression.
    pub attribute: i16,
    /// Its type's OID.
    pub type_oid: u32,
    /// Its type's size in bytes; negative: variable.
    pub type_size: i16,
    /// The type's modifier, such as a varchar's length + 4; -1 without one.
    pub type_modifier: i32,
}

/// A statement's parameters and result. RowDescription is encoded once, because some drivers ask for it each time.
#[derive(Debug, Clone, Default)]
pub struct Description {
    parameter_types: Vec<u32>,
    columns: Option<Vec<Column>>,
    /// RowDescription with every column in text format, or NoData.
    encoded: Vec<u8>,
}

impl Description {
    /// Of a statement with parameters of these types (OIDs); `columns` is `None` if it returns no rows.
    pub fn new(parameter_types: Vec<u32>, columns: Option<Vec<Column>>) -> Self {
        let mut encoded = Vec::new();
        match &columns {
            Some(columns) => backend::row_description(&mut encoded, columns, &ResultFormats::TEXT),
            None => backend::no_data(&mut encoded),
        }
        Self { parameter_types, columns, encoded }
    }

    /// The types of `$1`, `$2`, ... as OIDs.
    pub fn parameter_types(&self) -> &[u32] {
        &self.parameter_types
    }

    /// The columns of the result; `None` if there is no result.
    pub fn columns(&self) -> Option<&[Column]> {
        self.columns.as_deref()
    }

    /// Appends RowDescription, or NoData.
    pub fn put(&self, out: &mut Vec<u8>, formats: &ResultFormats) {
        match (&self.columns, formats) {
            (None, _) | (_, ResultFormats::All(Format::Text)) => out.extend_from_slice(&self.encoded),
            (Some(columns), formats) => backend::row_description(out, columns, formats),
        }
    }
}
