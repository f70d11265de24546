//! The definition of one table.

use crate::row::RowLayout;
use crate::types::Type;

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDef {
    /// Its name, folded
    pub name: String,
    /// Its type
    pub ty: Type,
    /// Whether NULL is refused
    pub not_null: bool,
    /// The text of its DEFAULT expression
    pub default: Option<String>,
}

/// The key that orders a table's rows in its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryKey {
    /// The constraint's name (`<table>_pkey` unless given)
    pub name: String,
    /// Positions of its columns, in key order
    pub columns: Vec<u16>,
}

/// One table. Never changed in place: a new definition is a new value, so that plans can hold it.
#[derive(Clone, Debug)]
pub struct TableDef {
    /// Its OID, stable over changes of the definition
    pub oid: u32,
    /// Its schema, always `public` so far
    pub schema: String,
    /// Its name, folded
    pub name: String,
    /// Its primary key; rows of a table without one have a hidden row id as their key
    pub primary_key: Option<PrimaryKey>,
    /// The engine's tree that holds the rows
    pub tree: u32,
    columns: Vec<ColumnDef>,
    layout: RowLayout,
    defaults: Vec<Option<crate::expr::Expr>>,
}

impl TableDef {
    /// A definition; the layout of rows and the compiled defaults follow from the columns.
    ///
    /// # Errors
    /// Those of a DEFAULT expression that does not compile.
    pub fn new(
        oid: u32,
        name: impl Into<String>,
        columns: Vec<ColumnDef>,
        primary_key: Option<PrimaryKey>,
        tree: u32,
    ) -> Result<Self, crate::SqlError> {
        let defaults = columns
            .iter()
            .map(|c| c.default.as_deref().map(|text| crate::plan::compile_default(text, c.ty)).transpose())
            .collect::<Result<_, _>>()?;
        let layout = RowLayout::new(columns.iter().map(|c| c.ty));
        let (schema, name) = (super::PUBLIC.to_owned(), name.into());
        Ok(Self { oid, schema, name, primary_key, tree, columns, layout, defaults })
    }

    /// The columns in order.
    pub fn columns(&self) -> &[ColumnDef] {
        &self.columns
    }

    /// The layout of its rows.
    pub fn layout(&self) -> &RowLayout {
        &self.layout
    }

    /// The compiled DEFAULT of a column, of the column's type; `None` is NULL.
    pub fn default(&self, column: usize) -> Option<&crate::expr::Expr> {
        self.defaults.get(column).and_then(Option::as_ref)
    }

    /// The position of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Positions of the primary key's columns, empty without one.
    pub fn key_columns(&self) -> &[u16] {
        self.primary_key.as_ref().map_or(&[], |key| &key.columns)
    }

    /// Name of the primary key, for messages.
    pub fn key_name(&self) -> &str {
        self.primary_key.as_ref().map_or("", |key| &key.name)
    }

    /// Types of the primary key's columns in key order.
    pub fn key_types(&self) -> impl Iterator<Item = Type> + '_ {
        self.key_columns().iter().filter_map(|c| self.columns.get(usize::from(*c)).map(|c| c.ty))
    }
}
