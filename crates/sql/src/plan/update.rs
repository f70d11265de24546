//! The plans of UPDATE and DELETE and the making of an updated row.

use std::sync::Arc;

use super::access::Access;
use super::insert::not_null_violation;
use crate::catalog::TableDef;
use crate::error::SqlError;
use crate::expr::{EvalContext, Expr};
use crate::row::{RowView, RowWriter};

/// Rows to change.
#[derive(Clone, Debug)]
pub struct UpdatePlan {
    /// Where
    pub table: Arc<TableDef>,
    /// How to find the rows
    pub access: Access,
    /// What a row must satisfy, after the access path
    pub filter: Option<Expr>,
    /// New values by column position, ordered by it, evaluated over the old row
    pub assignments: Vec<(u16, Expr)>,
    /// Whether a column of the key is assigned, so that the row may move
    pub changes_key: bool,
    /// What to return of every row, evaluated over its new state
    pub returning: Option<Vec<Expr>>,
}

/// Rows to delete.
#[derive(Clone, Debug)]
pub struct DeletePlan {
    /// Where
    pub table: Arc<TableDef>,
    /// How to find the rows
    pub access: Access,
    /// What a row must satisfy, after the access path
    pub filter: Option<Expr>,
    /// What to return of every row, evaluated over its last state
    pub returning: Option<Vec<Expr>>,
}

impl UpdatePlan {
    /// Appends the new row to `out`. The context's row is the old one.
    ///
    /// # Errors
    /// Those of [`apply_assignments`].
    pub fn encode(
        &self,
        old: &RowView<'_>,
        context: &EvalContext<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), SqlError> {
        apply_assignments(&self.table, &self.assignments, old, context, out)
    }
}

/// Appends a row with some columns assigned and the others copied. Assignments are ordered by column.
///
/// # Errors
/// 23502 for a NULL where none may be, and those of the expressions.
pub fn apply_assignments(
    table: &TableDef,
    assignments: &[(u16, Expr)],
    old: &RowView<'_>,
    context: &EvalContext<'_>,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let mut writer = RowWriter::new(table.layout(), out);
    let mut next = assignments.iter().peekable();
    for (position, column) in table.columns().iter().enumerate() {
        match next.next_if(|(assigned, _)| usize::from(*assigned) == position) {
            Some((_, expr)) => {
                let value = expr.eval(context)?;
                if column.not_null && value.is_null() {
                    return Err(not_null_violation(table, &column.name));
                }
                writer.push(&value)?;
            }
            None => writer.copy(old)?,
        }
    }
    writer.finish()
}
