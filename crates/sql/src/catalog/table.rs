//! The definition of one table.

use crate::error::SqlError;
use crate::expr::{CastExpr, Expr, SystemFunction};
use crate::row::RowLayout;
use crate::types::{Type, Value};

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
    /// `serial`: its DEFAULT is the next number of a counter of its own
    pub serial: bool,
}

impl ColumnDef {
    /// The DEFAULT as the catalogs of `table` show it.
    pub fn default_text(&self, table: &str) -> Option<String> {
        match self.serial {
            true => Some(format!("nextval('{table}_{}_seq'::regclass)", self.name)),
            false => self.default.as_deref().map(|text| self.typed_literal(text)),
        }
    }

    /// A string alone is shown with its type, as the constant that it is (`get_const_expr` in `ruleutils.c`).
    fn typed_literal(&self, text: &str) -> String {
        let literal = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let is_literal = literal.is_some_and(|inside| !inside.replace("\'\'", "").contains('\''));
        match self.ty {
            Type::Char(_) if is_literal => format!("{text}::bpchar"),
            ty if is_literal && ty.is_string() => format!("{text}::{}", ty.without_length().name()),
            _ => text.to_owned(),
        }
    }

    fn compile_default(&self, table: u32, position: usize) -> Result<Option<Expr>, SqlError> {
        if !self.serial {
            return self
                .default
                .as_deref()
                .map(|text| crate::plan::compile_default(text, self.ty))
                .transpose();
        }
        let column = i16::try_from(position).map_err(|_| SqlError::internal("column out of range"))?;
        let counter = [Value::Oid(table), Value::Int2(column)].map(Expr::Const);
        let arg = Expr::System(SystemFunction::NextSerial, counter.into());
        let number = CastExpr { arg, from: Type::Int8, to: self.ty, explicit: false };
        Ok(Some(Expr::Cast(Box::new(number))))
    }
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
    /// Its schema: `public`, or a session's own, where its temporary tables are
    pub schema: String,
    /// Its name, folded
    pub name: String,
    /// Its primary key; rows of a table without one have a hidden row id as their key
    pub primary_key: Option<PrimaryKey>,
    /// The engine's tree that holds the rows
    pub tree: u32,
    columns: Vec<ColumnDef>,
    layout: RowLayout,
    defaults: Vec<Option<Expr>>,
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
    ) -> Result<Self, SqlError> {
        let defaults = columns
            .iter()
            .enumerate()
            .map(|(position, column)| column.compile_default(oid, position))
            .collect::<Result<_, _>>()?;
        let layout = RowLayout::new(columns.iter().map(|c| c.ty));
        let (schema, name) = (super::PUBLIC.to_owned(), name.into());
        Ok(Self { oid, schema, name, primary_key, tree, columns, layout, defaults })
    }

    /// The same table in another schema than `public`.
    #[must_use]
    pub fn in_schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// Its name among the tables of all schemas.
    pub fn full_name(&self) -> String {
        super::full_name(&self.schema, &self.name)
    }

    /// Whether it belongs to one session.
    pub fn is_temporary(&self) -> bool {
        self.schema != super::PUBLIC
    }

    /// Positions of its `serial` columns.
    pub fn serial_columns(&self) -> impl Iterator<Item = u16> + '_ {
        (0u16..).zip(&self.columns).filter(|(_, column)| column.serial).map(|(position, _)| position)
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
    pub fn default(&self, column: usize) -> Option<&Expr> {
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
