//! Name resolution and typing.

use super::Plan;
use crate::catalog::CatalogView;
use crate::error::SqlError;
use crate::expr::Expr;
use crate::parse::ParsedStatement;
use crate::types::Type;

/// Plans a statement. `params` are the types that the client declared, `Unknown` where it left the choice; the plan says
/// what they turned out to be.
///
/// # Errors
/// Names that do not exist, types that do not fit, what is not supported; positions count in the whole query text.
pub fn plan(
    statement: &ParsedStatement,
    catalog: &dyn CatalogView,
    params: &[Type],
) -> Result<Plan, SqlError> {
    let _ = (statement, catalog, params);
    Err(SqlError::unsupported("every statement"))
}

/// Compiles the DEFAULT of a column, given as text.
///
/// # Errors
/// As [`plan`]; 42804 when it cannot be assigned to the column.
pub fn compile_default(text: &str, ty: Type) -> Result<Expr, SqlError> {
    let _ = (text, ty);
    Err(SqlError::unsupported("every default"))
}
