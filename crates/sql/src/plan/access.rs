//! How the rows of a table are found: by whole keys, or in a range of keys.

use std::cmp::Ordering;
use std::ops::Bound;

use crate::catalog::TableDef;
use crate::error::SqlError;
use crate::expr::{EvalContext, Expr};
use crate::key;
use crate::types::Type;

/// The way to the rows. Its expressions do not depend on a row.
#[derive(Clone, Debug)]
pub enum Access {
    /// At most one row: a value for every column of the key
    Point(Vec<Expr>),
    /// At most one row for each of these keys (`IN`)
    Points(Vec<Vec<Expr>>),
    /// The rows whose key begins with `prefix` and whose next column is within the bounds; all rows without any of them
    Range {
        /// Values of the first columns of the key
        prefix: Vec<Expr>,
        /// The least value of the next column, and whether it belongs to the range
        lower: Option<(Expr, bool)>,
        /// The greatest value of the next column, and whether it belongs to the range
        upper: Option<(Expr, bool)>,
        /// Whether the rows are wanted in descending order
        reverse: bool,
    },
}

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBounds {
    /// Where it begins
    pub lower: Bound<Vec<u8>>,
    /// Where it ends
    pub upper: Bound<Vec<u8>>,
}

impl Access {
    /// Every row in ascending order.
    pub fn full() -> Self {
        Self::Range { prefix: Vec::new(), lower: None, upper: None, reverse: false }
    }

    /// Appends the key of a [`Access::Point`]; false when no row can have it (NULL, out of range).
    ///
    /// # Errors
    /// Those of the expressions; XX000 for another kind of access.
    pub fn encode_point(
        &self,
        table: &TableDef,
        context: &EvalContext<'_>,
        key: &mut Vec<u8>,
    ) -> Result<bool, SqlError> {
        match self {
            Self::Point(values) => encode_values(values, table, context, key),
            _ => Err(SqlError::internal("access path is no point")),
        }
    }

    /// The keys of a [`Access::Point`] or [`Access::Points`], ascending, each once.
    ///
    /// # Errors
    /// Those of the expressions; XX000 for a range.
    pub fn keys(&self, table: &TableDef, context: &EvalContext<'_>) -> Result<Vec<Vec<u8>>, SqlError> {
        let lists = match self {
            Self::Point(values) => std::slice::from_ref(values),
            Self::Points(lists) => lists,
            Self::Range { .. } => return Err(SqlError::internal("access path is a range")),
        };
        let mut keys = Vec::with_capacity(lists.len());
        for values in lists {
            let mut key = Vec::new();
            if encode_values(values, table, context, &mut key)? {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// The bounds of a [`Access::Range`]; `None` when no row can be within them.
    ///
    /// # Errors
    /// Those of the expressions; XX000 for points.
    pub fn bounds(&self, table: &TableDef, context: &EvalContext<'_>) -> Result<Option<KeyBounds>, SqlError> {
        let Self::Range { prefix, lower, upper, .. } = self else {
            return Err(SqlError::internal("access path is no range"));
        };
        let mut start = Vec::new();
        if !encode_values(prefix, table, context, &mut start)? {
            return Ok(None);
        }
        let ty = table.key_types().nth(prefix.len());
        let whole = |start: Vec<u8>| if start.is_empty() { Bound::Unbounded } else { Bound::Included(start) };
        let below = |prefix: &[u8]| match key::successor_of_prefix(prefix) {
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        };
        let lower = match lower {
            None => whole(start.clone()),
            Some((expr, inclusive)) => match end_of_range(expr, ty, &start, context)? {
                End::Never | End::Outside(Ordering::Greater) => return Ok(None),
                End::Outside(_) => whole(start.clone()),
                End::Key(end) if *inclusive => Bound::Included(end),
                // Above all keys that begin with the value: other columns of the key may follow it.
                End::Key(end) => match key::successor_of_prefix(&end) {
                    Some(end) => Bound::Included(end),
                    None => return Ok(None),
                },
            },
        };
        let upper = match upper {
            None => below(&start),
            Some((expr, inclusive)) => match end_of_range(expr, ty, &start, context)? {
                End::Never | End::Outside(Ordering::Less) => return Ok(None),
                End::Outside(_) => below(&start),
                End::Key(end) if *inclusive => below(&end),
                End::Key(end) => Bound::Excluded(end),
            },
        };
        // BTreeMap-like containers refuse ranges that are the wrong way round; they are empty.
        if let (Bound::Included(low), Bound::Excluded(high)) = (&lower, &upper)
            && low >= high
        {
            return Ok(None);
        }
        Ok(Some(KeyBounds { lower, upper }))
    }
}

enum End {
    /// The value is NULL: no row compares true
    Never,
    /// The value is less or greater than all of the column's type
    Outside(Ordering),
    /// The key that ends in the value
    Key(Vec<u8>),
}

fn end_of_range(
    expr: &Expr,
    ty: Option<Type>,
    prefix: &[u8],
    context: &EvalContext<'_>,
) -> Result<End, SqlError> {
    let ty = ty.ok_or_else(|| SqlError::internal("range on a column behind the key"))?;
    let value = expr.eval(context)?;
    if value.is_null() {
        return Ok(End::Never);
    }
    if let Some(outside) = key::integer_outside(&value, ty) {
        return Ok(End::Outside(outside));
    }
    let mut end = prefix.to_vec();
    Ok(if key::encode(&value, ty, &mut end)? { End::Key(end) } else { End::Never })
}

fn encode_values(
    values: &[Expr],
    table: &TableDef,
    context: &EvalContext<'_>,
    key: &mut Vec<u8>,
) -> Result<bool, SqlError> {
    for (expr, ty) in values.iter().zip(table.key_types()) {
        if !key::encode(&expr.eval(context)?, ty, key)? {
            return Ok(false);
        }
    }
    Ok(true)
}
