//! Choosing the way to the rows of a table.

use crate::catalog::TableDef;
use crate::expr::{CompareOp, Expr};
use crate::plan::{Access, SortKey};

/// Splits a condition into the part that finds rows by key and the rest that is checked on each.
pub(super) fn choose(table: &TableDef, filter: Option<Expr>) -> (Access, Option<Expr>) {
    let mut conditions = match filter {
        None => Vec::new(),
        Some(Expr::And(list)) => list,
        Some(one) => vec![one],
    };
    let key = table.key_columns();
    let mut prefix = Vec::new();
    for column in key {
        match take(&mut conditions, table, *column, |op| op == CompareOp::Equal) {
            Some((_, value)) => prefix.push(value),
            None => break,
        }
    }
    let access = if !key.is_empty() && prefix.len() == key.len() {
        Access::Point(prefix)
    } else if let Some(column) = key.get(prefix.len()) {
        match take_list(&mut conditions, *column).filter(|_| prefix.len() + 1 == key.len()) {
            Some((position, list)) => {
                conditions.remove(position);
                Access::Points(
                    list.into_iter().map(|last| prefix.iter().cloned().chain([last]).collect()).collect(),
                )
            }
            None => {
                let above = |op| matches!(op, CompareOp::Greater | CompareOp::GreaterOrEqual);
                let below = |op| matches!(op, CompareOp::Less | CompareOp::LessOrEqual);
                let lower = take(&mut conditions, table, *column, above);
                let upper = take(&mut conditions, table, *column, below);
                Access::Range {
                    prefix,
                    lower: lower.map(|(op, e)| (e, op == CompareOp::GreaterOrEqual)),
                    upper: upper.map(|(op, e)| (e, op == CompareOp::LessOrEqual)),
                    reverse: false,
                }
            }
        }
    } else {
        Access::full()
    };
    let rest = match conditions.len() {
        0 => None,
        1 => conditions.pop(),
        _ => Some(Expr::And(conditions)),
    };
    (access, rest)
}

/// Removes the first comparison of a column with something that does not depend on the row.
fn take(
    conditions: &mut Vec<Expr>,
    table: &TableDef,
    column: u16,
    wanted: impl Fn(CompareOp) -> bool,
) -> Option<(CompareOp, Expr)> {
    let position = conditions.iter().position(|condition| match condition {
        Expr::Compare(op, a, b) => {
            (is_column(a, column, table) && wanted(*op) && b.is_row_independent())
                || (is_column(b, column, table) && wanted(op.flipped()) && a.is_row_independent())
        }
        _ => false,
    })?;
    match conditions.remove(position) {
        Expr::Compare(op, a, b) if is_column(&a, column, table) => Some((op, *b)),
        Expr::Compare(op, a, _) => Some((op.flipped(), *a)),
        _ => None,
    }
}

/// The column itself, or widened to another integer: keys are made from integers of any width.
fn is_column(expr: &Expr, column: u16, table: &TableDef) -> bool {
    match expr {
        Expr::Column(c) => *c == column,
        Expr::Cast(cast) => {
            let stored = table.columns().get(usize::from(column)).map(|c| c.ty);
            cast.arg == Expr::Column(column)
                && stored.is_some_and(|ty| ty.is_integer() && cast.from == ty)
                && cast.to.is_integer()
        }
        _ => false,
    }
}

fn take_list(conditions: &mut [Expr], column: u16) -> Option<(usize, Vec<Expr>)> {
    conditions.iter_mut().enumerate().find_map(|(position, condition)| match condition {
        Expr::InList(value, list, false)
            if **value == Expr::Column(column) && list.iter().all(Expr::is_row_independent) =>
        {
            Some((position, list.clone()))
        }
        _ => None,
    })
}

/// Whether the access path delivers rows in the order asked for; turns it round if that is what it takes.
pub(super) fn delivers(table: &TableDef, access: &mut Access, order: &[SortKey]) -> bool {
    let (prefix, reverse) = match access {
        Access::Point(_) => return true,
        Access::Points(_) => return false,
        Access::Range { prefix, reverse, .. } => (prefix.len(), reverse),
    };
    let key = table.key_columns();
    let (bound, mut free) = (&key[..prefix.min(key.len())], key[prefix.min(key.len())..].iter());
    let mut descending = None;
    for sort in order {
        let Expr::Column(column) = sort.expr else { return false };
        if bound.contains(&column) {
            continue;
        }
        match free.next() {
            Some(next) if *next == column && descending.is_none_or(|d| d == sort.descending) => {
                descending = Some(sort.descending);
            }
            // All columns of the key have been sorted by: no two rows are left equal.
            None if !key.is_empty() => break,
            _ => return false,
        }
    }
    *reverse = descending.unwrap_or(false);
    true
}
