//! Where the rows of a query come from.

use engine::{Direction, Scan, Transaction, TreeId};
use sql::plan::{Access, SelectPlan, Source};
use sql::row::RowView;
use sql::{EvalContext, TableDef, Value};

use super::env::Env;
use super::{Failure, Result};

/// The rows of a query's source, one after the other; owns where it is.
#[derive(Debug)]
pub(super) struct Rows {
    next: Next,
    current: Current,
    /// The current row's key, if it is a table's.
    pub(super) key: Vec<u8>,
    /// The current row's bytes, if it is a table's.
    pub(super) bytes: Vec<u8>,
    /// The current row, if it is none of a table.
    values: Vec<Value<'static>>,
}

#[derive(Debug)]
enum Next {
    Nothing,
    /// One row without columns.
    One,
    /// The row of `VALUES` with this number.
    Values(usize),
    Series {
        next: i64,
        stop: i64,
        step: i64,
    },
    System(std::vec::IntoIter<Vec<Value<'static>>>),
    /// The row under the key that is in `key`.
    Point,
    Keys(std::vec::IntoIter<Vec<u8>>),
    Scan(Box<Scan>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Current {
    None,
    Bytes,
    Values,
}

impl Rows {
    pub(super) fn open(source: &Source, env: &Env<'_>) -> Result<Self> {
        let context = env.expressions();
        let next = match source {
            Source::Nothing => Next::One,
            Source::Values(_) => Next::Values(0),
            Source::Series { start, stop, step, .. } => open_series(&context, start, stop, step)?,
            Source::System(relation) => {
                Next::System(crate::views::rows(relation, &env.sources())?.into_iter())
            }
            Source::Table { table, access } => return Self::open_table(table, access, env),
        };
        Ok(Self::with(next, Vec::new()))
    }

    pub(super) fn open_table(table: &TableDef, access: &Access, env: &Env<'_>) -> Result<Self> {
        let context = env.expressions();
        let mut key = Vec::new();
        let next = match access {
            Access::Point(_) if access.encode_point(table, &context, &mut key)? => Next::Point,
            Access::Point(_) => Next::Nothing,
            Access::Points(_) => Next::Keys(access.keys(table, &context)?.into_iter()),
            Access::Range { reverse, .. } => match access.bounds(table, &context)? {
                None => Next::Nothing,
                Some(bounds) => {
                    let direction = if *reverse { Direction::Backward } else { Direction::Forward };
                    let bounds = (bounds.lower, bounds.upper);
                    let tree = TreeId::new(table.tree);
                    Next::Scan(Box::new(env.transaction.scan(tree, bounds, direction)))
                }
            },
        };
        Ok(Self::with(next, key))
    }

    fn with(next: Next, key: Vec<u8>) -> Self {
        Self { next, current: Current::None, key, bytes: Vec::new(), values: Vec::new() }
    }

    /// Whether the rows of a table are found by whole keys.
    pub(super) fn is_by_key(&self) -> bool {
        matches!(self.next, Next::Point | Next::Keys(_) | Next::Nothing)
    }

    /// Moves to the next key of a table that is read by whole keys, whether there is a row or not.
    pub(super) fn fetch_key(&mut self) -> bool {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Point => true,
            Next::Keys(mut keys) => match keys.next() {
                Some(key) => {
                    self.key = key;
                    self.next = Next::Keys(keys);
                    true
                }
                None => false,
            },
            other => {
                self.next = other;
                false
            }
        }
    }

    /// Moves to the next row of a table.
    pub(super) fn fetch_from(&mut self, table: &TableDef, transaction: &Transaction) -> Result<bool> {
        self.current = Current::Bytes;
        if let Next::Scan(scan) = &mut self.next {
            return Ok(scan.next(transaction, &mut self.key, &mut self.bytes)?);
        }
        while self.fetch_key() {
            let bytes = &mut self.bytes;
            bytes.clear();
            let found = transaction
                .get_with(TreeId::new(table.tree), &self.key, |value| bytes.extend_from_slice(value))?;
            if found.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves to the next row. False: there is none.
    pub(super) fn fetch(&mut self, plan: &SelectPlan, env: &Env<'_>) -> Result<bool> {
        if let Source::Table { table, .. } = &plan.source {
            return self.fetch_from(table, env.transaction);
        }
        match &mut self.next {
            Next::One => {
                self.next = Next::Nothing;
                self.current = Current::None;
                return Ok(true);
            }
            Next::Values(number) => {
                let Source::Values(rows) = &plan.source else { return Ok(false) };
                let Some(row) = rows.get(*number) else { return Ok(false) };
                let context = env.expressions();
                self.values.clear();
                for expr in row {
                    self.values.push(expr.eval(&context)?.into_owned());
                }
                *number += 1;
            }
            Next::Series { next, stop, step } => {
                if (*step > 0 && *next > *stop) || (*step < 0 && *next < *stop) {
                    return Ok(false);
                }
                let int4 = matches!(plan.source, Source::Series { int4: true, .. });
                let value = *next;
                self.values.clear();
                self.values.push(match i32::try_from(value) {
                    Ok(value) if int4 => Value::Int4(value),
                    _ => Value::Int8(value),
                });
                match value.checked_add(*step) {
                    Some(after) => *next = after,
                    None => self.next = Next::Nothing,
                }
            }
            Next::System(rows) => match rows.next() {
                Some(row) => self.values = row,
                None => return Ok(false),
            },
            _ => return Ok(false),
        }
        self.current = Current::Values;
        Ok(true)
    }

    /// A context with the current row.
    pub(super) fn context<'b>(
        &'b self,
        table: Option<&'b TableDef>,
        base: &EvalContext<'b>,
    ) -> Result<EvalContext<'b>> {
        Ok(match (self.current, table) {
            (Current::Bytes, Some(table)) => base.with_row(RowView::new(table.layout(), &self.bytes)?),
            (Current::Values, _) => base.with_values(&self.values),
            _ => *base,
        })
    }
}

fn open_series(
    context: &EvalContext<'_>,
    start: &sql::Expr,
    stop: &sql::Expr,
    step: &sql::Expr,
) -> Result<Next> {
    let value = |expr: &sql::Expr| -> Result<Option<i64>> { Ok(expr.eval(context)?.as_i64()) };
    match (value(start)?, value(stop)?, value(step)?) {
        (_, _, Some(0)) => Err(Failure::new("22023", "step size cannot equal zero")),
        (Some(next), Some(stop), Some(step)) => Ok(Next::Series { next, stop, step }),
        _ => Ok(Next::Nothing),
    }
}
