//! What an expression is evaluated over.

use super::SystemFunction;
use crate::error::SqlError;
use crate::row::RowView;
use crate::types::Value;

/// Functions that need more than their arguments: the log, the session, the clock, chance.
pub trait ServerFunctions {
    /// Calls one. The arguments are of the types that the function declares; functions that are strict are not called with
    /// a NULL.
    ///
    /// # Errors
    /// Whatever the function refuses.
    fn call(&self, function: SystemFunction, args: &[Value<'_>]) -> Result<Value<'static>, SqlError>;
}

/// A server without functions, where only constants are evaluated.
#[derive(Clone, Copy, Debug)]
pub struct NoServer;

impl ServerFunctions for NoServer {
    fn call(&self, function: SystemFunction, _: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
        Err(SqlError::internal(format!("function {} needs a server", function.name())))
    }
}

/// A row to read columns from.
#[derive(Clone, Copy, Debug, Default)]
pub enum RowRef<'a> {
    /// None: the expression names no columns
    #[default]
    None,
    /// A row in its bytes
    Bytes(RowView<'a>),
    /// Values
    Values(&'a [Value<'a>]),
}

impl<'a> RowRef<'a> {
    pub(super) fn get(&self, column: u16) -> Result<Value<'a>, SqlError> {
        match self {
            Self::Bytes(row) => row.get(usize::from(column)),
            Self::Values(values) => values
                .get(usize::from(column))
                .map(Value::borrow)
                .ok_or_else(|| SqlError::internal(format!("row has no column {column}"))),
            Self::None => Err(SqlError::internal(format!("column {column} read where there is no row"))),
        }
    }
}

/// Everything an expression can refer to.
#[derive(Clone, Copy)]
pub struct EvalContext<'a> {
    /// The row at hand
    pub row: RowRef<'a>,
    /// The row that was to be inserted, in ON CONFLICT DO UPDATE
    pub excluded: RowRef<'a>,
    /// The parameters, of the types that the plan says
    pub params: &'a [Value<'a>],
    /// The server
    pub server: &'a dyn ServerFunctions,
}

impl<'a> EvalContext<'a> {
    /// A context without a row.
    pub fn new(params: &'a [Value<'a>], server: &'a dyn ServerFunctions) -> Self {
        Self { row: RowRef::None, excluded: RowRef::None, params, server }
    }

    /// The same context over a row in its bytes.
    #[must_use]
    pub fn with_row<'b>(&self, row: RowView<'b>) -> EvalContext<'b>
    where
        'a: 'b,
    {
        EvalContext {
            row: RowRef::Bytes(row),
            excluded: self.excluded,
            params: self.params,
            server: self.server,
        }
    }

    /// The same context over values.
    #[must_use]
    pub fn with_values<'b>(&self, values: &'b [Value<'b>]) -> EvalContext<'b>
    where
        'a: 'b,
    {
        EvalContext {
            row: RowRef::Values(values),
            excluded: self.excluded,
            params: self.params,
            server: self.server,
        }
    }

    /// The same context with the row that was not inserted.
    #[must_use]
    pub fn with_excluded<'b>(&self, excluded: RowView<'b>) -> EvalContext<'b>
    where
        'a: 'b,
    {
        EvalContext {
            row: self.row,
            excluded: RowRef::Bytes(excluded),
            params: self.params,
            server: self.server,
        }
    }
}

impl std::fmt::Debug for EvalContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvalContext")
            .field("row", &self.row)
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}
