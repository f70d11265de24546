//! The plan of an INSERT and the making of its rows.

use std::sync::Arc;

use super::select::SelectPlan;
use crate::catalog::TableDef;
use crate::error::{SqlError, sqlstate};
use crate::expr::{EvalContext, Expr};
use crate::key;
use crate::row::{RowView, RowWriter};
use crate::types::Value;

/// Rows to insert.
#[derive(Clone, Debug)]
pub struct InsertPlan {
    /// Where to
    pub table: Arc<TableDef>,
    /// The rows
    pub source: InsertSource,
    /// What to do about a row whose key exists
    pub conflict: Option<OnConflict>,
    /// What to return of every row that was inserted or updated, evaluated over its new state
    pub returning: Option<Vec<Expr>>,
}

/// Where the rows of an INSERT come from.
#[derive(Clone, Debug)]
pub enum InsertSource {
    /// Rows with one expression for every column of the table, converted to its type
    Values(Vec<Vec<Expr>>),
    /// A query, and one expression over its result's row for every column of the table
    Select(Box<SelectPlan>, Vec<Expr>),
}

/// `ON CONFLICT`. The key is the only thing that can conflict.
#[derive(Clone, Debug)]
pub struct OnConflict {
    /// DO NOTHING or DO UPDATE
    pub action: ConflictAction,
}

/// What ON CONFLICT does.
#[derive(Clone, Debug)]
pub enum ConflictAction {
    /// DO NOTHING
    Nothing,
    /// DO UPDATE: evaluated with the existing row as the row and the proposed one as excluded
    Update {
        /// New values by column position, ordered by it
        assignments: Vec<(u16, Expr)>,
        /// Only if this is true
        filter: Option<Expr>,
        /// Whether a column of the key is assigned
        changes_key: bool,
    },
}

impl InsertPlan {
    /// Makes one row: appends its bytes to `row` and its key to `key` (nothing in a table without a primary key).
    /// `exprs` are those of one row of [`InsertSource`].
    ///
    /// # Errors
    /// 23502 for a NULL where none may be, 54000 for a key that is too long, and those of the expressions.
    pub fn encode(
        &self,
        exprs: &[Expr],
        context: &EvalContext<'_>,
        key: &mut Vec<u8>,
        row: &mut Vec<u8>,
    ) -> Result<(), SqlError> {
        let start = row.len();
        let mut writer = RowWriter::new(self.table.layout(), row);
        for (expr, column) in exprs.iter().zip(self.table.columns()) {
            let value = expr.eval(context)?;
            if column.not_null && value.is_null() {
                return Err(not_null_violation(&self.table, &column.name));
            }
            writer.push(&value)?;
        }
        writer.finish()?;
        encode_key(&self.table, &row[start..], key)
    }
}

/// Appends the primary key of a row; nothing for a table without one.
///
/// # Errors
/// 54000 for a key that is too long, XX001 for a damaged row.
pub fn encode_key(table: &TableDef, row: &[u8], key: &mut Vec<u8>) -> Result<(), SqlError> {
    if table.key_columns().is_empty() {
        return Ok(());
    }
    let start = key.len();
    let view = RowView::new(table.layout(), row)?;
    for (column, ty) in table.key_columns().iter().zip(table.key_types()) {
        let value = view.get(usize::from(*column))?;
        if !key::encode(&value, ty, key)? {
            let name = table.columns().get(usize::from(*column)).map_or("", |c| &c.name);
            return Err(not_null_violation(table, name));
        }
    }
    key::check_length(key.len() - start, table.key_name())
}

/// The error for a NULL in a column that takes none.
#[cold]
pub fn not_null_violation(table: &TableDef, column: &str) -> SqlError {
    let message = format!(
        "null value in column \"{column}\" of relation \"{}\" violates not-null constraint",
        table.name
    );
    SqlError::new(sqlstate::NOT_NULL_VIOLATION, message)
}

/// The error for a key that exists already, with PostgreSQL's detail line.
#[cold]
pub fn unique_violation(table: &TableDef, row: &[u8]) -> SqlError {
    let message = format!("duplicate key value violates unique constraint \"{}\"", table.key_name());
    let error = SqlError::new(sqlstate::UNIQUE_VIOLATION, message);
    let Ok(view) = RowView::new(table.layout(), row) else { return error };
    let (mut names, mut values) = (String::new(), Vec::new());
    for (column, ty) in table.key_columns().iter().map(|c| usize::from(*c)).zip(table.key_types()) {
        if !names.is_empty() {
            names.push_str(", ");
            values.extend_from_slice(b", ");
        }
        names.push_str(table.columns().get(column).map_or("", |c| &c.name));
        crate::types::text::write(&view.get(column).unwrap_or(Value::Null), ty, &mut values);
    }
    error.with_detail(format!("Key ({names})=({}) already exists.", String::from_utf8_lossy(&values)))
}
